"""From ONNX to a model file, kept with everything that decided it.

Beside `<stage>-<quant>-<key>.mm` lies its record, `....json`: configuration, sizes, versions, hash.
The precision in the configuration is always the one asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple

from backends.errors import BackendError, UnsupportedError
from backends.magicmind.recipe import (
    FUSION,
    OPTIONAL,
    RECORD_FORMAT,
    TYPICAL,
    BuildRecipe,
    configuration,
    get,
    leaves,
    merge,
    nested,
    shape,
    user_effect,
)

if TYPE_CHECKING:
    from backends.magicmind.sdk import BuildSettings, BuiltModel, Network, Sdk
    from backends.pipeline import Tensor

Samples = Dict[str, List[Any]]
"""For each input of a stage its arrays, one per calibration pass."""


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

    def __init__(self, sdk: Sdk, recipe: BuildRecipe, samples: Optional[Samples]) -> None:
        self._sdk = sdk
        self._recipe = recipe
        self._samples = samples
        self.rejected: Dict[str, str] = {}
        self.fusion = "as configured"

    def run(self) -> Tuple[BuiltModel, Dict[str, Any]]:
        """Return the model and its record, less what the file's own bytes add.

        Raises:
            UnsupportedError: the SDK refuses to build it; its text is in the message.
        """
        recipe, said = self._recipe, []  # type: Tuple[BuildRecipe, List[str]]
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

    def _built(self) -> Tuple[Optional[BuiltModel], Dict[str, Any]]:
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
    ) -> Tuple[Optional[BuiltModel], BuildSettings, Dict[str, Any]]:
        config, values = self._configured(own)
        for more in (self._recipe.user, last or {}):
            self._must(config, more)
            merge(values, more)
        if self._samples is not None:
            self._calibrate(network, config)
        return self._sdk.build(self._recipe.stage.name, network, config), config, values

    def _configured(self, own: Dict[str, Any]) -> Tuple[BuildSettings, Dict[str, Any]]:
        """Set our keys one by one: a refused optional one is left out, another one is an error."""
        config, values = self._sdk.config(), {}  # type: Tuple[BuildSettings, Dict[str, Any]]
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
    def _must(config: BuildSettings, values: Dict[str, Any]) -> None:
        refusal = config.refusal(values) if values else None
        if refusal is not None:
            raise BackendError(
                f"MagicMind refuses the build configuration {json.dumps(values)}: {refusal}"
            )

    def _calibrate(self, network: Network, config: BuildSettings) -> None:
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
