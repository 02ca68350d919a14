"""Small JSON files in the artefact cache: read whole or not at all, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Dict, Optional


def key_of(facts: Any) -> str:
    """Return the hash of everything that decides an artefact, as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode("utf-8")).hexdigest()


def read(path: str) -> Optional[Dict[str, Any]]:
    """Return a file's object, None when it is absent or damaged."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write(path: str, content: Dict[str, Any]) -> None:
    """Write an object under a temporary name, then rename it."""
    partial = Path(f"{path}.{os.getpid()}")
    partial.write_text(json.dumps(content, sort_keys=True), encoding="utf-8")
    partial.replace(path)
