"""Backends by name: a table of strings, then the entry points of the group `harness.backends`.

Nothing is imported until it is asked for. A broken plug-in is listed with its error and leaves
the others alone; a built-in backend wins over a plug-in of the same name.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Type

from backends.base import Backend
from backends.errors import BackendError, OptionError

GROUP = "harness.backends"

BUILT_IN = {
    "calibration": "backends.yardsticks.noise_kernel:CalibrationBackend",
    "fake": "backends.fake.backend:FakeBackend",
    "magicmind": "backends.magicmind.backend:MagicMindBackend",
    "onnxruntime": "backends.onnxruntime.backend:OnnxRuntimeBackend",
    "openvino": "backends.openvino.backend:OpenVinoBackend",
    "reading": "backends.yardsticks.memory:ReadingBackend",
}


class Entry(NamedTuple):
    """One backend that is declared somewhere."""

    name: str
    origin: str
    target: str
    """module:class"""
    hidden: Optional[str]
    """Why another entry of the same name is used instead of this one."""


class Plugin(NamedTuple):
    """One declared entry point."""

    name: str
    target: str
    distribution: str


def _declared() -> Iterator[Plugin]:
    """Yield the entry points of the group, of every distribution on the path."""
    for module in ("importlib.metadata", "importlib_metadata"):
        try:
            metadata = importlib.import_module(module)
        except ImportError:
            continue
        for found in metadata.distributions():
            for point in found.entry_points:
                if point.group == GROUP:
                    label = f"{found.metadata['Name']} {found.version}"
                    yield Plugin(point.name, point.value, label)
        return
    try:
        resources = importlib.import_module("pkg_resources")
    except ImportError:
        return
    for found in resources.working_set:
        for point in found.get_entry_map(GROUP).values():
            target = str(point).partition("=")[2].strip()
            yield Plugin(point.name, target, f"{found.project_name} {found.version}")


def plugins() -> List[Plugin]:
    """Return the entry points of the group, sorted; a path listed twice counts once."""
    return sorted(
        {plugin._replace(target=plugin.target.split("[")[0].strip()) for plugin in _declared()}
    )


def entries(find: Callable[[], List[Plugin]] = plugins) -> List[Entry]:
    """Return every declared backend, built-in ones first."""
    listed = [Entry(name, "built-in", target, None) for name, target in sorted(BUILT_IN.items())]
    owners = {entry.name: "the built-in backend" for entry in listed}
    for plugin in find():
        owner = owners.get(plugin.name)
        hidden = None if owner is None else f"hidden: {owner} of the name {plugin.name!r} is used"
        listed.append(Entry(plugin.name, plugin.distribution, plugin.target, hidden))
        owners.setdefault(plugin.name, f"the backend of {plugin.distribution}")
    return listed


def _resolve(entry: Entry) -> Type[Backend]:
    """Import the class of an entry.

    Raises:
        BackendError: it cannot be imported, or is no backend; the text says why.
    """
    module, _, attribute = entry.target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a plug-in may raise anything while it is imported
        raise BackendError(
            f"backend {entry.name!r} ({entry.origin}, {entry.target}) cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise BackendError(
            f"backend {entry.name!r} ({entry.origin}): {entry.target} is no subclass of "
            f"backends.base.Backend"
        )
    return found


def find(name: str, listed: Optional[List[Entry]] = None) -> Type[Backend]:
    """Return the class of a backend.

    Raises:
        UsageError: no backend has that name; the text lists those there are.
        BackendError: it is declared but cannot be imported.
    """
    if listed is None:
        # Built-in backends win, so one of them needs no look at what else is installed.
        listed = entries(list if name in BUILT_IN else plugins)
    usable = {entry.name: entry for entry in listed if entry.hidden is None}
    if name not in usable:
        close = difflib.get_close_matches(name, usable, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise OptionError(f"no backend {name!r}; there are: {', '.join(sorted(usable))}{hint}")
    return _resolve(usable[name])


def describe(listed: Optional[List[Entry]] = None) -> List[Dict[str, Any]]:
    """Return the answer of the describe verb: every entry, with its options or its error."""
    described = []
    for entry in entries() if listed is None else listed:
        error = entry.hidden
        options: List[Dict[str, Any]] = []
        if error is None:
            try:
                options = [option.describe() for option in _resolve(entry).options]
            except BackendError as reason:
                error = str(reason)
        described.append(
            {"name": entry.name, "origin": entry.origin, "error": error, "options": options}
        )
    return described
