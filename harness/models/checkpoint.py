"""NVIDIA's checkpoints as the arrays our graphs are written from.

Reading needs torch (the optional extra `torch`), and nothing but tensors is ever unpickled
(`weights_only`): no code in a file is run. Accepted are the legacy and the zip format, float16 and
float32 tensors, `module.` prefixes, weight norm under its old and its new names, and a bare
`state_dict` as well as one inside a dictionary; what else the dictionary holds is not looked at.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import UsageError
from harness.models.graphs import files
from harness.models.weights import tacotron2_shapes, waveglow_shapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from harness.models.graphs.tacotron2 import DecodeLength, DropoutMask
    from harness.models.sizes import Sizes
    from harness.models.weights import Array, Shape


TACOTRON2, WAVEGLOW = "tacotron2", "waveglow"
SIGNS = {TACOTRON2: "embedding.weight", WAVEGLOW: "upsample.weight"}
"""A key each network has and the other has not."""
FUSED = re.compile(r"WN\.\d+\.cond_layer\.")
WIDTH = "WN.0.start.bias"
"""Its length is the number of WaveGlow's channels: 256 or 512 in the published files."""
MAGIC = (b"PK\x03\x04", b"\x80")
"""How a zip archive and a pickle begin: the two formats torch writes."""
DTYPES = ("float16", "float32")
NAMED = 4
"""At most so many keys are named in one message."""


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one network, in float32 and without weight norm."""

    path: Path
    network: str
    weights: Mapping[str, Array]
    sizes: Sizes
    dtypes: Mapping[str, int]
    """How many tensors the file holds in each dtype."""

    def describe(self) -> str:
        """Return what was found, in one line."""
        kinds = ", ".join(f"{count} {dtype}" for dtype, count in sorted(self.dtypes.items()))
        width = f", {self.sizes.wn_channels} channels" if self.network == WAVEGLOW else ""
        return f"{self.path.name}: {self.network}{width}; tensors: {kinds}; used as float32"

    def writers(self, length: DecodeLength, dropout: DropoutMask) -> files.Writers:
        """Return the model files this network becomes."""
        if self.network == WAVEGLOW:
            return files.waveglow_files(self.weights, self.sizes)
        return files.tacotron2_files(self.weights, self.sizes, length, dropout)

    def metadata(self) -> dict[str, str]:
        """Return what the files made of it say of themselves."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            files.WEIGHTS_KEY: "checkpoint",
            files.LABEL_KEY: f"checkpoint {self.path.name}",
            "harness.checkpoint_sha256": digest,
            "harness.stored": ", ".join(sorted(self.dtypes)),
        }


def looks_like_one(path: Path) -> bool:
    """Return whether a file begins as torch's files do."""
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(MAGIC)
    except OSError:
        return False


def read(path: Path, sizes: Sizes) -> Checkpoint:
    """Return the weights in a checkpoint of either network.

    Args:
        path: the file.
        sizes: of the layers; WaveGlow's width is taken from the tensors.

    Raises:
        UsageError: torch is missing, the file is not such a checkpoint, or its tensors are not
            those of the network; one line says what was found and what to do.
    """
    state = _state(path, _load(path))
    if any(FUSED.match(key) for key in state):
        raise UsageError(
            f"{path}: WaveGlow of another family (one fused cond_layer a flow, as in the "
            "NVIDIA/waveglow releases); use the checkpoint with cond_layers: "
            "waveglow_ckpt_amp_256 of NGC"
        )
    found = [network for network, key in SIGNS.items() if key in state]
    if len(found) != 1:
        raise UsageError(
            f"{path}: neither Tacotron 2 nor WaveGlow: none or both of "
            f"{' and '.join(SIGNS.values())} among its {len(state)} keys"
            f"{_some(state, ', such as')}"
        )
    (network,) = found
    if network == WAVEGLOW and getattr(state.get(WIDTH), "ndim", 0) == 1:
        sizes = replace(sizes, wn_channels=len(state[WIDTH]))
    shapes = waveglow_shapes(sizes) if network == WAVEGLOW else tacotron2_shapes(sizes)
    weights = _checked(path, network, state, shapes)
    dtypes = Counter(_dtype(tensor) for tensor in state.values())
    return Checkpoint(path, network, weights, sizes, dtypes)


