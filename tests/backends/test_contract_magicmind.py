from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from backends.testing import BackendContract
from tests.backends import small_pipeline

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.usefixtures("magicmind_double")
class TestMagicMind(BackendContract):
    backend = "magicmind"
    options: ClassVar[dict[str, Any]] = {"arch": "mtp_372"}
    # The small decoder makes two frames per character, less two; the least length is 32 frames.
    inputs: ClassVar[dict[str, Any]] = {
        "sequences": [list(range(1, 21))],
        "sequence_lengths": [20],
    }
    outputs: ClassVar[list[str]] = ["mel_outputs_postnet", "mel_lengths_t", "audio"]

    def plan(self, folder: Path) -> dict[str, Any]:
        return small_pipeline.plan(small_pipeline.write_models(folder / "models"))


class TestMagicMindHalf(TestMagicMind):
    quant = "force_float16"
