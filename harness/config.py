"""The typed schema of conf/, and the one place that turns a composed configuration into it.

The only user of OmegaConf. A key that is not declared here is an error, never ignored.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.asked import Allow  # noqa: TC001 - OmegaConf reads the types of fields
from harness.errors import UsageError
from harness.rules import Rules
from harness.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

LEAST_IL = 4
LARGEST_IL = 256
LARGEST_BS = 1024
LEAST_SERVED_S = 60.0
"""A schedule of requests is at least so long (measurement method, section 10)."""
LARGEST_SIGMA = 2.0
LEAST_STRICT_PROCESSES = 5
"""Below it, sequential intervals miss too often (measurement method, section 5)."""


class Quant(StrEnum):
    """MagicMind's precision modes, by the names the original uses."""

    force_float32 = "force_float32"
    force_float16 = "force_float16"
    qint8_mixed_float32 = "qint8_mixed_float32"
    qint8_mixed_float16 = "qint8_mixed_float16"
    qint16_mixed_float32 = "qint16_mixed_float32"
    qint16_mixed_float16 = "qint16_mixed_float16"


class Dropout(StrEnum):
    """Whether the rows of a batch share the prenet's dropout mask."""

    shared = "shared"
    per_row = "per_row"


class Profile(StrEnum):
    """How much is measured (measurement method, section 5)."""

    compat = "compat"
    quick = "quick"
    standard = "standard"
    rigorous = "rigorous"


class FailOn(StrEnum):
    """From which verdict on a comparison fails."""

    slower = "slower"
    unresolved = "unresolved"


class Retry(StrEnum):
    """Which finished points are measured again."""

    nothing = "nothing"
    failed = "failed"


SESSION_KEYS = ("resume", "retry", "budget", "plan", "allow")
"""Keys that say how one session goes about it, and nothing about what is measured."""


def _refuse(problems: Iterable[str]) -> None:
    found = "; ".join(problems)
    if found:
        raise ValueError(found)


@dataclass
class Model:
    """Which sizes the pipeline's layers have: full or tiny."""

    name: str = MISSING


