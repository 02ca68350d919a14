"""The noise kernel as a pipeline: one stage without a model file.

Its work is done in `backends/yardsticks/noise_kernel.py`.
"""

from __future__ import annotations

from harness.models.pipeline import AudioFormat, Items, Pipeline, SizeRange, Stage, TensorSpec

INPUTS = {"lengths": [1]}
MODELS = {"kernel": {"file": None, "path": "", "sha256": "0" * 64, "bytes": 0, "form": "float32"}}
WEIGHTS = {"kind": "none", "label": "calibration kernel, no weights"}


def build() -> Pipeline:
    """Return the pipeline."""
    lengths = TensorSpec("lengths", ("batch",), "int32")
    return Pipeline(
        name="calibration",
        inputs=(lengths,),
        stages=(
            Stage("kernel", "", (lengths,), (TensorSpec("last", ("batch",)),), produces="kernels"),
        ),
        items=(Items("kernels", "kernels", ("batch",), "lengths"),),
        sizes={"batch": SizeRange(1, 1, 1)},
        audio=AudioFormat(1, 1),
        vocoder="",
    )
