"""The schema of conf/accuracy: limits of the distance from the reference."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.config.choices import Quant


@dataclass
class AccuracyLimits:
    """The largest distances from the float32 reference that pass; null: not limited."""

    frames: float | None = None
    """Mel frames by which the length of any row may differ."""
    steps: float | None = None
    mel_db: float | None = None
    audio_db: float | None = None


@dataclass
class Accuracy:
    """Whether a point's outputs are held against the reference, and the limits of each mode."""

    check: bool = True
    force_float32: AccuracyLimits = field(default_factory=AccuracyLimits)
    force_float16: AccuracyLimits = field(default_factory=AccuracyLimits)
    qint8_mixed_float32: AccuracyLimits = field(default_factory=AccuracyLimits)
    qint8_mixed_float16: AccuracyLimits = field(default_factory=AccuracyLimits)
    qint16_mixed_float32: AccuracyLimits = field(default_factory=AccuracyLimits)
    qint16_mixed_float16: AccuracyLimits = field(default_factory=AccuracyLimits)

    def limits(self, quant: Quant) -> dict[str, float | None]:
        """Return the limits of a mode by distance."""
        found: dict[str, float | None] = asdict(getattr(self, quant.value))
        return found
