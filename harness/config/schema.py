"""The typed schema of conf/, and the one place that turns a composed configuration into it.

The only user of OmegaConf. A key that is not declared here is an error, never ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.config.accuracy import Accuracy
from harness.config.choices import Allow, Dropout, FailOn, Quant, Retry, refuse
from harness.config.measure import Measure
from harness.config.scenario import Kind, Scenario
from harness.errors import UsageError
from harness.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


LEAST_IL = 4
LARGEST_IL = 256
LARGEST_BS = 1024
LARGEST_SIGMA = 2.0


SESSION_KEYS = ("resume", "retry", "budget", "plan", "allow")
"""Keys that say how one session goes about it, and nothing about what is measured."""


@dataclass
class Model:
    """Which sizes the pipeline's layers have: full or tiny."""

    name: str = MISSING


@dataclass
class Config:
    """One point and how to measure it: every key of the command line."""

    quant: Quant = Quant.force_float32
    bs: int = 1
    """Batch size: utterances per iteration."""
    il: int = 128
    """Input length: the benchmark sentence is cut after this many characters."""
    waveglow: bool = False
    """Run the vocoder too; without it, it is neither loaded nor needed."""
    wav: bool = False
    """Write the audio of a point's seeded first pass, one WAV an utterance; needs waveglow=true."""
    backend: dict[str, Any] = field(default_factory=dict)
    model: Model = field(default_factory=Model)
    measure: Measure = field(default_factory=Measure)
    scenario: Scenario = field(default_factory=Scenario)
    accuracy: Accuracy = field(default_factory=Accuracy)
    devices: list[str] = field(default_factory=lambda: ["0"])
    """Device numbers; each is measured by a worker of its own."""
    models_dir: str | None = None
    """Folder of ONNX files to measure as they are; null: synthetic weights from the cache."""
    dropout: Dropout | None = None
    """Prenet dropout: one mask for the batch (shared, as the original exports) or per_row; null:
    shared, or what the files of models_dir do, which alone decide there."""
    sigma: float | None = None
    """Standard deviation of the vocoder's noise on all channels; null: what the exporter's graph
    does with unit noise, which is 0.9 for the first four channels and 1 for the other four."""
    seed: int = 1234
    """Seeds the synthetic weights, the prenet's dropout and the vocoder's noise."""
    warmup_iters: int | None = None
    """First iterations of a process that are kept but not counted; null: the profile's."""
    num_iters: int | None = None
    """Timed iterations of each process; null: the profile's."""
    log_file: str | None = None
    """Where the original's log is written; null: logs/ in the sweep's folder."""
    outputs: str = "outputs"
    """Where the sweep's folder is made."""
    baseline: str | None = None
    """A sweep's folder or a named baseline to measure again beside each point."""
    null_control: bool = True
    """With a baseline: measure it twice, so that a disturbed machine convicts nobody."""
    fail_on: FailOn = FailOn.slower
    """With a baseline: what makes the command fail."""
    plan: bool = False
    """Show what would be measured, how long it takes and how much it writes; measure nothing."""
    resume: str = "auto"
    """auto: the same command continues where it was cut off; never: anew; else a sweep's folder."""
    retry: Retry = Retry.nothing
    """failed: measure points that failed or timed out again, in the folder they failed in."""
    budget: str | None = None
    """Most time for the whole command, such as 30m or 1h30m; null: none."""
    allow: list[Allow] = field(default_factory=list)
    """What resume= and baseline= may take from files that are not known to be your own."""
    repeat: int = 1
    """How often the whole sweep is measured, each time into a folder of its own."""

    def __post_init__(self) -> None:
        """Check ranges, and let the two short keys speak for the profile's."""
        refuse(self._problems())
        if self.warmup_iters is not None:
            self.measure.warmup_iters = self.warmup_iters
        if self.num_iters is not None:
            self.measure.num_iters = self.num_iters
            self.measure.plan_iters = False  # who names a number gets that number
        self.measure.__post_init__()

    def _problems(self) -> Iterator[str]:
        if not 1 <= self.bs <= LARGEST_BS:
            yield f"bs={self.bs}: the batch size must be 1 to {LARGEST_BS}"
        if not LEAST_IL <= self.il <= LARGEST_IL:
            yield (
                f"il={self.il}: the input length must be {LEAST_IL} to {LARGEST_IL} characters, "
                "the range the pipeline is built for"
            )
        if self.seed < 0:
            yield f"seed={self.seed}: must be 0 or more"
        yield from self._session_problems()
        yield from self._output_problems()

    def _session_problems(self) -> Iterator[str]:
        if self.repeat < 1:
            yield f"repeat={self.repeat}: must be at least 1"
        if self.budget is not None and parse_duration(self.budget) is None:
            yield f"budget={self.budget}: a time such as 90s, 30m or 1h30m"
        if not self.devices:
            yield "devices=[]: name at least one device, such as devices=0"
        if len(self.devices) > 1 and self.scenario.kind is not Kind.single_stream:
            yield (
                f"devices={','.join(self.devices)}: several devices at once are measured with "
                f"scenario=single_stream only"
            )
        if len(set(self.devices)) < len(self.devices):
            yield f"devices={','.join(self.devices)}: a device is named twice"

    def _output_problems(self) -> Iterator[str]:
        if self.dropout is not None and self.models_dir is not None:
            yield (
                f"dropout={self.dropout.value}: the files of models_dir decide that; write them "
                f"with python -m harness export dropout={self.dropout.value}"
            )
        if self.wav and not self.waveglow:
            yield "wav=true: there is no audio without the vocoder; add waveglow=true"
        if self.sigma is not None and not 0 <= self.sigma <= LARGEST_SIGMA:
            yield f"sigma={self.sigma}: a standard deviation from 0 to {LARGEST_SIGMA}, or null"


def register() -> None:
    """Make the schema known to Hydra, under the name conf/config.yaml asks for."""
    ConfigStore.instance().store(name="schema", node=Config)


def register_backend(name: str, options: Iterable[str]) -> None:
    """Make a plug-in's backend selectable as `backend=<name>` with its options as keys."""
    node = {"name": name, "python": None, **dict.fromkeys(options)}
    ConfigStore.instance().store(group="backend", name=name, node=node)


def as_yaml(composed: DictConfig) -> str:
    """Return the keys of a composed configuration and their values as YAML."""
    text: str = OmegaConf.to_yaml(composed)
    return text


def typed(composed: DictConfig) -> Config:
    """Turn a composed configuration into a checked `Config`.

    Raises:
        UsageError: a key is unknown or a value is out of range; one line names each problem.
    """
    known = set(Config.__dataclass_fields__)
    unknown = [str(key) for key in composed if key not in known and key != "hydra"]
    if unknown:
        raise UsageError(f"unknown key: {', '.join(unknown)}; `--help` lists the keys")
    plain = composed.copy()
    OmegaConf.set_struct(plain, value=False)
    plain.pop("hydra", None)
    try:
        made = OmegaConf.to_object(plain)
    except (ValueError, OmegaConfBaseException) as error:
        raise UsageError(str(error).splitlines()[0]) from error
    if not isinstance(made, Config):
        raise UsageError("the configuration does not use the schema: conf/config.yaml lost it")
    return made
