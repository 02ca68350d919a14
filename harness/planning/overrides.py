"""The points that a command line and the experiments it names ask for: all of them, or an error.

A choice of a group may bring a sweep of its own (`hydra.sweeper.params`), which Hydra's sweeper
reads once, before a swept group has been chosen. Here it is read for every choice.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import Container, DictConfig

    from harness.config.schema import Config


OF_ONE_CHOICE = ("backend", "model", "measure", "scenario", "accuracy")
"""Groups whose choices exclude each other; Hydra would merge `model=[full,tiny]` into the last."""
OF_THE_COMMAND = (
    "outputs", "baseline", "null_control", "fail_on", "plan", "resume", "retry", "budget", "repeat",
)  # fmt: skip
"""Keys that hold for the whole command, whatever point they came with."""


@dataclass(frozen=True)
class ComposedPoint:
    """One point as Hydra knows it: its overrides, and the configuration they compose."""

    overrides: Sequence[str]
    composed: DictConfig


@dataclass(frozen=True)
class _Settled:
    """One choice of every swept group, and the sweep that it brings."""

    chosen: Mapping[str, str]
    """From the key of a swept group to `key=choice`."""
    params: Mapping[str, str]
    """`hydra.sweeper.params` as composed with these choices."""

    def product(self, given: Sequence[Override], parser: OverridesParser) -> list[list[str]]:
        """Return the overrides of each point, the last key fastest."""
        words = {key: self.chosen.get(key, f"{key}={value}") for key, value in self.params.items()}
        own = {_place(one) for one in given}
        brought = [
            one
            for one in parser.parse_overrides(list(words.values()))
            # `++bs=8` replaces the experiment's `bs`, though Hydra takes them for two keys.
            if one.get_key_element() in {each.get_key_element() for each in given}
            or _place(one) not in own
        ]
        fixed = [
            one
            for each in given
            for one in (
                parser.parse_overrides([self.chosen[each.get_key_element()]])
                if each.get_key_element() in self.chosen
                else [each]
            )
        ]
        batches: list[list[list[str]]] = BasicSweeper.split_arguments([*brought, *fixed], None)
        return batches[0]


def _place(override: Override) -> tuple[str, str | None]:
    """Return what an override sets, however it is written: `bs`, `+bs` and `++bs` are the same."""
    return override.key_or_group, override.package


class Expander:
    """Turns the overrides of a sweep into points."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        """Expand with the configuration that Hydra composed for the sweep as a whole."""
        self._loader = loader
        self._master = master
        self._parser = OverridesParser.create(config_loader=loader)
        self._given: list[Override] = []

    def jobs(self, arguments: Sequence[str]) -> list[ComposedPoint]:
        """Return every point, the last key fastest.

        Where the choices of a group bring different sweeps, the points of the first choice come
        first, then those of the next.

        Raises:
            UsageError: there is no point, or some of what was asked for would be lost.
        """
        self._given = self._parser.parse_overrides(list(arguments))
        _refuse_given_twice(self._given)
        settled = self._settled()
        if all(list(one.params.items()) == list(settled[0].params.items()) for one in settled):
            lists = _Settled({}, settled[0].params).product(self._given, self._parser)
        else:
            lists = []
            for one in settled:
                points = one.product(self._given, self._parser)
                if not points:
                    said = " ".join(one.chosen.values())
                    raise UsageError(f"{said}: its own sweep has no points; mend or leave it out")
                lists += points
        if not lists:
            raise UsageError("nothing to measure: the sweep has no points")
        jobs = [
            ComposedPoint(one, self._loader.load_sweep_config(self._master, one)) for one in lists
        ]
        for job in jobs:
            refuse_merged(job.composed.hydra.runtime.choices)
            self._refuse_launcher(job)
        return jobs

    def _settled(self) -> list[_Settled]:
        """Return every choice of the swept groups with the sweep it brings."""
        swept = [one for one in self._given if one.is_sweep_override() and self._is_group(one)]
        if not swept:
            return list(self._follow({}, {}))
        found: list[_Settled] = []
        for combination in itertools.product(*(self._choices(one) for one in swept)):
            chosen = dict(zip((one.get_key_element() for one in swept), combination, strict=True))
            found += self._follow(chosen, {})
        return found

    def _choices(self, override: Override) -> list[str]:
        key = override.get_key_element()
        found = [f"{key}={value}" for value in override.sweep_string_iterator()]
        if not found:
            possible = ", ".join(self._loader.get_group_options(override.key_or_group))
            raise UsageError(f"{override.input_line}: matches nothing; possible: {possible}")
        return found

    def _is_group(self, override: Override) -> bool:
        return bool(self._loader.get_group_options(override.key_or_group))

    def _follow(self, chosen: Mapping[str, str], asked: Mapping[str, str]) -> Iterator[_Settled]:
        """Follow the sweeps of choices whose own sweeps choose again, until nothing is open.

        Args:
            chosen: `key=choice` of every swept group so far, by key.
            asked: of these, the value under which a sweep of an earlier choice asked for it.
        """
        arguments = self._arguments(chosen)
        composed = (
            self._loader.load_configuration(
                self._master.hydra.job.config_name, arguments, run_mode=RunMode.MULTIRUN
            )
            if chosen
            else self._master
        )
        params = params_of(composed)
        own = {one.key_or_group for one in self._given}
        for key, value in params.items():
            before = asked.get(key)
            if value != before and (before is not None or (key == "experiment" and key in own)):
                said = " ".join(chosen.values()) or f"{key}={composed.hydra.runtime.choices[key]}"
                raise UsageError(
                    f"{said}: its own sweep asks for {key}={value} in turn, whose points would be "
                    f"lost; name them on the command line: -m {key}=..."
                )
        opened = [
            one
            for one in self._parser.parse_overrides([f"{k}={v}" for k, v in params.items()])
            if self._is_group(one)
            and one.get_key_element() not in chosen
            and one.key_or_group not in own
        ]
        if not opened:
            if params:
                self._refuse_clashes(arguments, params)
            yield _Settled(chosen, params)
            return
        asked = {**asked, **{one.get_key_element(): one.get_value_string() for one in opened}}
        for combination in itertools.product(
            *(
                self._choices(one)
                if one.is_sweep_override()
                else [f"{one.get_key_element()}={one.get_value_element_as_str()}"]
                for one in opened
            )
        ):
            keys = (one.get_key_element() for one in opened)
            yield from self._follow({**chosen, **dict(zip(keys, combination, strict=True))}, asked)

    def _arguments(self, chosen: Mapping[str, str]) -> list[str]:
        """Return the overrides of the sweep as a whole, its swept groups chosen."""
        kept = [one for one in self._given if one.get_key_element() not in chosen]
        lines = [one.input_line or "" for one in kept]
        return [*self._master.hydra.overrides.hydra, *lines, *chosen.values()]

    def _refuse_clashes(self, arguments: Sequence[str], params: Mapping[str, str]) -> None:
        """Refuse two files side by side of which the sweep of one replaces the other's.

        A file may replace what it inherits from its own defaults; siblings, such as those of
        `experiment=[a,b]`, were both asked for.

        Raises:
            UsageError: points of one of them would be lost.
        """
        found = self._loader.compute_defaults_list(
            self._master.hydra.job.config_name, list(arguments), RunMode.MULTIRUN
        ).defaults
        parents = {one.config_path: one.parent for one in found if not one.is_self}
        own = {one.key_or_group for one in self._given}
        seen: dict[str, tuple[str, str]] = {}
        for path in dict.fromkeys(one.config_path for one in found):
            for key, value in self._sweep_of_file(path).items():
                before, earlier = seen.get(key, (path, value))
                seen[key] = path, value
                related = _descends(before, path, parents) or _descends(path, before, parents)
                if key in params and key not in own and value != earlier and not related:
                    (group, _, old), (other, _, new) = before.rpartition("/"), path.rpartition("/")
                    each = f"sweep over {group}={old},{new} for the points of each, or "
                    raise UsageError(
                        f"{group}={old} and {other}={new}: both sweep {key}, and {key}={earlier} "
                        f"would be lost; {each if group == other else ''}give {key}= for both"
                    )

    def _sweep_of_file(self, path: str) -> dict[str, str]:
        """Return the sweep that a configuration file names by itself."""
        for source in self._loader.get_sources():
            if source.available() and source.is_config(path):
                return params_of(source.load_config(path).config)
        return {}

    def _refuse_launcher(self, job: ComposedPoint) -> None:
        mine, theirs = (
            OmegaConf.to_container(one.hydra.launcher, resolve=False)
            for one in (job.composed, self._master)
        )
        if mine != theirs:
            raise UsageError(
                f"{' '.join(job.overrides)}: asks for a launcher of its own; a sweep has one "
                "launcher: name it on the command line, hydra/launcher=..."
            )


def _descends(path: str, ancestor: str, parents: Mapping[str, str | None]) -> bool:
    """Return whether a file was brought in by another one, or by what that brought in."""
    step: str | None = path
    while step is not None and step != ancestor:
        step = parents.get(step)
    return step == ancestor


def params_of(composed: Container) -> dict[str, str]:
    """Return `hydra.sweeper.params` of a configuration as text by key; empty when it has none."""
    found: Any = OmegaConf.select(composed, "hydra.sweeper.params")
    if found is None:
        return {}
    plain: Any = OmegaConf.to_container(found, resolve=True)
    return {str(key): "null" if value is None else str(value) for key, value in plain.items()}


def _refuse_given_twice(given: Sequence[Override]) -> None:
    """Refuse a list, or an experiment, that a later value of the same key would replace.

    A single value is replaced by a later one, as everywhere on command lines.

    Raises:
        UsageError: points of the earlier would be lost.
    """
    seen: dict[tuple[str, str | None], Override] = {}
    for one in given:
        before = seen.get(_place(one), one)
        seen[_place(one)] = one
        brings = any(each.is_sweep_override() for each in (before, one))
        if before is not one and (brings or one.key_or_group == "experiment"):
            raise UsageError(
                f"{before.input_line} and {one.input_line}: {one.key_or_group} is given twice; "
                "name all its values in one list"
            )


def refuse_merged(choices: Mapping[Any, Any]) -> None:
    """Refuse several choices where only one can hold.

    Args:
        choices: what Hydra chose of each group (`hydra.runtime.choices`); it holds no group of
            which a list was chosen.

    Raises:
        UsageError: several choices of a group of `OF_ONE_CHOICE` would be merged into the last.
    """
    for group in OF_ONE_CHOICE:
        if group not in choices:
            raise UsageError(
                f"{group}: a point has one {group}; write {group}=NAME, or `-m {group}=NAME,NAME` "
                "to measure each"
            )


def refuse_divided(configs: Sequence[Config]) -> None:
    """Refuse points that disagree on what holds for the whole command.

    Raises:
        UsageError: they do, so that what some of them ask for would be lost.
    """
    for key in OF_THE_COMMAND:
        values = list(dict.fromkeys(str(getattr(one, key)) for one in configs))
        if len(values) > 1:
            raise UsageError(
                f"{key}={','.join(values)}: {key} holds for the whole command and cannot be swept; "
                "give one value, or one command for each"
            )


def refuse_without_effect(jobs: Sequence[ComposedPoint], configs: Sequence[Config]) -> None:
    """Refuse a sweep over a key that another one decides.

    Two experiments may share points; two values of one key that give the same point are a mistake.

    Raises:
        UsageError: two points differ in the value of a key only, and come to the same.
    """
    seen: dict[str, dict[str, str]] = {}
    for job, config in zip(jobs, configs[: len(jobs)], strict=True):
        words = dict(word.split("=", 1) for word in job.overrides if "=" in word)
        before = seen.setdefault(repr(asdict(config)), words)
        differing = [key for key in words if before.get(key, words[key]) != words[key]]
        groups = job.composed.hydra.runtime.choices
        if differing and not any(key.lstrip("+") in groups for key in differing):
            key = differing[0]
            raise UsageError(
                f"{key}={before[key]} and {key}={words[key]} give the same point: another key "
                f"decides it; leave one of them out"
            )