@dataclass
class Measure:
    """How a point is measured; every value used is stored with the result."""

    profile: Profile = Profile.quick
    min_processes: int = 3
    max_processes: int = 3
    warmup_iters: int = 3
    num_iters: int = 30
    """Timed iterations of each process, warm-up not counted."""
    time_limit_s: float | None = 60.0
    """Most seconds for one point, all its processes together; null: no limit."""
    call_timeout_s: float = 900.0
    """Most seconds for one answer of a worker; after that it is killed."""
    point_timeout_s: float | None = None
    """Most seconds of one point, whatever it is doing: then its worker is killed; null: none."""
    cool_down_s: float = 0.0
    """Seconds of rest before each process."""
    max_temperature_c: float | None = None
    """No process starts while the hottest sensor shows more; null: no such gate."""
    temperature_wait_s: float = 300.0
    """Most seconds to wait at that gate; then the point is timed out."""
    loop_limit_s: float = 120.0
    """Most seconds for one pass when the decoder's Loop has no trip limit of its own."""
    target_half_width: float = 0.01
    """Relative half-width of mean and throughput at which a point may stop early."""
    percentile_width: float = 0.05
    """Relative full width of a percentile's interval at which a point may stop early."""
    percentiles: list[float] = field(default_factory=lambda: [50.0])
    """Percentiles that must be that narrow, in percent."""
    plan_iters: bool = False
    """Plan the iterations of further processes after the pilot; num_iters is then the least."""
    pilot_processes: int = 3
    """Processes of the pilot."""
    telemetry_s: float | None = None
    """Seconds between two looks at the working device, from a process beside it; null: none."""
    rules: Rules = field(default_factory=Rules)
    """Where the method's rules draw their lines."""
    order_seed: int = 0
    """Seed of the random order of points within each block."""

    def __post_init__(self) -> None:
        """Check ranges; types are checked at composition."""
        _refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        least, most = self.min_processes, self.max_processes
        if not 1 <= least <= most:
            yield (
                f"measure.min_processes={least} and measure.max_processes={most}: "
                "need 1 <= min <= max"
            )
        strict = self.profile in {Profile.standard, Profile.rigorous}
        if strict and least < LEAST_STRICT_PROCESSES:
            yield (
                f"measure.min_processes={least}: {self.profile.value} needs at least "
                f"{LEAST_STRICT_PROCESSES}, or its intervals miss too often; use measure=quick"
            )
        if self.warmup_iters < 0:
            yield f"warmup_iters={self.warmup_iters}: must be 0 or more"
        if self.num_iters < 1:
            yield f"num_iters={self.num_iters}: must be at least 1"
        yield from self.rules.problems()
        yield from self._precision_problems()
        yield from self._time_problems()

    def _time_problems(self) -> Iterator[str]:
        for name in ("call_timeout_s", "loop_limit_s"):
            if getattr(self, name) <= 0:
                yield f"measure.{name}={getattr(self, name)}: must be above 0"
        for name in ("time_limit_s", "point_timeout_s", "telemetry_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                yield f"measure.{name}={value}: must be above 0, or null for none"
        for name in ("cool_down_s", "temperature_wait_s"):
            if getattr(self, name) < 0:
                yield f"measure.{name}={getattr(self, name)}: must be 0 or more"

    def _precision_problems(self) -> Iterator[str]:
        if wrong := [one for one in self.percentiles if not 0 < one < 100]:  # noqa: PLR2004
            yield f"measure.percentiles={wrong[0]:g}: in percent, above 0 and below 100"
        if self.pilot_processes < 2:  # noqa: PLR2004 - one process has no spread
            yield f"measure.pilot_processes={self.pilot_processes}: must be at least 2"


class Kind(StrEnum):
    """How requests arrive (measurement method, section 10)."""

    single_stream = "single_stream"
    offline = "offline"
    server = "server"


@dataclass
class Scenario:
    """How requests arrive; a request is one batch."""

    kind: Kind = Kind.single_stream
    rate: float | None = None
    """server: requests a second."""
    load: float | None = None
    """server: the same as a share of what each process is found to be able to do."""
    seconds: float = LEAST_SERVED_S
    """server: least length of the schedule; it is longer where a percentile needs it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        chosen = [one for one in (self.rate, self.load) if one is not None]
        if self.kind is not Kind.server and chosen:
            yield "scenario.rate and scenario.load are for scenario=server"
        if self.kind is Kind.server and len(chosen) != 1:
            yield (
                "scenario=server: give scenario.rate (requests a second) or scenario.load "
                "(share of capacity), one of them"
            )
        if any(one <= 0 for one in chosen):
            yield f"scenario.rate={self.rate} scenario.load={self.load}: must be above 0"
        if self.seconds < LEAST_SERVED_S:
            yield f"scenario.seconds={self.seconds:g}: must be at least {LEAST_SERVED_S:g}"

    def fact(self) -> Any:
        """Return what the point's id holds of it."""
        if self.kind is not Kind.server:
            return self.kind.value
        return {"kind": self.kind.value, "rate": self.rate, "load": self.load}

    def name(self) -> str:
        """Return what the point's name says of it: nothing of the usual one."""
        if self.kind is not Kind.server:
            return "" if self.kind is Kind.single_stream else self.kind.value
        return f"server-load{self.load:g}" if self.load else f"server-rate{self.rate:g}"


@dataclass
class Limits:
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
    force_float32: Limits = field(default_factory=Limits)
    force_float16: Limits = field(default_factory=Limits)
    qint8_mixed_float32: Limits = field(default_factory=Limits)
    qint8_mixed_float16: Limits = field(default_factory=Limits)
    qint16_mixed_float32: Limits = field(default_factory=Limits)
    qint16_mixed_float16: Limits = field(default_factory=Limits)

    def limits(self, quant: Quant) -> dict[str, float | None]:
        """Return the limits of a mode by distance."""
        found: dict[str, float | None] = asdict(getattr(self, quant.value))
        return found


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
        _refuse(self._problems())
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


@dataclass
class Download:
    """One file to fetch."""

    url: str = MISSING
    sha256: str | None = None
    """What the file must have; null: not checked."""
    bytes: int | None = None

    @property
    def name(self) -> str:
        """The file's name: the last part of the address."""
        return unquote(urlsplit(self.url).path.rsplit("/", 1)[-1])


@dataclass
class Fetch:
    """What `fetch` downloads and how patiently: the keys of conf/fetch.yaml."""

    tacotron2: Download = field(default_factory=Download)
    waveglow: Download = field(default_factory=Download)
    attempts: int = 6
    backoff_s: float = 1.0
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Check ranges."""
        _refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        for network in ("tacotron2", "waveglow"):
            file: Download = getattr(self, network)
            if not re.fullmatch(r"https?://[^/]+/.*", file.url) or not file.name.strip("."):
                yield f"{network}.url={file.url}: an http or https address that ends in a file name"
            if file.sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", file.sha256):
                yield f"{network}.sha256={file.sha256}: 64 hexadecimal digits, or null"
        if self.attempts < 1:
            yield f"attempts={self.attempts}: must be at least 1"
        if self.timeout_s <= 0 or self.backoff_s < 0:
            yield f"timeout_s={self.timeout_s} backoff_s={self.backoff_s}: seconds above 0"


def fetch(file: Path, words: Sequence[str]) -> Fetch:
    """Return the downloads of a configuration file, changed by key=value words.

    Raises:
        UsageError: a key is unknown or a value wrong.
    """
    try:
        composed = OmegaConf.merge(
            OmegaConf.structured(Fetch), OmegaConf.load(file), OmegaConf.from_dotlist(list(words))
        )
        made = OmegaConf.to_object(composed)
    except (ValueError, OmegaConfBaseException) as error:
        raise UsageError(f"fetch: {str(error).splitlines()[0]}") from error
    assert isinstance(made, Fetch)  # noqa: S101 - merged onto that schema
    return made


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
