"""Who runs: PyTorch, the exporter's graph, the contract's files, every mode of every backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.workers.worker import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


BACKENDS = ("onnxruntime", "openvino")
REFERENCE = "onnxruntime"
"""The backend whose run of the contract's files everybody is held against."""
FLOAT32 = "force_float32"
BASE, EXPORTER, PYTORCH = "contract", "exporter", "pytorch"
AS_IT_IS = {"graph": "contract"}
NO_TORCH = "torch is not installed: pip install -e '.[torch]'"
BACKEND_ENGINE = "benchmarks.engines:BackendEngine"
TORCH_ENGINE = "benchmarks.torch_engine:TorchEngine"
PROBE_TIMEOUT_S = 120.0
DRAWS_ITSELF = "its files draw their dropout masks themselves"


@dataclass(frozen=True)
class Contestant:
    """Something that runs the networks."""

    name: str
    engine: str
    """`module:class` of what runs it in its process."""
    backend: str | None = None
    quant: str = FLOAT32
    options: Mapping[str, Any] = field(default_factory=dict)
    form: str = "float32"
    """Of the model files it is given."""
    files: str = BASE
    """Which model files: `contract` or `exporter`."""
    reason: str | None = None
    """Why it cannot run at all, None where it can."""

    def unable(self, rows: int) -> str | None:
        """Return why it cannot run a batch of so many rows, None where it can."""
        if self.files == EXPORTER and rows != 1:
            return "its files are exported with a batch of one"
        return self.reason


def everybody(backends: Sequence[str] = BACKENDS) -> list[Contestant]:
    """Return all contestants, those that cannot run here too."""
    missing = None if find_spec("torch") else NO_TORCH
    return [
        Contestant(PYTORCH, TORCH_ENGINE, reason=missing),
        Contestant(
            EXPORTER, BACKEND_ENGINE, REFERENCE, options=AS_IT_IS, files=EXPORTER, reason=missing
        ),
        Contestant(BASE, BACKEND_ENGINE, REFERENCE, options=AS_IT_IS),
        *(one for name in backends for one in _modes(name)),
    ]


def _modes(backend: str) -> Iterator[Contestant]:
    """Yield a backend in every mode, or once with the reason why it is not here."""
    try:
        with WorkerProcess() as worker:
            probe = worker.ask("probe", PROBE_TIMEOUT_S, backend=backend, options={}, device="0")
    except HarnessError as error:
        probe = {"available": False, "reason": str(error)}
    if not probe["available"]:
        yield Contestant(backend, BACKEND_ENGINE, backend, reason=probe["reason"])
        return
    for quant, precision in probe["precisions"].items():
        yield Contestant(
            f"{backend} {quant}",
            BACKEND_ENGINE,
            backend,
            quant,
            form=precision.get("form", "float32"),
            reason=precision.get("skipped"),
        )


def chosen(found: Sequence[Contestant], only: Sequence[str] | None) -> list[Contestant]:
    """Return the contestants named, whole or by a part of their name; the base is always there.

    Raises:
        ValueError: a name is nobody's.
    """
    if not only:
        return list(found)
    nobody = [part for part in only if not any(part in one.name for one in found)]
    if nobody:
        listed = ", ".join(one.name for one in found)
        raise ValueError(f"nobody is called {', '.join(nobody)}; there are: {listed}")
    return [one for one in found if one.name == BASE or any(part in one.name for part in only)]
