"""NVIDIA's checkpoints: downloaded, and written as model files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.console import Console
from harness.commands.download import Fetcher
from harness.config import download
from harness.errors import ExitStatus, UsageError
from harness.models import export as exporting
from harness.models import sizes
from harness.models.graphs.tacotron2 import DecodeLength, DropoutMask
from harness.models.tacotron2 import MAX_FRAMES
from harness.planning import compose

if TYPE_CHECKING:
    from harness.commands.options import Asked


OWN_KEYS = ("models_dir", "file")
"""The keys of `fetch` that are not those of conf/fetch.yaml."""


def fetch(asked: Asked) -> ExitStatus:
    """Download the two checkpoints named in conf/fetch.yaml."""
    keys = asked.keys
    changes = [f"{key}={value}" for key, value in keys.items() if key not in OWN_KEYS]
    settings = download.fetch(compose.conf_folder() / "fetch.yaml", changes)
    files = {"tacotron2": settings.tacotron2, "waveglow": settings.waveglow}
    wanted = files.values() if keys["file"] == "both" else [files[keys["file"]]]
    folder, console = Path(keys["models_dir"]), Console()
    fetcher = Fetcher(folder, settings, console.notice, console.received)
    for file in wanted:
        console.say(str(fetcher.fetch(file)))
    return ExitStatus.FINE


def export(asked: Asked) -> ExitStatus:
    """Write the model files of NVIDIA's checkpoints."""
    keys = asked.keys
    paths = [Path(part) for part in keys.get("checkpoint", "").split(",") if part]
    folder = Path(keys["models_dir"])

    limit = keys["max_steps"]
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_FRAMES:
        raise UsageError(f"export: max_steps={limit}: decoder steps, 1 to {MAX_FRAMES}")
    console = Console()
    written = exporting.export(
        paths or _fetched(folder),
        folder,
        sizes=sizes.named(keys["model"]),
        length=DecodeLength(limit=int(limit), from_text=False),
        dropout=DropoutMask(keys["dropout"]),
        overwrite=keys["overwrite"] == "true",
        notify=console.notice,
    )
    for path in written:
        console.say(str(path))
    return ExitStatus.FINE


def _fetched(folder: Path) -> list[Path]:

    files = download.fetch(compose.conf_folder() / "fetch.yaml", ())
    paths = [folder / name for name in (files.tacotron2.name, files.waveglow.name)]
    found = [path for path in paths if path.exists()]
    if not found:
        raise UsageError(
            f"export: neither {' nor '.join(map(str, paths))} is there; name a file with "
            f"checkpoint=PATH, or download both: python -m harness fetch models_dir={folder}"
        )
    return found
