"""The build configuration of a model: ours, merged with the one the user gave."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from backends import cache
from backends.errors import OptionError
from backends.timing.outputs import product

if TYPE_CHECKING:
    from backends.pipeline import PipelinePlan, StagePlan, Tensor


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


class BuildRecipe(NamedTuple):
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
            raise OptionError(
                f"magicmind.static_sizes={text!r}: write symbol:size pairs, such as "
                f"batch:1,text:128,frames:608"
            )
        sizes[name.strip()] = int(value)
    return sizes


def sizes_of(plan: PipelinePlan, settings: Dict[str, Any]) -> Dict[str, Tuple[int, ...]]:
    """Return least, typical and largest of every symbol.

    Raises:
        UsageError: a static size names no symbol of the pipeline.
    """
    fixed = static_sizes(settings["static_sizes"])
    unknown = sorted(set(fixed) - set(plan.sizes))
    if unknown or (fixed and set(fixed) != set(plan.sizes)):
        raise OptionError(
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
        raise OptionError(f"magicmind.build_config={path}: cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise OptionError(f"magicmind.build_config={path}: a JSON object is needed")
    if get(found, PRECISION) is not None:
        raise OptionError(
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


def configuration(recipe: BuildRecipe, inputs: Sequence[Tensor]) -> Dict[str, Any]:
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
