"""Errors that the measured side answers with."""

from __future__ import annotations


class BackendError(Exception):
    """Something failed while it was done; the text is one line for the reader."""

    kind = "failed"


class OptionError(BackendError):
    """An option or argument is wrong."""

    kind = "usage"


class UnsupportedError(BackendError):
    """What was asked for cannot be done here."""

    kind = "unsupported"


class ProtocolError(BackendError):
    """A request cannot be read, is unknown, or came in the wrong order."""

    kind = "protocol"
