"""Text as it may stand on a page: no control characters, whatever a name or an error held."""

from __future__ import annotations

from harness.plain_text import plain, plain_lines

__all__ = ["plain", "plain_lines"]
