"""From ONNX to a model file, kept with everything that decided it.

Beside `<stage>-<quant>-<key>.mm` lies its record, `....json`: configuration, sizes, versions, hash.
The precision in the configuration is always the one asked for.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from backends import cache
from backends.base import Artefact, BackendError, UnsupportedError, UsageError
from backends.magicmind.sdk import line
from backends.outputs import product

if TYPE_CHECKING:
    from backends.magicmind.sdk import Config, Model, Network, Sdk
    from backends.plan import Plan, StagePlan, Tensor

RECORD_FORMAT = 2

OPTIONAL = (
    ("opt_config", "conv_scale_fold"),
    ("debug_config", "fusion_enable"),
    ("computation_preference",),
)
"""Keys a release may not know: refused, they are noted and left out."""

FUSION = ("debug_config", "fusion_enable")
PRECISION = ("precision_config", "precision_mode")

LEAST, TYPICAL, LARGEST = 0, 1, 2

Path_ = Tuple[str, ...]
Samples = Dict[str, List[Any]]
"""For each input of a stage its arrays, one per calibration pass."""


class Recipe(NamedTuple):
    """Everything that decides what is built from one stage's model."""

    stage: StagePlan
    quant: str
    sizes: Dict[str, Tuple[int, ...]]
    """Least, typical and largest value of each symbol; of a static build all the same."""
    settings: Dict[str, Any]
    archs: List[Any]
    user: Dict[str, Any]
    """The user's own build configuration."""
    samples: Any
    """What identifies the calibration data; None: not calibrated."""
    version: Optional[str]
    """The SDK's."""

    @property
    def static(self) -> bool:
        """Whether it is built for one size of everything."""
        return bool(self.settings["static_sizes"])

    @property
    def key(self) -> str:
        """The hash of everything that decides the model file's bytes."""
        return cache.key_of(
            [
                RECORD_FORMAT,
                self.stage.name,
                self.stage.model.get("sha256"),
                self.quant,
                self.sizes,
                {name: self.settings[name] for name in BUILD_SETTINGS},
                self.archs,
                self.user,
                self.samples,
                self.version,
            ]
        )


BUILD_SETTINGS = (
    "fusion",
    "conv_scale_fold",
    "computation_preference",
    "static_sizes",
    "calibration",
    "calibration_algorithm",
    "weight_granularity",
    "activation_algorithm",
)
"""The options that change a model file."""


def static_sizes(text: str) -> Dict[str, int]:
    """Return `batch:1,text:128,frames:608` as numbers.

    Raises:
        UsageError: it is written otherwise.
    """
    sizes = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition(":")
        if not value.isdigit() or int(value) < 1:
            raise UsageError(
                f"magicmind.static_sizes={text!r}: write symbol:size pairs, such as "
                f"batch:1,text:128,frames:608"
            )
        sizes[name.strip()] = int(value)
    return sizes


def sizes_of(plan: Plan, settings: Dict[str, Any]) -> Dict[str, Tuple[int, ...]]:
    """Return least, typical and largest of every symbol.

    Raises:
        UsageError: a static size names no symbol of the pipeline.
    """
    fixed = static_sizes(settings["static_sizes"])
    unknown = sorted(set(fixed) - set(plan.sizes))
    if unknown or (fixed and set(fixed) != set(plan.sizes)):
        raise UsageError(
            f"magicmind.static_sizes={settings['static_sizes']!r}: the pipeline's symbols are "
            f"{', '.join(sorted(plan.sizes))}; give every one of them a size"
        )
    if fixed:
        return {symbol: (size, size, size) for symbol, size in fixed.items()}
    return dict(plan.sizes)


def user_config(path: str) -> Dict[str, Any]:
    """Return the user's own build configuration.

    Raises:
        UsageError: the file is not a JSON object, or sets the precision.
    """
    if not path:
        return {}
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"magicmind.build_config={path}: cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise UsageError(f"magicmind.build_config={path}: a JSON object is needed")
    if get(found, PRECISION) is not None:
        raise UsageError(
            f"magicmind.build_config={path} sets {'.'.join(PRECISION)}: the precision is chosen "
            f"with quant="
        )
    return found


