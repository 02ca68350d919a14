"""What stands above this package is named by a string: `module:name`."""

from __future__ import annotations

import importlib
from typing import Any


def named(target: str) -> Any:
    """Return what a string such as `reports.commands:compare` names, imported when asked for."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
