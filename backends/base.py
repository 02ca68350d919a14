"""The seam a backend fills: what it is, what it can do, how a stage runs, when a call has finished.

A backend is a subclass of `Backend`; it hands out one `CompiledStage` per stage. Between them
travel *handles*: whatever the runtime calls a tensor. Only the backend looks inside a handle; the
executor asks `shape`, `to_host` and `from_host`. Importing a backend's module is cheap and works
without its runtime, which is imported on first use.

BackendError        failed       the point ends, the worker lives on
|-- UsageError      usage        an option or argument is wrong; nothing was measured
|-- UnsupportedError unsupported this cannot be done here; the point is skipped
`-- ProtocolError   protocol     a request the worker cannot read, or one out of order
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from backends.errors import OptionError

if TYPE_CHECKING:
    from backends.pipeline import GlueStep, PipelinePlan, StagePlan, Tensor


QUANTS = (
    "force_float32",
    "force_float16",
    "qint8_mixed_float32",
    "qint8_mixed_float16",
    "qint16_mixed_float32",
    "qint16_mixed_float16",
)
"""The precision modes every backend answers for."""

AWAKE_NS = 2_000_000
"""How long before a moment `wait_until` stops sleeping."""
Work = Callable[[List[Any], int], Any]
"""One step of glue: (tensor slots, iteration number) -> the handle it made."""


class Option(NamedTuple):
    """One setting of a backend: its type is that of its default (int, float, bool or str)."""

    name: str
    default: Any
    help: str
    choices: Optional[Tuple[Any, ...]] = None
    least: Optional[float] = None

    def check(self, value: Any, backend: str) -> Any:
        """Return `value` in this option's type.

        Raises:
            UsageError: the type is wrong, or the value is not among those allowed.
        """
        wanted = type(self.default)
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise OptionError(
                f"{backend}.{self.name}={value!r}: a value of type {wanted.__name__} is needed"
            )
        if self.choices is not None and value not in self.choices:
            listed = ", ".join(str(choice) for choice in self.choices)
            raise OptionError(f"{backend}.{self.name}={value!r}: choose one of {listed}")
        if self.least is not None and value < self.least:
            raise OptionError(f"{backend}.{self.name}={value!r}: must be at least {self.least:g}")
        return value

    def describe(self) -> Dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "type": type(self.default).__name__,
            "default": self.default,
            "help": self.help,
            "choices": None if self.choices is None else list(self.choices),
        }


def check_options(
    declared: Sequence[Option], given: Dict[str, Any], backend: str
) -> Dict[str, Any]:
    """Return every declared option with its value, defaults filled in.

    Raises:
        UsageError: a name is unknown or a value is not allowed.
    """
    known = {option.name: option for option in declared}
    for name in given:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise OptionError(f"{backend} has no option {name!r}; its options are: {listed}")
    return {
        name: option.check(given.get(name, option.default), backend)
        for name, option in known.items()
    }


def finding(what: str, state: str, seen: str, fix: str = "") -> Dict[str, str]:
    """Return one thing looked at, as `Backend.examine` answers."""
    return {"what": what, "state": state, "seen": seen, "fix": fix}


class Artefact(NamedTuple):
    """What `load` loads for one stage."""

    path: str
    key: str
    """Hash of everything that decides the artefact's bytes."""
    cached: bool
    compile_ns: int


