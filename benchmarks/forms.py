"""The forms a model runs in on onnxruntime's CPU kernels, timed in turn within one process.

exporter   what NVIDIA's exporter leaves behind, traced from the torch reference (needs torch)
contract   our files as they are
fused      what the onnxruntime backend compiles them to
int8       the same for quant=qint8_mixed_float32

One turn runs every form once, in rotated order; a ratio is taken within its turn, so that a
neighbour on the same host disturbs single turns and not the median. Where one takes half of the
machine all the time, the ratio of processor seconds tells more than that of wall seconds.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from backends import fusion, graphs, int8
from backends.onnxruntime import OnnxRuntimeBackend
from benchmarks.ratios import interval
from harness import store
from harness.models import tacotron2
from harness.models.sizes import FULL
from harness.models.weights import SyntheticWeights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

SEED, TEXT, FRAMES = 1234, 128, 600
BATCHES = (1, 4, 8)
STEPS = 608
"""What synthetic weights decode for 128 symbols."""
BASE = "contract"
FILES = ("encoder", "decoder", "decoder_iter", "postnet", "waveglow")

HEADER = """\
| work | batch | form | median ms | best ms | times faster (95 %) | times less CPU (95 %) | off by | turns |
|---|---|---|---|---|---|---|---|---|"""  # noqa: E501 - one row of a table


@dataclass(frozen=True)
class Row:
    """One form at one piece of work."""

    work: str
    batch: int
    form: str
    median_s: float
    best_s: float
    faster: tuple[float, float, float]
    """Seconds of the base over this one's: median over turns and its interval."""
    less_cpu: tuple[float, float, float]
    """The same of processor seconds, of all threads."""
    off: float
    """Root of the mean square of the difference from the base's results, over theirs."""
    turns: int
    base: str
    """The form this one is compared with."""

    def line(self) -> str:
        """Return the row of the table."""
        ratios = [_times(*one) for one in (self.faster, self.less_cpu)]
        if self.form == self.base:
            ratios = ["1", "1"]
        return (
            f"| {self.work} | {self.batch} | {self.form} | {1e3 * self.median_s:.3g} | "
            f"{1e3 * self.best_s:.3g} | {' | '.join(ratios)} | {self.off:.1g} | {self.turns} |"
        )


def _times(value: float, low: float, high: float) -> str:
    if math.isnan(low) or math.isnan(high):
        return f"{value:.2f} (too few turns)"
    return f"{value:.2f} ({low:.2f} – {high:.2f})"


class Form:
    """The five files of one form, and sessions on them with the backend's own options."""

    def __init__(self, name: str, folder: Path, options: Mapping[str, Any]) -> None:
        self.name = name
        self._folder = folder
        self._backend = OnnxRuntimeBackend(dict(options), "0")
        self._sessions: dict[str, Any] = {}

    def session(self, stem: str) -> Any:
        """Return the session of one file, loaded once."""
        if stem not in self._sessions:
            path = str(self._folder / f"{stem}.onnx")
            self._sessions[stem] = self._backend._session(stem, path, SEED)  # noqa: SLF001
        return self._sessions[stem]

    def run(self, stem: str, feeds: Mapping[str, Any]) -> list[Any]:
        """Run one file."""
        found: list[Any] = self.session(stem).run(None, feeds)
        return found

    def drop(self) -> None:
        """Let the sessions go."""
        self._sessions.clear()


def prepare(folder: Path) -> dict[str, Path]:
    """Write every form of the full-size model that can be made here; return their folders."""
    pipeline = tacotron2.build("full")
    resolved = store.resolve_models(
        pipeline, model="full", models_dir=None, seed=SEED, notify=lambda _: None
    )
    from pathlib import Path  # noqa: PLC0415 - the one use at run time

    contract = Path(resolved.models["encoder"]["path"]).parent
    made = {BASE: contract}
    rewritings: dict[str, list[Callable[[Any], dict[str, int]]]] = {
        "fused": [fusion.fused],
        "int8": [fusion.fused, int8.quantised],
    }
    for name, chosen in rewritings.items():
        made[name] = folder / name
        made[name].mkdir(parents=True)
        for stem in FILES:
            file = f"{stem}.onnx"
            graphs.rewrite(str(contract / file), str(made[name] / file), chosen)
    exporter = _exporter(folder / "exporter")
    return {"exporter": exporter, **made} if exporter else made


def _exporter(folder: Path) -> Path | None:
    """Export the torch reference with the same weights; None without torch."""
    try:
        import torch  # noqa: PLC0415 - optional
    except ImportError:
        return None
    import onnx  # noqa: PLC0415 - heavy
    from onnx import numpy_helper  # noqa: PLC0415 - heavy

    from tests.torch_reference import exporter  # noqa: PLC0415 - only with torch
    from tests.torch_reference.tacotron2 import Tacotron2  # noqa: PLC0415
    from tests.torch_reference.waveglow import WaveGlow  # noqa: PLC0415

    weights = SyntheticWeights(FULL, SEED)
    networks = [Tacotron2(FULL).eval(), WaveGlow(FULL).eval()]
    for network in networks:
        keys = [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]
        arrays = {key: torch.from_numpy(weights[key]) for key in keys}
        network.load_state_dict(arrays, strict=False)
    folder.mkdir(parents=True)
    exporter.export(folder, *networks)
    # Synthetic weights never fire the gate: the exporter's Loop needs the limit it leaves out.
    model = onnx.load(folder / "decoder.onnx")
    (loop,) = (node for node in model.graph.node if node.op_type == "Loop")
    loop.input[0] = "trip_limit"
    model.graph.initializer.append(numpy_helper.from_array(np.array(STEPS), "trip_limit"))
    onnx.save(model, folder / "decoder.onnx")
    return folder


