"""NVIDIA's checkpoints: downloaded, and written as model files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import compose, config
from harness import export as exporting
from harness.commands import options
from harness.console import Console
from harness.errors import ExitStatus, UsageError
from harness.fetch import Fetcher
from harness.models import sizes
from harness.models.graphs.tacotron2 import DecodeLength, Dropout
from harness.models.tacotron2 import MAX_FRAMES

if TYPE_CHECKING:
    from collections.abc import Sequence


MODELS_DIR = "models"
"""Where fetch puts checkpoints and export model files unless told otherwise."""


def fetch(arguments: Sequence[str]) -> ExitStatus:
    """Download the two checkpoints named in conf/fetch.yaml."""
    own = {"models_dir": (), "file": ("both", "tacotron2", "waveglow")}
    words = [word for word in arguments if word.split("=", 1)[0] in own]
    keys = options.keys("fetch", words, own)
    others = [word for word in arguments if word not in words]
    settings = config.fetch(compose.conf_folder() / "fetch.yaml", others)
    files = {"tacotron2": settings.tacotron2, "waveglow": settings.waveglow}
    wanted = files.values() if keys["file"] == "both" else [files[keys["file"]]]
    folder, console = Path(keys.get("models_dir", MODELS_DIR)), Console()
    fetcher = Fetcher(folder, settings, console.notice, console.received)
    for file in wanted:
        console.say(str(fetcher.fetch(file)))
    return ExitStatus.FINE


EXPORT_KEYS = {
    "models_dir": (),
    "model": ("full", "tiny"),
    "dropout": ("shared", "per_row"),
    "max_steps": (),
    "overwrite": ("false", "true"),
}
"""The keys of `export` beside checkpoint=; the first choice is the default."""


def export(arguments: Sequence[str]) -> ExitStatus:
    """Write the model files of NVIDIA's checkpoints."""
    named = [word for word in arguments if word.startswith("checkpoint=")]
    keys = options.keys("export", [word for word in arguments if word not in named], EXPORT_KEYS)
    paths = [Path(part) for word in named for part in word.partition("=")[2].split(",") if part]
    folder = Path(keys.get("models_dir", MODELS_DIR))

    limit = keys.get("max_steps", str(MAX_FRAMES))
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_FRAMES:
        raise UsageError(f"export: max_steps={limit}: decoder steps, 1 to {MAX_FRAMES}")
    console = Console()
    written = exporting.export(
        paths or _fetched(folder),
        folder,
        sizes=sizes.named(keys["model"]),
        length=DecodeLength(limit=int(limit), from_text=False),
        dropout=Dropout(keys["dropout"]),
        overwrite=keys["overwrite"] == "true",
        notify=console.notice,
    )
    for path in written:
        console.say(str(path))
    return ExitStatus.FINE


def _fetched(folder: Path) -> list[Path]:

    files = config.fetch(compose.conf_folder() / "fetch.yaml", ())
    paths = [folder / name for name in (files.tacotron2.name, files.waveglow.name)]
    found = [path for path in paths if path.exists()]
    if not found:
        raise UsageError(
            f"export: neither {' nor '.join(map(str, paths))} is there; name a file with "
            f"checkpoint=PATH, or download both: python -m harness fetch models_dir={folder}"
        )
    return found