class CompiledStage:
    """One model of the pipeline, loaded and ready to run."""

    def run(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Run the model once; return when its outputs are ready to be used.

        Args:
            tensors: one handle per input, in the order of the plan.

        Returns:
            One handle per output, in the order of the plan.
        """
        raise NotImplementedError

    def effective(self) -> Dict[str, Any]:
        """Return device and precision as read back from the runtime, never as asked for."""
        raise NotImplementedError

    def input_dtype(self, name: str) -> Optional[str]:
        """Return the dtype the model declares for an input, or None: the plan's."""
        return None

    def close(self) -> None:
        """Release everything; may be called again."""


class Backend:
    """A runtime on one device."""

    name = ""
    options: Tuple[Option, ...] = ()
    clock: Optional[Callable[[], int]] = None
    """Nanoseconds of a clock of the backend's own; None: `time.perf_counter_ns`."""
    finish: Optional[Callable[[], None]] = None
    """Called inside the last stage's span: the one synchronisation of `sync=end`."""
    calibration: Optional[List[Dict[str, Any]]] = None
    """Inputs of the pipeline that a build may calibrate on, as the compile request gave them."""
    expected: Dict[str, int] = {}  # noqa: RUF012 - replaced, never changed
    """Sizes that will run, by symbol, as far as the compile request told: a build may be made for
    them, but must run the others too."""
    patience_s: float = 600.0
    """So long the other side waits for the build before it ends this process."""

    def __init__(self, options: Dict[str, Any], device: str) -> None:
        self.settings = check_options(self.options, options, self.name)
        self.device = device
        self.beside: List[str] = []
        """The devices measured at the same time, this one among them; empty: this one alone."""

    # What is here

    def probe(self) -> Dict[str, Any]:
        """Return available, reason, runtime, device and devices of the probe answer.

        Raises:
            UsageError: the device does not exist.
        """
        raise NotImplementedError

    def precisions(self) -> Dict[str, Dict[str, Any]]:
        """Return, for every mode of `QUANTS`, the form of the models or why it is skipped."""
        raise NotImplementedError

    # From model file to something that runs

    def compile(self, plan: PipelinePlan, quant: str, cache_dir: str) -> Dict[str, Artefact]:
        """Build what `load` loads, or find it in the cache; one artefact per stage."""
        raise NotImplementedError

    def load(self, stage: StagePlan, quant: str, artefact: str, seed: int) -> CompiledStage:
        """Load one stage; stages are loaded in the order of the plan."""
        raise NotImplementedError

    def observe(self) -> Dict[str, Any]:
        """Return the device's state now, without starting the runtime.

        Asked between iterations, and during them of a process of its own that measures nothing.

        Returns:
            `at_ns` (perf_counter_ns), `cost_ns`, `reason` (why nothing is known, or None) and what
            is known: `temperature_c`, `power_w`, `memory_used_mib`, `utilisation_pct`, `clock_mhz`.
        """
        return {"reason": f"{self.name} tells nothing of its device while it works"}

    def examine(self) -> List[Dict[str, str]]:
        """Return what is here and what is missing, for `doctor`: before probe, which it may do.

        Returns:
            `what` was looked at, `state` (ok, warning or unknown), what was `seen`, and the `fix`
            of a warning: a command, or what to set.
        """
        answer = self.probe()
        runtime = answer["runtime"]
        if not answer["available"]:
            return [finding(self.name, "warning", answer["reason"], "install the runtime")]
        seen = f"{runtime['name']} {runtime['version']} on {answer['device']['name']}"
        return [finding(self.name, "ok", seen)]

    def begin(self, iteration: int) -> None:
        """Hear which iteration comes next, before its span."""

    def wait_until(self, ns: int) -> None:
        """Return when the clock shows `ns`: asleep at first, then awake, for sleeping overshoots.

        On a quiet machine a plain sleep is about 100 us late, this a few.
        """
        left_ns = ns - time.perf_counter_ns() - AWAKE_NS
        if left_ns > 0:
            time.sleep(left_ns / 1e9)
        while time.perf_counter_ns() < ns:
            pass

    def close(self) -> None:
        """Release the device; may be called again."""

    # Handles; by default they are numpy arrays

    def shape(self, handle: Any) -> Sequence[int]:
        """Return the sizes of a handle's axes."""
        shape: Sequence[int] = handle.shape
        return shape

    def to_host(self, handle: Any) -> Any:
        """Return the handle's content as a host array; copy only where the runtime must."""
        return handle

    def from_host(self, array: Any) -> Any:
        """Return a handle for a host array; the array is not changed while the handle lives."""
        return array

    def make_input(self, values: Any, tensor: Tensor, dtype: str) -> Any:
        """Return nested lists as a host array of `dtype`, outside every span."""
        from backends import host_arrays

        return host_arrays.make(values, tensor, dtype)

    def glue(self, step: GlueStep) -> Optional[Work]:
        """Return the backend's own way of doing one glue step, or None: numpy on the host."""
        return None

    def summary(self, handle: Any) -> Dict[str, Any]:
        """Return shape, dtype, finite, min, max and sha256 of a handle's content."""
        from backends import host_arrays

        return host_arrays.summary(self.to_host(handle))

    def save(self, path: str, handles: Dict[str, Any]) -> None:
        """Write the content of handles to an .npz file."""
        from backends import host_arrays

        host_arrays.save(path, {name: self.to_host(handle) for name, handle in handles.items()})
