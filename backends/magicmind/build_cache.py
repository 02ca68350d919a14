"""Built models on disk, found again by what they were built from."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from backends import cache
from backends.base import Artefact
from backends.errors import BackendError
from backends.magicmind.calls import line

if TYPE_CHECKING:
    from backends.magicmind.recipe import BuildRecipe
    from backends.magicmind.sdk import BuiltModel


class Cache:
    """Model files of earlier builds."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def path(self, recipe: BuildRecipe) -> Path:
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

    def find(self, recipe: BuildRecipe) -> Tuple[Optional[Artefact], Optional[str]]:
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

    def _older(self, recipe: BuildRecipe) -> Optional[str]:
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

    def keep(
        self, recipe: BuildRecipe, model: BuiltModel, record: Dict[str, Any], begin: int
    ) -> Artefact:
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