def get(values: Dict[str, Any], path: Path_) -> Any:
    """Return the value at a path of keys, None where there is none."""
    found: Any = values
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def nested(path: Path_, value: Any) -> Dict[str, Any]:
    """Return an object with one value at a path of keys."""
    for key in reversed(path):
        value = {key: value}
    found: Dict[str, Any] = value
    return found


WHOLE = ("archs", "dim_range", "custom_ranges")
"""Keys whose values are one thing, not further keys."""


def leaves(values: Dict[str, Any], before: Path_ = ()) -> Iterator[Tuple[Path_, Any]]:
    """Yield (path of keys, value) for everything set."""
    for key, value in values.items():
        path = (*before, key)
        if isinstance(value, dict) and key not in WHOLE:
            for leaf in leaves(value, path):
                yield leaf
        else:
            yield path, value


def merge(into: Dict[str, Any], given: Dict[str, Any]) -> None:
    """Put values over others, key by key, as the SDK does."""
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


def shape(tensor: Tensor, sizes: Dict[str, Tuple[int, ...]], which: int) -> List[int]:
    """Return a tensor's shape at the least, typical or largest sizes."""
    chosen = {symbol: values[which] for symbol, values in sizes.items()}
    return [product(dim, chosen) for dim in tensor.dims]


def configuration(recipe: Recipe, inputs: Sequence[Tensor]) -> Dict[str, Any]:
    """Return the build configuration of a recipe, the user's own not yet merged.

    Args:
        recipe: what is built.
        inputs: the plan's tensors, in the order of the network's inputs.
    """
    settings = recipe.settings
    values: Dict[str, Any] = {
        "archs": recipe.archs,
        "graph_shape_mutable": not recipe.static,
        "precision_config": {"precision_mode": recipe.quant},
        "opt_config": {
            "type64to32_conversion": True,
            "conv_scale_fold": settings["conv_scale_fold"],
        },
        "debug_config": {"fusion_enable": settings["fusion"]},
    }
    if not recipe.static:
        values["dim_range"] = {
            str(index): {
                "min": shape(tensor, recipe.sizes, LEAST),
                "max": shape(tensor, recipe.sizes, LARGEST),
            }
            for index, tensor in enumerate(inputs)
        }
    if settings["computation_preference"]:
        values["computation_preference"] = settings["computation_preference"]
    if "qint" in recipe.quant:
        values["precision_config"]["weight_quant_granularity"] = settings["weight_granularity"]
        values["precision_config"]["activation_quant_algo"] = settings["activation_algorithm"]
        if settings["calibration"] == "custom_ranges":
            values["custom_ranges"] = {"": {"max": [1], "min": [-1]}}
    return values


def user_effect(values: Dict[str, Any], user: Dict[str, Any]) -> Dict[str, Any]:
    """Return what the user's configuration changes: key -> [value before, value after]."""
    return {
        ".".join(path): [get(values, path), value]
        for path, value in leaves(user)
        if get(values, path) != value
    }


@contextlib.contextmanager
def spoken() -> Iterator[List[str]]:
    """Keep what the SDK's C++ side writes to standard error, and pass it on afterwards.

    Yields:
        A list that holds the lines once the block has ended.
    """
    said: List[str] = []
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        before = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield said
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
            kept.seek(0)
            text = kept.read()
            said += text.decode("utf-8", "replace").splitlines()
            if text:
                os.write(2, text)


def _words(said: List[str]) -> str:
    spoken_lines = [one.strip() for one in said if one.strip()]
    return f": {spoken_lines[-1][:300]}" if spoken_lines else ""


