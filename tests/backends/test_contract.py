from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from backends.testing import Answers, BackendContract
from harness.studies import limit_workloads
from tests.backends import small_pipeline

if TYPE_CHECKING:
    from pathlib import Path


OPENVINO = importlib.util.find_spec("openvino") is not None


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
    inputs: ClassVar[dict[str, Any]] = dict(limit_workloads.INPUTS)
    outputs: ClassVar[list[str]] = ["last"]

    def plan(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - it reads no file
        places = {
            "memory_2": {"bytes": 65536, "threads": 2, "passes": 3},
            "l2_1": {"bytes": 4096, "threads": 1, "passes": 5},
        }
        return limit_workloads.reading(places).plan(limit_workloads.reading_models(places))


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


@pytest.mark.skipif(not OPENVINO, reason="openvino is not installed: pip install openvino")
class TestOpenVino(BackendContract):
    backend = "openvino"
    options: ClassVar[dict[str, Any]] = {"threads": 1}
    outputs: ClassVar[list[str]] = ["mel_outputs_postnet", "mel_lengths_t", "audio"]

    def plan(self, folder: Path) -> dict[str, Any]:
        return small_pipeline.plan(small_pipeline.write_models(folder / "models"))


class TestOpenVinoWithABatchOfTwoLengths(TestOpenVino):
    inputs: ClassVar[dict[str, Any]] = {
        "sequences": [[5, 6, 7, 8], [5, 6, 0, 0]],
        "sequence_lengths": [4, 2],
    }


class TestOpenVinoHalf(TestOpenVino):
    quant = "force_float16"

    @pytest.fixture(autouse=True)
    def _only_where_there_are_kernels(self) -> None:
        precisions = Answers().ask("probe", backend=self.backend)["precisions"]
        if "skipped" in precisions[self.quant]:
            pytest.skip(precisions[self.quant]["skipped"])


class TestOpenVinoInt8(TestOpenVinoHalf):
    quant = "qint8_mixed_float32"
