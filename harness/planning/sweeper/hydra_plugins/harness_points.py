"""Hydra's sweeper for the harness: composes and checks every point, then hands over the list.

Points are not run one after the other as Hydra's jobs, because the measurement method interleaves
fresh processes of all points of a sweep (section 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra.plugins.sweeper import Sweeper

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


class PointSweeper(Sweeper):
    """Turns `a=1,2 b=3,4` into points, the last key fastest, and runs them as one sweep."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        del params  # read for every choice of a swept group, from the configuration
        self.context: HydraContext | None = None
        self.config: DictConfig | None = None

    def setup(
        self,
        *,
        hydra_context: HydraContext,
        task_function: TaskFunction,  # noqa: ARG002 - the signature is Hydra's
        config: DictConfig,
    ) -> None:
        """Keep what composing a point needs."""
        self.context = hydra_context
        self.config = config

    def sweep(self, arguments: list[str]) -> Any:
        """Compose every point of the sweep.

        Raises:
            UsageError: the sweep has no points, or some of them would be lost.
        """
        # Hydra imports every plug-in at start-up.
        from harness.planning import compose, overrides  # noqa: PLC0415

        if self.context is None or self.config is None:
            raise RuntimeError("setup was not called")
        jobs = overrides.Expander(self.context.config_loader, self.config).jobs(arguments)
        fleet = None
        if self.config.hydra.launcher._target_ != BASIC:
            from harness.planning import launchers  # noqa: PLC0415

            launchers.check(self.config)
            every = [job.overrides for job in jobs]
            fleet = launchers.Fleet(self.context, self.config, every)
        compose.receive(jobs, fleet)
        return None