class Build:
    """Builds one stage's model."""

    def __init__(self, sdk: Sdk, recipe: Recipe, samples: Optional[Samples]) -> None:
        self._sdk = sdk
        self._recipe = recipe
        self._samples = samples
        self.rejected: Dict[str, str] = {}
        self.fusion = "as configured"

    def run(self) -> Tuple[Model, Dict[str, Any]]:
        """Return the model and its record, less what the file's own bytes add.

        Raises:
            UnsupportedError: the SDK refuses to build it; its text is in the message.
        """
        recipe, said = self._recipe, []  # type: Tuple[Recipe, List[str]]
        try:
            with spoken() as said:
                model, record = self._built()
        except BackendError as error:
            raise UnsupportedError(
                f"{recipe.stage.name} cannot be built as {recipe.quant}: {error}{_words(said)}"
            ) from error
        if model is None:
            raise UnsupportedError(
                f"{recipe.stage.name} cannot be built as {recipe.quant}: build_model returned "
                f"None{_words(said)}"
            )
        return model, record

    def _built(self) -> Tuple[Optional[Model], Dict[str, Any]]:
        recipe = self._recipe
        network = self._sdk.network(recipe.stage.model["path"])
        inputs = self._inputs(network)
        own = configuration(recipe, inputs)
        effect = user_effect(own, recipe.user)
        model, config, values = self._attempt(network, own)
        fusing = get(values, FUSION) and ".".join(FUSION) not in self.rejected
        if model is None and fusing:
            # Fusion is known to fail on graphs with loops or varying shapes in some releases.
            self.fusion = "off: the build failed with it"
            network = self._sdk.network(recipe.stage.model["path"])
            self._inputs(network)
            model, config, values = self._attempt(network, own, {FUSION[0]: {FUSION[1]: False}})
        del network, config
        record = {
            "format": RECORD_FORMAT,
            "key": recipe.key,
            "stage": recipe.stage.name,
            "quant": recipe.quant,
            "onnx_sha256": recipe.stage.model.get("sha256"),
            "sdk": recipe.version,
            "archs": values["archs"],
            "config": values,
            "typical": {symbol: size[TYPICAL] for symbol, size in recipe.sizes.items()},
            "ranges": [self._range(values, index, one) for index, one in enumerate(inputs)],
            "rejected": self.rejected,
            "user": effect,
            "fusion": self.fusion,
            "calibration": self._calibration(values),
            "mm_run": None,
        }
        return model, record

    def _inputs(self, network: Network) -> List[Tensor]:
        """Return the plan's tensors in network order, the network set to the typical sizes."""
        from backends.magicmind.stage import permutation

        recipe = self._recipe
        found = network.inputs()
        planned = recipe.stage.inputs
        names = [tensor.name for tensor in planned]
        places = permutation(f"{recipe.stage.name} takes", names, [name for name, _ in found])
        ordered = [planned[place] for place in places]
        for index, tensor in enumerate(ordered):
            network.set_dimension(index, shape(tensor, recipe.sizes, TYPICAL))
        return ordered

    def _attempt(
        self, network: Network, own: Dict[str, Any], last: Optional[Dict[str, Any]] = None
    ) -> Tuple[Optional[Model], Config, Dict[str, Any]]:
        config, values = self._configured(own)
        for more in (self._recipe.user, last or {}):
            self._must(config, more)
            merge(values, more)
        if self._samples is not None:
            self._calibrate(network, config)
        return self._sdk.build(self._recipe.stage.name, network, config), config, values

    def _configured(self, own: Dict[str, Any]) -> Tuple[Config, Dict[str, Any]]:
        """Set our keys one by one: a refused optional one is left out, another one is an error."""
        config, values = self._sdk.config(), {}  # type: Tuple[Config, Dict[str, Any]]
        for path, value in leaves(own):
            one = nested(path, value)
            if path not in OPTIONAL:
                self._must(config, one)
            else:
                refusal = config.refusal(one)
                if refusal is not None:
                    self.rejected[".".join(path)] = refusal
                    continue
            merge(values, one)
        return config, values

    @staticmethod
    def _must(config: Config, values: Dict[str, Any]) -> None:
        refusal = config.refusal(values) if values else None
        if refusal is not None:
            raise BackendError(
                f"MagicMind refuses the build configuration {json.dumps(values)}: {refusal}"
            )

    def _calibrate(self, network: Network, config: Config) -> None:
        samples = self._samples or {}
        order = [samples[name] for name, _ in network.inputs()]
        calibrator = self._sdk.calibrator(order, self._recipe.settings["calibration_algorithm"])
        self._sdk.calibrate(calibrator, network, config)

    def _calibration(self, values: Dict[str, Any]) -> Optional[str]:
        if "qint" not in self._recipe.quant:
            return None
        if "custom_ranges" in values:
            return "custom ranges: for performance only, its output means nothing"
        passes = len(next(iter((self._samples or {"": []}).values())))
        algorithm = self._recipe.settings["calibration_algorithm"]
        return f"{algorithm}, on {passes} passes of the float32 build"

    def _range(self, values: Dict[str, Any], index: int, tensor: Tensor) -> List[List[int]]:
        """Return least and largest of each axis of one input, as the model was built."""
        ranges = values.get("dim_range", {}).get(str(index))
        if ranges is None:
            return [[size, size] for size in shape(tensor, self._recipe.sizes, TYPICAL)]
        return [[least, most] for least, most in zip(ranges["min"], ranges["max"])]


