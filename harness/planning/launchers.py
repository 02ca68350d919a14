"""Launchers that hand points to other machines: which there are, and what each needs."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import open_dict

from harness.errors import UsageError
from harness.plain_text import hydra_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hydra.types import HydraContext
    from omegaconf import DictConfig

    from harness.config import schema


PACKAGES = {
    "slurm": "hydra_plugins.hydra_submitit_launcher",
    "ray": "hydra_plugins.hydra_ray_launcher",
    "joblib": "hydra_plugins.hydra_joblib_launcher",
}
"""What each preset needs; the extra has the preset's name."""


@dataclass
class Fleet:
    """Hydra's launcher with the overrides of every point, kept until there is a folder."""

    context: HydraContext
    composed: DictConfig
    overrides: Sequence[Sequence[str]]
    configs: Sequence[schema.Config] = ()
    """The same points, checked; in the same order."""

    def launch(
        self, folder: Path, configs: Sequence[schema.Config], task: Callable[[DictConfig], Any]
    ) -> list[Any]:
        """Run the jobs of some points and return what the launcher does; blocks until all end.

        Args:
            folder: of the sweep.
            configs: the points, each one of `self.configs`.
            task: what a job calls with its composed configuration.
        """
        from hydra.core.plugins import Plugins  # noqa: PLC0415 - slow, and only here

        with open_dict(self.composed):
            self.composed.hydra.sweep.dir = str(folder)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=task, config=self.composed
        )
        where = {id(one): place for place, one in enumerate(self.configs)}
        jobs = [
            [*self.overrides[where[id(one)]], f"hydra.sweep.dir={hydra_value(str(folder))}"]
            for one in configs
        ]
        return list(launcher.launch(jobs, initial_job_idx=0))


def missing(name: str) -> str | None:
    """Return the line that says what a launcher's preset lacks here; None when it has all."""
    package = PACKAGES.get(name)
    if package is None:
        return None
    try:
        found = importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        found = False
    return None if found else f"hydra/launcher={name}: pip install 'tts-harness[{name}]'"


def check(composed: DictConfig) -> None:
    """Refuse a launcher that would wait for ever.

    Raises:
        UsageError: Slurm keeps no accounts here, so that a job that dies is never noticed.
    """
    if "SlurmLauncher" not in str(composed.hydra.launcher["_target_"]):
        return
    for tool in ("sbatch", "sacct"):
        if shutil.which(tool) is None:
            raise UsageError(f"hydra/launcher=slurm: {tool} is not here; run it on a login node")
    asked = subprocess.run(
        ["sacct", "-o", "JobID,State,NodeList", "--parsable2", "-j", "1"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if asked.returncode:
        why = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UsageError(
            f"hydra/launcher=slurm: sacct does not answer ({why}); without Slurm's accounting a "
            "job that dies is never noticed"
        )
