from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from backends.testing import BackendContract
from harness.models import yardsticks
from tests.backends import small_pipeline

if TYPE_CHECKING:
    from pathlib import Path


class TestFakeBackend(BackendContract):
    backend = "fake"

    def plan(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - it reads no file
        return small_pipeline.plan()


class TestFakeBackendInRealTime(TestFakeBackend):
    options: ClassVar[dict[str, Any]] = {
        "clock": "real",
        "durations": "encoder:1000,decoder:100",
        "default_ns": 1000,
    }


class TestFakeBackendWithNoise(TestFakeBackend):
    options: ClassVar[dict[str, Any]] = {
        "noise": 0.05,
        "vary_steps": 3,
        "warmup": 1.0,
        "bookkeeping_ns": 7,
    }


class TestReading(BackendContract):
    backend = "reading"
    options: ClassVar[dict[str, Any]] = {"bytes": 65536, "threads": 2, "passes": 3}
    inputs: ClassVar[dict[str, Any]] = dict(yardsticks.INPUTS)
    outputs: ClassVar[list[str]] = ["last"]

    def plan(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - it reads no file
        return yardsticks.reading().plan(yardsticks.READING_MODELS)


class TestOnnxRuntime(BackendContract):
    backend = "onnxruntime"
    options: ClassVar[dict[str, Any]] = {"intra_threads": 1}
    outputs: ClassVar[list[str]] = ["mel_outputs_postnet", "mel_lengths_t", "audio"]

    def plan(self, folder: Path) -> dict[str, Any]:
        return small_pipeline.plan(small_pipeline.write_models(folder / "models"))


class TestOnnxRuntimeHalf(TestOnnxRuntime):
    quant = "force_float16"

    def plan(self, folder: Path) -> dict[str, Any]:
        return small_pipeline.plan(small_pipeline.write_models(folder / "models", half=True))


class TestOnnxRuntimeWithABatchOfTwoLengths(TestOnnxRuntime):
    inputs: ClassVar[dict[str, Any]] = {
        "sequences": [[5, 6, 7, 8], [5, 6, 0, 0]],
        "sequence_lengths": [4, 2],
    }
