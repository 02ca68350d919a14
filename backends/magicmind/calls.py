"""Calls into the SDK, whose failures become the backend's errors."""

from __future__ import annotations

from typing import Any, Callable, NoReturn, Tuple

from backends.errors import BackendError

Handle = Tuple[Any, Tuple[int, ...]]
"""A tensor on the card and the shape it is handed on with."""


def line(text: Any) -> str:
    """Return what the SDK says as one line."""
    return " ".join(str(text).split()) or "no text"


def guarded(what: str, call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call the SDK.

    Raises:
        BackendError: it raised, whatever it raised.
    """
    try:
        return call(*arguments, **keywords)
    except Exception as error:
        raise raised(what, error) from error


def raised(what: str, error: Exception) -> BackendError:
    """Return the error of a call that raised."""
    return BackendError(f"MagicMind: {what} raised {type(error).__name__}: {line(error)}")


def checked(what: str, status: Any) -> None:
    """Make sure that a call succeeded.

    Raises:
        BackendError: its Status is not ok, or it returned something else.
    """
    try:
        fine = status.ok()
    except AttributeError:
        fine = False
    if not fine:
        refuse(what, status)


def refuse(what: str, status: Any) -> NoReturn:
    """Raise the error of a call that the SDK answered without success."""
    raise BackendError(f"MagicMind: {what} failed: {line(status)}")


def there(what: str, made: Any) -> Any:
    """Return what a call made.

    Raises:
        BackendError: it is None.
    """
    if made is None:
        raise BackendError(f"MagicMind: {what} returned None; its own words are in the log")
    return made
