"""What a sweep measured with `baseline=` says at its end: the verdicts, in words and in files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis import verdicts
from harness.commands.named import named
from harness.config.choices import FailOn
from harness.errors import ExitStatus
from harness.judging import side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.commands.console import Console
    from harness.config.schema import Config
    from harness.judging.comparison import Comparison


@dataclass(frozen=True)
class BaselineVerdicts:
    """The comparison with the baseline, and the files it was written to."""

    found: Comparison
    paths: Sequence[Path]


def compared(config: Config, folder: Path, console: Console) -> BaselineVerdicts | None:
    """Compare with the baseline and write what was found; None where no baseline was asked for."""
    if config.baseline is None:
        return None
    found = side_by_side.judge(folder, delta=verdicts.MINIMUM_EFFECT)
    try:
        return BaselineVerdicts(found, named("reports.exports.comparison:write")(found, folder))
    except OSError as error:  # the verdicts are said all the same
        console.notice(f"{folder}: the comparison cannot be written ({error.strerror})")
        return BaselineVerdicts(found, ())


def judged(config: Config, found: BaselineVerdicts | None, console: Console) -> ExitStatus:
    """Say what the comparison with the baseline found, where one was asked for."""
    if found is None:
        return ExitStatus.FINE
    console.say()
    console.say(named("reports.exports.comparison:to_text")(found.found).rstrip())
    for path in found.paths:
        console.say(str(path))
    return found.found.status(fail_on_unresolved=config.fail_on is FailOn.unresolved)
