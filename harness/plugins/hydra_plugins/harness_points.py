"""Hydra's sweeper for the harness: composes and checks every point, then hands over the list.

Points are not run one after the other as Hydra's jobs, because the measurement method interleaves
fresh processes of all points of a sweep (section 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.sweeper import Sweeper

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


class PointSweeper(Sweeper):
    """Turns `a=1,2 b=3,4` into points, the last key fastest, and runs them as one sweep."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        self.params = params or {}
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
            UsageError: the sweep has no points.
        """
        from harness import compose  # noqa: PLC0415 - Hydra imports every plug-in at start-up
        from harness.errors import UsageError  # noqa: PLC0415

        if self.context is None or self.config is None:
            raise RuntimeError("setup was not called")
        loader = self.context.config_loader
        parser = OverridesParser.create(config_loader=loader)
        asked = [f"{key}={value}" for key, value in self.params.items()]
        overrides = parser.parse_overrides([*asked, *arguments])
        batch = BasicSweeper.split_arguments(overrides, None)[0]
        if not batch:
            raise UsageError("nothing to measure: the sweep has no points")
        compose.collected.extend(
            loader.load_sweep_config(self.config, list(point)) for point in batch
        )
        if self.config.hydra.launcher._target_ != BASIC:
            from harness import fleet  # noqa: PLC0415

            fleet.check(self.config)
            compose.launches.append(fleet.Fleet(self.context, self.config, batch))
        return None