def _torch() -> Any:
    try:
        import torch  # noqa: PLC0415 - optional and heavy
    except ImportError as error:
        raise UsageError(
            "reading checkpoints needs torch: pip install 'tts-harness[torch]'; measuring does not"
        ) from error
    return torch


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            head = file.read(4)
        size = path.stat().st_size
    except OSError as error:
        raise UsageError(f"checkpoint={path}: cannot be read ({error.strerror})") from error
    if not size:
        raise UsageError(f"{path}: an empty file; copy or download it again")
    if not head.startswith(MAGIC):
        raise UsageError(
            f"{path}: {size:,} bytes that are no torch checkpoint (they begin with {head!r}); "
            "download the file itself, not a page about it"
        )
    torch = _torch()
    import pickle  # noqa: PLC0415 - for the name of the error torch raises
    import warnings  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about its own deprecated classes
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path}: holds more than tensors{_global(error)}, or is damaged; nothing of it was "
            "executed; save its state_dict alone and export that"
        ) from error
    except Exception as error:  # a damaged file fails anywhere in torch's readers
        raise UsageError(
            f"{path}: {size:,} bytes that torch cannot read ({type(error).__name__}: truncated or "
            "damaged); copy or download it again"
        ) from error


def _global(error: Exception) -> str:
    named = re.search(r"GLOBAL ([\w.]+)|type ([\w.]+)", str(error))
    return f" ({named[1] or named[2]})" if named else ""


def _state(path: Path, content: Any) -> dict[str, Any]:
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{path}: holds no state_dict, but {_kind(content)}")
    state: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("module.1.", "").replace("module.", "")
        if not hasattr(value, "detach"):
            raise UsageError(
                f"{path}: '{name}' is {_kind(value)} where a tensor is due; name a checkpoint of "
                "Tacotron 2 or WaveGlow"
            )
        if name in state:
            raise UsageError(f"{path}: '{name}' twice, with and without a prefix")
        if not name.endswith("num_batches_tracked"):
            state[name] = value.detach()
    return state


def _kind(value: Any) -> str:
    return f"an object of type {type(value).__name__}"


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _some(keys: Iterable[str], word: str) -> str:
    named = sorted(keys)
    if not named:
        return ""
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return f"{word} {', '.join(named[:NAMED])}{more}"


NORMED = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)
"""Names of a weight norm's length and direction: torch's first spelling, and its present one."""
STAGES = ("encoder", "decoder", "postnet")


def _spelling(key: str, state: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys a weight is stored under: itself, or length and direction; none if absent."""
    if key in state:
        return (key,)
    stem = key.removesuffix("weight")
    for pair in NORMED:
        names = tuple(f"{stem}{name}" for name in pair)
        if key.endswith("weight") and all(name in state for name in names):
            return names
    return ()


def _checked(
    path: Path, network: str, state: Mapping[str, Any], shapes: Mapping[str, Shape]
) -> dict[str, Array]:
    stored = {key: _spelling(key, state) for key in shapes}
    missing = [key for key, names in stored.items() if not names]
    extra = set(state) - {name for names in stored.values() for name in names}
    wrong = [_some(missing, "lacks"), _some(extra, "has unknown")]
    if any(wrong):
        raise UsageError(
            f"{path}: not the {network} of NVIDIA's checkpoints: it "
            f"{' and '.join(filter(None, wrong))}"
        )
    weights = {}
    for key, shape in shapes.items():
        expected = [shape] if len(stored[key]) == 1 else [(shape[0], 1, 1), shape]
        arrays = [
            _array(path, network, name, state[name], wanted)
            for name, wanted in zip(stored[key], expected, strict=True)
        ]
        weights[key] = arrays[0] if len(arrays) == 1 else _normed(*arrays)
        _usable(path, network, key, weights[key])
    return weights


def _array(path: Path, network: str, key: str, tensor: Any, shape: Shape) -> Array:
    if tuple(tensor.shape) != shape:
        raise UsageError(
            f"{path}: {_stage(network, key)}: {key} has the shape {list(tensor.shape)}, the "
            f"network {list(shape)}; this is not the size the graphs are written for"
        )
    if _dtype(tensor) not in DTYPES:
        raise UsageError(
            f"{path}: {_stage(network, key)}: {key} is {_dtype(tensor)}; "
            f"{' and '.join(DTYPES)} are read"
        )
    array: Array = tensor.float().contiguous().numpy()
    return array


def _stage(network: str, key: str) -> str:
    first = "encoder" if key.startswith("embedding") else key.split(".", maxsplit=1)[0]
    return first if first in STAGES else network


def _normed(length: Array, direction: Array) -> Array:
    """Return length * direction / |direction|, the norm taken for each output channel."""
    wide = direction.astype(np.float64)
    norm = np.sqrt((wide**2).sum(axis=(1, 2), keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(length * (wide / norm), dtype=np.float32)


def _usable(path: Path, network: str, key: str, array: Array) -> None:
    if not np.isfinite(array).all():
        raise UsageError(f"{path}: {_stage(network, key)}: {key} holds NaN or infinity")
    if key.startswith("convinv") and np.linalg.matrix_rank(array[:, :, 0]) < len(array):
        raise UsageError(f"{path}: {network}: {key} is a matrix that has no inverse")
    if key.endswith("running_var") and (array < 0).any():
        raise UsageError(f"{path}: {_stage(network, key)}: {key} holds a negative variance")