def _inputs(session: Any, rows: int) -> dict[str, Any]:
    """Return what a file of the acoustic model takes, at the sizes of the benchmark."""
    random = np.random.default_rng(SEED)
    fixed = {"sequence_lengths": np.full(rows, TEXT, np.int32)}
    made: dict[str, Any] = {}
    for one in session.get_inputs():
        dims = [rows, *(TEXT if isinstance(d, str) else d for d in one.shape[1:])]
        if one.name in fixed:
            made[one.name] = fixed[one.name]
        elif one.type == "tensor(bool)":
            made[one.name] = np.zeros(dims, bool)
        elif one.type == "tensor(int64)":
            made[one.name] = random.integers(1, 148, dims)
        elif one.name.endswith("_0"):
            made[one.name] = np.zeros(dims, np.float32)
        else:
            made[one.name] = (0.1 * random.standard_normal(dims)).astype(np.float32)
    return made


def _step(base: Form, rows: int) -> Callable[[Form], Any]:
    feeds = _inputs(base.session("decoder_iter"), rows)
    return lambda form: form.run("decoder_iter", feeds)[-1]


def _acoustic(base: Form, rows: int) -> Callable[[Form], Any]:
    ids = _inputs(base.session("encoder"), rows)
    feeds = _inputs(base.session("decoder"), rows)

    def run(form: Form) -> Any:
        memory, processed, *_ = form.run("encoder", ids)
        feeds.update(memory=memory, processed_memory=processed)
        mel = form.session("decoder").run(["mel_outputs"], feeds)[0]
        return form.run("postnet", {"mel_outputs": mel})[0]

    return run


def _vocoder(_: Form, rows: int) -> Callable[[Form], Any]:
    random = np.random.default_rng(SEED)
    mel = random.standard_normal((rows, 80, FRAMES, 1)) - 4.0
    z = random.standard_normal((rows, 8, 32 * FRAMES, 1))
    feeds = {"mel": mel.astype(np.float32), "z": z.astype(np.float32)}
    return lambda form: form.run("waveglow", feeds)[0]


WORKS: dict[str, tuple[str, Callable[[Form, int], Callable[[Form], Any]], tuple[int, ...], int]] = {
    "step": (f"decoder step, text {TEXT}", _step, BATCHES, 200),
    "tacotron2": (f"Tacotron 2, il={TEXT}, {STEPS} frames", _acoustic, BATCHES, 7),
    "waveglow": (f"WaveGlow, {FRAMES} frames", _vocoder, (1,), 3),
}
"""Name: label, what makes the work, batches, turns."""


def measure(
    forms: Sequence[Form],
    name: str,
    turns: int | None = None,
    *,
    base: Form,
    batches: Sequence[int] | None = None,
    pause_s: float = 0.0,
) -> Iterator[Row]:
    """Yield the rows of one piece of work.

    Args:
        forms: those to compare.
        name: of `WORKS`.
        turns: how often; None: as often as the work has it.
        base: the form the others are compared with, one of them.
        batches: rows of the batch; None: all the work has.
        pause_s: before each run, so that threads of the one before have stopped.
    """
    label, making, all_batches, usual = WORKS[name]
    count = turns or usual
    for rows in batches or all_batches:
        work = making(base, rows)
        exact = _first(base, work)
        # Files exported with a batch of one cannot run others.
        able = [form for form in forms if rows == 1 or form.name != "exporter"]
        off = {form.name: _off(exact, _first(form, work)) for form in able}
        times = _turns(able, work, count, pause_s)
        for form in able:
            wall, _ = seconds = times[form.name].T
            faster, less_cpu = (
                interval(np.sort(ours / theirs))
                for ours, theirs in zip(times[base.name].T, seconds, strict=True)
            )
            yield Row(
                label, rows, form.name, float(np.median(wall)), float(wall.min()),
                faster, less_cpu, off[form.name], count, base.name,
            )  # fmt: skip
    for form in forms:
        form.drop()


def _first(form: Form, work: Callable[[Form], Any]) -> Any:
    """Return the results of fresh sessions: each run draws other random numbers."""
    form.drop()
    return work(form)


def _turns(
    forms: Sequence[Form], work: Callable[[Form], Any], count: int, pause_s: float
) -> dict[str, Any]:
    """Return wall and processor seconds of every form: arrays (turns, 2)."""
    times = {form.name: np.empty((count, 2)) for form in forms}
    for turn in range(count):
        first = turn % len(forms)
        for form in [*forms[first:], *forms[:first]]:
            time.sleep(pause_s)
            wall, cpu = time.perf_counter(), time.process_time()
            work(form)
            times[form.name][turn] = time.perf_counter() - wall, time.process_time() - cpu
    return times


def _off(exact: Any, found: Any) -> float:
    if exact.shape != found.shape:
        return float("nan")
    away = found.astype(np.float64) - exact
    return float(np.sqrt(np.mean(away**2) / np.mean(exact.astype(np.float64) ** 2)))
