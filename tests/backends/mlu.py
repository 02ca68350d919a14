"""Drives the MagicMind backend on the double: one worker's life in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backends.testing import Answers
from tests.backends import small_pipeline

if TYPE_CHECKING:
    from pathlib import Path


OPTIONS = {"arch": "mtp_372"}
QUANT = "force_float32"
TEXT = 20
"""Characters: the small decoder makes 2 x 20 frames, of which 38 count; 32 is the least length."""
STEPS, FRAMES = 2 * TEXT, 2 * TEXT - 2
STAGES = ("encoder", "decoder", "postnet", "waveglow")
OUTPUTS = ["mel_outputs_postnet", "mel_lengths_t", "audio"]
CALIBRATION = [{"sequences": [list(range(1, 21))], "sequence_lengths": [20]}]


def inputs(batch: int = 1, text: int = TEXT) -> dict[str, Any]:
    """Inputs of full length."""
    return {"sequences": [list(range(1, text + 1))] * batch, "sequence_lengths": [text] * batch}


class Life:
    """A worker in this process, verb by verb."""

    def __init__(
        self, folder: Path, *, quant: str = QUANT, device: str = "0", **options: Any
    ) -> None:
        self.folder = folder
        self.quant = quant
        self.options = {**OPTIONS, **options}
        self.device = device
        self.answers = Answers()
        self.plan = small_pipeline.plan(small_pipeline.write_models(folder / "models"))

    def probe(self) -> dict[str, Any]:
        return self.answers.ask(
            "probe", backend="magicmind", options=self.options, device=self.device
        )

    def request(self) -> dict[str, Any]:
        cache = str(self.folder / "compiled")
        return {"plan": self.plan, "quant": self.quant, "cache_dir": cache}

    def compile(self) -> dict[str, Any]:
        self.probe()
        compiled: dict[str, Any] = self.answers.ask(
            "compile", **self.request(), calibration=CALIBRATION
        )["stages"]
        return compiled

    def load(self) -> dict[str, Any]:
        artefacts = {name: stage["artefact"] for name, stage in self.compile().items()}
        loaded: dict[str, Any] = self.answers.ask(
            "load", plan=self.plan, quant=self.quant, seed=1234, artefacts=artefacts
        )["stages"]
        return loaded

    def verify(self, path: str | None = None, **given: Any) -> dict[str, Any]:
        return self.answers.ask("verify", inputs=given or inputs(), outputs=OUTPUTS, path=path)

    def run(self, count: int = 2, **given: Any) -> dict[str, Any]:
        return self.answers.ask("run", inputs=given or inputs(), count=count, start=0)

    def close(self) -> None:
        self.answers.ask("close")


def whole(folder: Path, **options: Any) -> dict[str, Any]:
    """A whole life; return the answer of the run verb."""
    life = Life(folder, **options)
    life.load()
    life.verify()
    answer = life.run()
    life.close()
    return answer
