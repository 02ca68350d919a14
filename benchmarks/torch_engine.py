"""PyTorch on the CPU: the tests' reference with the same weights. Imported only with torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from backends import processor
from benchmarks import works
from benchmarks.engines import timed
from harness.models.graphs.tacotron2 import KEEP, STATES
from harness.models.weights import SyntheticWeights
from tests.torch_reference.tacotron2 import State, Tacotron2
from tests.torch_reference.waveglow import WaveGlow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from benchmarks.engines import Task
    from harness.models.sizes import Sizes


SIGMAS = (0.9, 1.0)
"""What the contract's graph makes of unit noise."""


def network(work: str, sizes: Sizes) -> Any:
    """Return the network a piece of work runs, with the weights of the contract's files."""
    weights = SyntheticWeights(sizes, works.SEED)
    made: Any = (WaveGlow if work == works.WAVEGLOW else Tacotron2)(sizes).eval()
    keys = [key for key in made.state_dict() if not key.endswith("num_batches_tracked")]
    made.load_state_dict({key: torch.from_numpy(weights[key]) for key in keys}, strict=False)
    return made


class TorchEngine:
    """The reference, eager, in inference mode, on as many threads as there are CPUs."""

    def __init__(self, task: Task) -> None:
        torch.set_num_threads(processor.cpus())
        self.runtime = f"torch {torch.__version__}"
        self._task = task
        self._network = network(task.work, task.setup.sizes)
        arrays = works.inputs(task.work, task.setup, task.rows, given=task.given)
        self._inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        passes: Mapping[str, Callable[[], dict[str, Any]]] = {
            works.STEP: self._step, works.TACOTRON2: self._acoustic, works.WAVEGLOW: self._vocoder,
        }  # fmt: skip
        self._pass = passes[task.work]
        kinds = {str(one.dtype).removeprefix("torch.") for one in self._network.parameters()}
        precision = {
            **dict.fromkeys(("compute", "storage", "activations"), "+".join(sorted(kinds))),
            "verified": True, "source": "types of the parameters",
        }  # fmt: skip
        stages = works.pipeline(task.work, task.setup, given=False).stages
        self.effective = {stage.name: precision for stage in stages}

    def run(self, count: int) -> tuple[float, float]:
        """Run the whole pass so many times."""
        with torch.inference_mode():
            return timed(self._pass, count)

    def results(self) -> dict[str, NDArray[Any]]:
        """Run one pass; return its outputs."""
        with torch.inference_mode():
            return {name: made.numpy().copy() for name, made in self._pass().items()}

    def _step(self) -> dict[str, Any]:
        given = self._inputs
        state = State(*(given[name] for name in STATES))
        mask = torch.zeros(given["memory"].shape[:2], dtype=torch.bool)
        frame, gate, after = self._network.decoder(
            state, given["memory"], given["processed_memory"], mask, given.get(KEEP)
        )
        carried = {f"out_{name}": getattr(after, name) for name in STATES[1:]}
        return {"decoder_output": frame, "gate_prediction": gate, **carried}

    def _acoustic(self) -> dict[str, Any]:
        ids, lengths = self._inputs["sequences"], self._inputs["sequence_lengths"]
        memory, processed = self._network.encode(ids, lengths)
        mask = torch.arange(ids.shape[1])[None, :] >= lengths[:, None]
        # One mask, drawn or given, for each step: decoding ends when they are used up.
        keep = self._inputs.get(KEEP, [None] * self._task.setup.steps)
        decoded = self._network.decode(memory, processed, mask, keep)
        made = self._network.postnet(decoded.mel)
        return {"mel_outputs_postnet": made, "mel_lengths_t": decoded.lengths[:, None]}

    def _vocoder(self) -> dict[str, Any]:
        mel, z = (self._inputs[name][..., 0] for name in ("mel", "z"))
        return {"audio": self._network(mel, z, SIGMAS)}

    def close(self) -> None:
        """Let the network go."""
        self._network = None
