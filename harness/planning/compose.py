"""From the command line to checked points: Hydra's application, and its errors in one line."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException

from harness.config import schema
from harness.errors import UsageError
from harness.plain_text import hydra_value, quoted
from harness.planning import asked as asking
from harness.planning import overrides, plugins, trust
from harness.records import sweep_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hydra.conf import HydraConf
    from omegaconf import DictConfig

    from harness.planning.launchers import Fleet


HERE = Path(__file__).resolve().parents[1]
"""The package `harness`."""
PLUGINS = str(HERE / "planning" / "sweeper")
"""Where Hydra finds our `hydra_plugins`; it looks once, when it first composes."""
if PLUGINS not in sys.path:
    sys.path.append(PLUGINS)
NOISE = ("object_type", "reference_type", "provider=", "Set the env", "See https:")


def _unknown_key(match: re.Match[str], text: str) -> str:
    full = re.search(r"full_key: ([\w.]+)", text)
    name = full[1] if full else match[1]
    return f"unknown key '{name}'; `python -m harness --help` lists the keys"


def _wrong_value(match: re.Match[str], text: str) -> str:
    reason = re.sub(r"; (full_key|object_type|reference_type).*", "", text[match.end() :])
    return f"{match[1]}: {reason.rstrip('.')}"


def _no_choice(match: re.Match[str], text: str) -> str:
    options = re.search(r"Available options in '[^']*':; (.*?)(; Config search|$)", text)
    possible = options[1].replace(";", ",") if options else "see --help"
    return f"{match[1]}={match[2]}: there is no such choice; possible: {possible}"


SAYINGS: tuple[tuple[str, Callable[[re.Match[str], str], str]], ...] = (
    (
        r"Ambiguous value for argument '([^']*)'",
        lambda match, _: f"{match[1]}: several values are a sweep; add -m: `-m {match[1]}`",
    ),
    (r"Key '([^']*)' (?:is )?not in", _unknown_key),
    (r"Error merging override (\S+?); ", _wrong_value),
    (r"Could not find '([^'/]*)/([^']*)'", _no_choice),
)
"""What Hydra says, recognised by a pattern, and how the harness says it."""


@dataclass
class _Received:
    """What Hydra hands over while it composes: it drops what an application or sweeper returns."""

    points: list[overrides.ComposedPoint] = field(default_factory=list)
    """Those of a sweep."""
    alone: list[DictConfig] = field(default_factory=list)
    """The one point of a command that is no sweep."""
    fleet: Fleet | None = None


_RECEIVING: ContextVar[_Received] = ContextVar("composition")


def receive(points: Sequence[overrides.ComposedPoint], fleet: Fleet | None) -> None:
    """Take the points of a sweep from Hydra's sweeper, and the launcher they are handed to."""
    received = _RECEIVING.get()
    received.points.extend(points)
    received.fleet = fleet


@dataclass(frozen=True)
class Composition:
    """What a command line asks for."""

    configs: Sequence[schema.Config]
    """The points, checked; empty after --cfg and the like, which have printed what was asked."""
    fleet: Fleet | None = None
    """The launcher that the points are handed to; None: they are measured here."""


