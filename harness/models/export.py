"""`python -m harness export`: NVIDIA's checkpoints -> the ONNX files of a models_dir."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.models import checkpoint
from harness.models.graphs import files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.models.graphs.tacotron2 import DecodeLength, DropoutMask
    from harness.models.sizes import Sizes


def export(
    checkpoints: Sequence[Path],
    folder: Path,
    *,
    sizes: Sizes,
    length: DecodeLength,
    dropout: DropoutMask,
    overwrite: bool,
    notify: Callable[[str], None],
) -> list[Path]:
    """Write the model files of the networks in some checkpoints; all of them, or none.

    Args:
        checkpoints: at most one of each network.
        folder: where the files go; made if need be.
        sizes: of the layers; WaveGlow's width is taken from the tensors.
        length: when the decoder stops.
        dropout: whether the rows of a batch share a mask.
        overwrite: replace files that are there.
        notify: told what was found and what is written.

    Raises:
        UsageError: a checkpoint cannot be used, two hold the same network, a file is there
            already, or the folder cannot be written.
    """
    found = [checkpoint.read(path, sizes) for path in checkpoints]
    networks = [one.network for one in found]
    if len(set(networks)) < len(networks):
        raise UsageError(
            f"checkpoint={','.join(str(path) for path in checkpoints)}: "
            f"{' and '.join(networks)}; name one checkpoint of each network"
        )
    writers = [(one, one.writers(length, dropout)) for one in found]
    present = [name for _, names in writers for name in names if (folder / name).exists()]
    if present and not overwrite:
        raise UsageError(
            f"{folder} holds {', '.join(present)} already; name another models_dir, or add "
            "overwrite=true"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as temporary:
            for one, graphs in writers:
                notify(one.describe())
                about = one.metadata() | {
                    "harness.dropout": dropout.value,
                    "harness.decode_length": length.describe(),
                    files.STEP_LIMIT_KEY: str(length.limit),
                }
                files.save(Path(temporary), graphs, about, notify)
            return [path.replace(folder / path.name) for path in sorted(Path(temporary).iterdir())]
    except OSError as error:
        raise UsageError(
            f"models_dir={folder}: cannot be written ({error.strerror}); name another folder"
        ) from error