class Cache:
    """Model files of earlier builds."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def path(self, recipe: Recipe) -> Path:
        """Return where the model file of a recipe lies."""
        return self._folder / f"{recipe.stage.name}-{recipe.quant}-{recipe.key[:16]}.mm"

    @staticmethod
    def record(path: str) -> Optional[Dict[str, Any]]:
        """Return the record of a model file, None when there is none."""
        return cache.read(path + ".json")

    @staticmethod
    def write(path: str, record: Dict[str, Any]) -> None:
        """Write the record of a model file."""
        cache.write(path + ".json", record)

    def find(self, recipe: Recipe) -> Tuple[Optional[Artefact], Optional[str]]:
        """Return the artefact when it is there and whole; else why one has to be built."""
        begin = time.perf_counter_ns()
        path = self.path(recipe)
        if not path.exists():
            return None, self._older(recipe)
        record = self.record(str(path))
        if record is None or record.get("key") != recipe.key:
            return None, f"{path.name} has no record of this build: built anew"
        if not cache.proved(f"{path}.json", record):
            return None, f"{path.name} is not the file that was built: built anew"
        spent = time.perf_counter_ns() - begin
        return Artefact(str(path), recipe.key, cached=True, compile_ns=spent), None

    def _older(self, recipe: Recipe) -> Optional[str]:
        """Return what is kept of the same model for another release or architecture."""
        for path in sorted(self._folder.glob(f"{recipe.stage.name}-{recipe.quant}-*.mm.json")):
            other = cache.read(str(path)) or {}
            same = other.get("onnx_sha256") == recipe.stage.model.get("sha256")
            made = (other.get("sdk"), other.get("archs"))
            if same and made != (recipe.version, recipe.archs):
                return (
                    f"{path.stem} is of MagicMind {made[0]} for {json.dumps(made[1])}: built anew "
                    f"for {recipe.version} and {json.dumps(recipe.archs)}"
                )
        return None

    def keep(self, recipe: Recipe, model: Model, record: Dict[str, Any], begin: int) -> Artefact:
        """Write a model and its record, each under a temporary name first.

        Raises:
            BackendError: the SDK cannot write it.
        """
        path = self.path(recipe)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            model.save(str(partial))
            cache.put(partial, path)
            record[cache.FILES] = cache.facts_of([path])
            self.write(str(path), record)
        except OSError as error:
            raise BackendError(f"{path}: cannot be written ({line(error)})") from error
        finally:
            if partial.exists():
                partial.unlink()
        spent = time.perf_counter_ns() - begin
        return Artefact(str(path), recipe.key, cached=False, compile_ns=spent)