def conf_folder() -> Path:
    """Return the folder of configuration files: inside a wheel, or beside harness/ in a checkout.

    Raises:
        UsageError: neither folder is there.
    """
    for folder in (HERE / "conf", HERE.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise UsageError(f"conf/config.yaml is neither in {HERE} nor in {HERE.parent}: reinstall")


def devices_as_list(argument: str) -> str:
    """Return `devices=0,1`, and `allow=` alike, as the list it means."""
    # devices=0,1 names two devices of one point; Hydra would read a sweep over devices.
    match = re.fullmatch(r"(devices|allow)=([\w:.]+(?:,[\w:.]+)*)", argument)
    return f"{match[1]}=[{match[2]}]" if match else argument


def one_line(error: BaseException) -> str:
    """Return Hydra's complaint as one line that says what was asked and what is possible."""
    if isinstance(error, OverrideParseException) and "Ambiguous" not in str(error):
        # A lone comma list is the one parse error whose cause people meet every day.
        return f"{error.override}: cannot be read as key=value ({str(error).splitlines()[0]})"
    texts = [str(part) for part in (error, error.__cause__) if part is not None]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    kept = [line for line in lines if line and not line.startswith(NOISE)]
    text = "; ".join(dict.fromkeys(kept))
    for pattern, say in SAYINGS:
        match = re.search(pattern, text)
        if match:
            return say(match, text)
    return text


def without_session(arguments: Sequence[str]) -> list[str]:
    """Return a command line less the keys that concern one session only."""
    session = tuple(f"{key}=" for key in schema.SESSION_KEYS)
    return [one for one in arguments if not one.startswith(session)]


def continued(arguments: list[str]) -> list[str]:
    """Return the command line of the sweep that `resume=DIR` names, when nothing else is asked for.

    What runs and where files go may be said beside it; it then stands in place of what the folder
    asks for. Further rounds go beside the folder, wherever the first command put them.

    Raises:
        UsageError: the folder holds no sweep, or asks for what is not taken from it.
    """
    last = next((one for one in reversed(arguments) if one.startswith("resume=")), "")
    named = last.removeprefix("resume=")
    own = without_session(arguments)
    answers = asking.answers(own)
    if named in {"", "auto", "never"} or answers is None:
        return arguments
    stored = sweep_folder.facts(Path(named)).get("arguments")
    if not isinstance(stored, list) or not all(isinstance(one, str) for one in stored):
        raise UsageError(f"resume={named}: not a sweep's folder (there is no sweep.json of ours)")
    stored = [one for one in without_session(stored) if _key(one) not in {"outputs", *answers}]
    trust.refuse_unknown(
        f"resume={quoted(named)}", Path(named), asking.of_words(stored), trust.allowed(arguments)
    )
    beside = [] if "outputs" in answers else [f"outputs={hydra_value(_parent(named))}"]
    return [*stored, *beside, *arguments]


def _parent(folder: str) -> str:
    return str(Path(folder).absolute().parent)


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+")


def composition(arguments: list[str]) -> Composition:
    """Compose and check what `arguments` ask for.

    Raises:
        UsageError: Hydra or the schema refused something; each problem is named in one line.
    """
    trust.allowed(arguments)  # a wrong word is refused before anything else is looked at
    arguments = continued(arguments)
    schema.register()
    plugins.register(arguments)
    _launcher_is_here(arguments)

    hydras: list[HydraConf] = []
    received = _Received()

    @hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")
    def application(composed: DictConfig) -> None:
        # Raising here would make Hydra announce the error in lines of its own.
        hydras.append(HydraConfig.get())
        received.alone.append(composed)

    sys.argv[1:] = [devices_as_list(argument) for argument in arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints several lines and leaves by itself
    said = io.StringIO()
    receiving = _RECEIVING.set(received)
    try:
        with contextlib.redirect_stderr(said):
            application()
    except (HydraException, ValueError) as error:  # Hydra's own checks are not all HydraExceptions
        raise UsageError(one_line(error)) from error
    except SystemExit as error:
        if error.code:
            reason = said.getvalue().strip().splitlines()[-1].partition("error: ")[2]
            raise UsageError(f"{reason}; `python -m harness --help` shows the usage") from error
        raise
    finally:
        _RECEIVING.reset(receiving)
    sys.stderr.write(said.getvalue())
    return _complete(received, hydras)


def _complete(received: _Received, hydras: Sequence[HydraConf]) -> Composition:
    """Check what Hydra composed, and that none of what was asked for is missing from it.

    Args:
        received: what it composed.
        hydras: Hydra's own configuration of each point that it ran by itself.
    """
    for one in hydras:
        overrides.refuse_merged(one.runtime.choices)
        if one.sweeper.params:
            raise UsageError("this experiment is a sweep: add -m, as in `-m experiment=...`")
    configs = _checked([*(point.composed for point in received.points), *received.alone])
    overrides.refuse_divided(configs)
    overrides.refuse_without_effect(received.points, configs)
    fleet = received.fleet
    return Composition(configs, None if fleet is None else replace(fleet, configs=configs))


def _launcher_is_here(arguments: Sequence[str]) -> None:
    named = [one.partition("=")[2] for one in arguments if one.startswith("hydra/launcher=")]
    if not named:
        return
    from harness.planning import launchers  # noqa: PLC0415 - only for many machines

    lacking = launchers.missing(named[-1])
    if lacking:
        raise UsageError(lacking)
    if not {"-m", "--multirun"} & set(arguments):
        raise UsageError(f"hydra/launcher={named[-1]}: is for sweeps; add -m")


def _checked(composed: list[DictConfig]) -> list[schema.Config]:
    checked: list[schema.Config] = []
    problems: dict[str, None] = {}
    for one in composed:
        try:
            checked.append(schema.typed(one))
        except UsageError as error:
            problems[str(error)] = None
    if problems:
        raise UsageError("; ".join(problems))
    return checked
