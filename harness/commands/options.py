"""What a command takes, described once: its words are read and its help is written from this."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


WIDTH = 100
HELP = ("--help", "-h")
COMMON = (ExitStatus.FINE, ExitStatus.ERROR, ExitStatus.USAGE, ExitStatus.INTERRUPTED)
"""The exit statuses any command may leave with."""
_KEY = re.compile(r"\+{0,2}[A-Za-z_][\w.]*=")
"""How a word begins that sets a key; a path may hold `=` too, as in `./a=b`."""


@dataclass(frozen=True)
class Key:
    """A `key=value` that a command takes."""

    name: str
    meaning: str
    choices: tuple[str, ...] = ()
    """The values there are, the first of them the default; empty: any text."""
    default: str = ""
    """Without choices: the value when the key is not given; empty: there is none."""
    otherwise: str = ""
    """Without a default: what holds when the key is not given, in words."""
    several: bool = False
    """A comma list of choices may be given."""
    again: bool = False
    """The key may be given more than once; its values are joined by commas."""

    def check(self, command: str, value: str) -> None:
        """Refuse a value that is no choice.

        Raises:
            UsageError: it is none; the line names those there are.
        """
        parts = value.split(",") if self.several else [value]
        if self.choices and not set(parts) <= set(self.choices):
            possible = ", ".join(self.choices)
            hint = "; several are a comma list" if self.several else ""
            raise UsageError(f"{command}: {self.name}={value}: possible: {possible}{hint}")

    @property
    def values(self) -> str:
        """The values in a word or a list, and which of them is the default."""
        if self.choices:
            listed = "|".join(self.choices) + (", or a comma list" if self.several else "")
            return f"{listed} (default {self.choices[0]})"
        held = self.default or self.otherwise
        return f"default {held}" if held else ""

    @property
    def given(self) -> str:
        """The value when the key is not given; empty: there is none."""
        return self.choices[0] if self.choices else self.default


@dataclass(frozen=True)
class Word:
    """A word that a command takes by its place."""

    name: str
    meaning: str
    least: int = 1
    most: int | None = 1
    """None: any number."""

    @property
    def usage(self) -> str:
        """The word as a line of usage shows it."""
        shown = f"{self.name} ..." if self.most is None else self.name
        return shown if self.least else f"[{shown}]"


@dataclass(frozen=True)
class Flag:
    """An option that begins with dashes."""

    name: str
    meaning: str
    value: str = ""
    """What it takes, in capitals; empty: nothing."""

    @property
    def usage(self) -> str:
        """The flag as a line of usage shows it."""
        return f"{self.name} {self.value}".strip()


@dataclass(frozen=True)
class Asked:
    """What a command was asked, checked against its description."""

    words: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    """Those given, and the others that have a default."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """Those given, each with its value."""
    others: tuple[str, ...] = ()
    """Words for somebody else, as they were."""

    def whole(self, command: str, name: str, least: int) -> int:
        """Return the whole number that a key holds.

        Raises:
            UsageError: it is none, or too small.
        """
        text = self.keys[name]
        if not re.fullmatch(r"[0-9]+", text) or int(text) < least:
            raise UsageError(f"{command}: {name}={text}: a whole number, at least {least}")
        return int(text)


@dataclass(frozen=True)
class Command:
    """A subcommand: what it does, what it takes, and how it leaves."""

    name: str
    module: str
    """It has a function of the command's name; a string, for it may stand above this package."""
    summary: str
    words: tuple[Word, ...] = ()
    keys: tuple[Key, ...] = ()
    flags: tuple[Flag, ...] = ()
    others: str = ""
    """What further words are; empty: there are none."""
    needs: str = ""
    """What the words have to name, said where they do not; empty: their names."""
    statuses: tuple[tuple[ExitStatus, str], ...] = ()
    """The exit statuses beside `COMMON`, or those that mean something of their own."""

    @property
    def usage(self) -> str:
        """The command line in short."""
        parts = [self.name, *(word.usage for word in self.words)]
        parts += [f"[{flag.usage}]" for flag in self.flags]
        parts += ["[key=value ...]"] * bool(self.keys or self.others)
        return " ".join(parts)

    def read(self, arguments: Sequence[str]) -> Asked:
        """Return what the words after the command ask for.

        Raises:
            UsageError: a word is unknown, or a value is none of those there are; the line names
                the known ones.
        """
        words: list[str] = []
        keys: dict[str, str] = {}
        flags: dict[str, str] = {}
        others: list[str] = []
        rest = iter(arguments)
        for argument in rest:
            if _KEY.match(argument):
                self._key(argument, keys, others)
            elif argument.startswith("-"):
                self._flag(argument, rest, flags, others)
            elif self.words:
                words.append(argument)
            elif self.others:
                others.append(argument)
            else:
                known = ", ".join(key.name for key in self.keys) or "none"
                raise UsageError(f"{self.name}: '{argument}' is not key=value; keys: {known}")
        self._count(words)
        defaults = {key.name: key.given for key in self.keys if key.given}
        return Asked(tuple(words), {**defaults, **keys}, flags, tuple(others))

    def _key(self, argument: str, keys: dict[str, str], others: list[str]) -> None:
        name, _, value = argument.partition("=")
        key = next((one for one in self.keys if one.name == name), None)
        if key is None:
            if not self.others:
                known = ", ".join(one.name for one in self.keys) or "none"
                raise UsageError(f"{self.name}: unknown key '{name}'; possible: {known}")
            others.append(argument)
            return
        key.check(self.name, value)
        if key.again and name in keys:
            value = f"{keys[name]},{value}"
        elif keys.get(name, value) != value:
            raise UsageError(f"{self.name}: {name}={keys[name]} and {name}={value}: give it once")
        keys[name] = value

    def _flag(
        self, argument: str, rest: Iterator[str], flags: dict[str, str], others: list[str]
    ) -> None:
        name, equals, value = argument.partition("=")
        flag = next((one for one in self.flags if one.name == name), None)
        if flag is None and self.others:
            others.append(argument)
            return
        if flag is None:
            known = ", ".join([*(one.name for one in self.flags), HELP[0]])
            raise UsageError(f"{self.name}: unknown option {name}; possible: {known}")
        if flag.value and not equals:
            value = next(rest, "")
        if bool(flag.value) != bool(value):
            raise UsageError(f"{self.name}: {argument}: write {flag.usage}")
        flags[name] = value

    def _count(self, words: Sequence[str]) -> None:
        least = sum(word.least for word in self.words)
        open_ = any(word.most is None for word in self.words)
        most = sum(word.most or 0 for word in self.words)
        if len(words) < least or (not open_ and len(words) > most):
            needs = self.needs or " ".join(word.usage for word in self.words)
            raise UsageError(
                f"{self.name}: needs {needs}, found {' '.join(words) or 'nothing'}: "
                f"`python -m harness {self.usage}`"
            )

    def help(self) -> str:
        """Return what `--help` prints: usage, each key with its meaning, exit statuses."""
        lines = [f"usage: python -m harness {self.usage}", "", _sentence(self.summary)]
        words = [(word.name, word.meaning) for word in self.words]
        flags = [(flag.usage, flag.meaning) for flag in self.flags]
        flags.append((", ".join(HELP), "this text"))
        keys = [
            (f"{key.name}=", f"{key.meaning}; {key.values}" if key.values else key.meaning)
            for key in self.keys
        ]
        keys += [("key=value", self.others)] * bool(self.others)
        for title, rows in (("Words", words), ("Options", flags), ("Keys", keys)):
            if rows:
                lines += ["", f"{title}:", *_rows(rows)]
        own = dict(self.statuses)
        statuses = sorted({*COMMON, *own})
        rows = [(str(int(one)), own.get(one, one.meaning)) for one in statuses]
        return "\n".join([*lines, "", "Exit status:", *_rows(rows)]) + "\n"


def _sentence(text: str) -> str:
    return textwrap.fill(f"{text[0].upper()}{text[1:]}.", WIDTH)


def _rows(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield each name and its meaning, the meanings under each other."""
    margin = max(len(name) for name, _ in rows) + 4
    for name, meaning in rows:
        filled = textwrap.wrap(meaning, WIDTH - margin, break_on_hyphens=False)
        yield f"  {name:<{margin - 2}}{filled[0]}"
        yield from (f"{'':<{margin}}{line}" for line in filled[1:])


def existing_folder(command: str, asked: Asked) -> Path:
    """Return the folder that the first word names.

    Raises:
        UsageError: there is no such folder.
    """
    folder = Path(asked.words[0])
    if not folder.is_dir():
        raise UsageError(f"{command} {folder}: there is no such folder; name a sweep's folder")
    return folder
