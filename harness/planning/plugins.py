"""Backends that other distributions add: found by entry point, asked through a worker.

Their modules are never imported here: the wall between the two sides stands for plug-ins too.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from harness.config import schema
from harness.errors import UsageError
from harness.workers import worker

if TYPE_CHECKING:
    from collections.abc import Sequence


GROUP = "harness.backends"
DESCRIBE_TIMEOUT_S = 60.0


def plugin_names() -> list[str]:
    """Return the names of backends that installed distributions declare."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def describe(interpreter: str | None = None) -> list[dict[str, Any]]:
    """Return what a worker says of every backend it can find (docs/protocol.md, describe)."""
    with worker.WorkerProcess(interpreter) as one:
        backends: list[dict[str, Any]] = one.ask("describe", DESCRIBE_TIMEOUT_S)["backends"]
    return backends


def register(arguments: Sequence[str]) -> None:
    """Make the declared backends selectable; only those asked for are described.

    Raises:
        UsageError: a backend that was asked for cannot be imported.
    """
    names = plugin_names()
    asked = {
        name
        for argument in arguments
        if argument.startswith("backend=")
        for name in argument.removeprefix("backend=").split(",")
        if name in names
    }
    described = {one["name"]: one for one in describe()} if asked else {}
    for name in names:
        options = []
        if name in asked:
            found = described.get(name, {"error": "the worker does not find it"})
            if found.get("error"):
                raise UsageError(f"backend={name}: its plug-in is broken: {found['error']}")
            options = [option["name"] for option in found["options"]]
        schema.register_backend(name, options)


def broken() -> list[str]:
    """Return one line for each declared backend that cannot be imported."""
    if not plugin_names():
        return []
    return [
        f"plug-in backend {one['name']} ({one['origin']}) cannot be imported: {one['error']}"
        for one in describe()
        if one.get("error")
    ]
