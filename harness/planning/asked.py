"""What a stored command or result asks for beyond measuring: to run something, or to say where.

The keys that only say what is measured, and how, are listed; every other word is such an ask. A key
that is not known here is therefore an ask too, until somebody has thought about it.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.config.choices import Allow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


PYTHON = "backend.python"
MODELS_DIR = "models_dir"


DATA_KEYS = frozenset(
    {
        "accuracy", "backend", "baseline", "bs", "devices", "dropout", "experiment", "fail_on",
        "il", "measure", "model", "null_control", "num_iters", "quant", "repeat", "scenario",
        "seed", "sigma", "warmup_iters", "wav", "waveglow",
    }
)  # fmt: skip
"""Keys that say what is measured and how; `measure.` and the like before a name too."""
DATA_GROUPS = ("accuracy", "backend", "measure", "scenario")
NOT_DATA = (PYTHON, "backend.name")
PLACE_KEYS = frozenset({"log_file", MODELS_DIR, "outputs"})
FLAGS = frozenset({"-m", "--multirun"})
CHOICES = frozenset({"accuracy", "backend", "experiment", "measure", "model", "scenario"})
"""Keys that choose a file of conf/: a path there is another configuration."""
DATA_VALUE = re.compile(r"""[\w.:,+\-'"\[\]()*| ]*""", re.ASCII)
"""No path, no reference and no mapping: what a key of `DATA_KEYS` may be set to."""
PATH_VALUE = re.compile(r"""[\w.:,+\-'"\[\]()*| /~%@#]*""")
"""The same, or a path."""
OPTION_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
OPTION_TEXT = re.compile(r"[\w.:,+\-]*", re.ASCII)
"""What the text of a backend's option may be: a word or a list, no path and no command."""


@dataclass(frozen=True)
class Ask:
    """One word of a file that is not taken from it as it stands."""

    key: str
    """Empty for a word that is no `key=value`."""
    value: str
    kind: Allow
    said: str = ""
    """As the file has it, where that is not `key=value`."""
    commands: tuple[str, ...] = ()
    """Of `backend.python`: the commands that would start workers."""

    @property
    def word(self) -> str:
        """The word as a reader is shown it."""
        return self.said or f"{self.key}={self.value}"


def of_word(word: str) -> Ask | None:
    """Return what a word of a command line asks for; None when it only says what is measured."""
    if word in FLAGS:
        return None
    head, equals, value = word.partition("=")
    key = head.lstrip("+")
    if not equals or head.startswith("-"):
        return Ask("", "", Allow.plugins, word)
    if key == PYTHON:
        commands = _commands(word, value)
        return Ask(key, value, Allow.python, word, commands) if commands else None
    kind = _kind(key, value)
    return None if kind is None else Ask(key, value, kind, word)


def _commands(word: str, value: str) -> tuple[str, ...]:
    """Return the interpreters that a word names, as Hydra reads it; not the running one."""
    from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: PLC0415 - slow
    from hydra.core.override_parser.types import ChoiceSweep, QuotedString  # noqa: PLC0415
    from hydra.errors import HydraException  # noqa: PLC0415

    try:
        read = OverridesParser.create().parse_override(word).value()
    except HydraException:
        return (value,)
    each = read.list if isinstance(read, ChoiceSweep) else [read]
    texts = [one.text if isinstance(one, QuotedString) else one for one in each]
    return tuple(str(one) for one in texts if one is not None and one != sys.executable)


def _kind(key: str, value: str) -> Allow | None:
    """Return what a key asks for; None when it only says what is measured."""
    if key.startswith(("hydra/launcher", "hydra.launcher")):
        return Allow.launcher
    if key in PLACE_KEYS:
        return Allow.places
    group, _, rest = key.partition(".")
    part = group in DATA_GROUPS and re.fullmatch(r"[\w.]+", rest, re.ASCII) is not None
    if not (key in DATA_KEYS or part) or key in NOT_DATA or key.startswith(f"{PYTHON}."):
        return Allow.plugins
    if DATA_VALUE.fullmatch(value):
        return None
    place = key not in CHOICES and PATH_VALUE.fullmatch(value)
    return Allow.places if place else Allow.plugins


def of_words(words: Sequence[str]) -> list[Ask]:
    """Return what the words of a command line ask for."""
    return [one for one in map(of_word, words) if one is not None]


def of_options(options: Mapping[str, Any]) -> Iterator[Ask]:
    """Yield what a result's backend options, the interpreter among them, ask for."""
    for key, value in options.items():
        if key == "name":
            continue
        if key == "python":
            if value is not None and value != sys.executable:
                yield Ask(PYTHON, str(value), Allow.python, commands=(str(value),))
        elif not OPTION_NAME.fullmatch(key):
            yield Ask(f"backend.{key}", str(value), Allow.plugins)
        elif not _data(value):
            place = isinstance(value, str) and PATH_VALUE.fullmatch(value)
            yield Ask(f"backend.{key}", str(value), Allow.places if place else Allow.plugins)


def _data(value: object) -> bool:
    if isinstance(value, str):
        return OPTION_TEXT.fullmatch(value) is not None
    return value is None or isinstance(value, bool | int | float)


def answers(words: Sequence[str]) -> set[str] | None:
    """Return the keys of words that only answer asks; None when a word says what is measured."""
    keys = set()
    for word in words:
        key = word.partition("=")[0].lstrip("+")
        if key != PYTHON and of_word(word) is None:
            return None
        keys.add(key)
    return keys


def allowed(words: Sequence[str]) -> list[str]:
    """Return what `allow=` of a command line names, before anything checked it."""
    named = [word.partition("=")[2] for word in words if word.startswith("allow=")]
    return [part for part in re.split(r"[\s,]+", named[-1].strip("[]")) if part] if named else []
