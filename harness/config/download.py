"""The schema of conf/fetch.yaml: what is downloaded, and how patiently."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.config.choices import refuse
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass
class Download:
    """One file to fetch."""

    url: str = MISSING
    sha256: str | None = None
    """What the file must have; null: not checked."""
    bytes: int | None = None

    @property
    def name(self) -> str:
        """The file's name: the last part of the address."""
        return unquote(urlsplit(self.url).path.rsplit("/", 1)[-1])


@dataclass
class Fetch:
    """What `fetch` downloads and how patiently: the keys of conf/fetch.yaml."""

    tacotron2: Download = field(default_factory=Download)
    waveglow: Download = field(default_factory=Download)
    attempts: int = 6
    backoff_s: float = 1.0
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Check ranges."""
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        for network in ("tacotron2", "waveglow"):
            file: Download = getattr(self, network)
            if not re.fullmatch(r"https?://[^/]+/.*", file.url) or not file.name.strip("."):
                yield f"{network}.url={file.url}: an http or https address that ends in a file name"
            if file.sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", file.sha256):
                yield f"{network}.sha256={file.sha256}: 64 hexadecimal digits, or null"
        if self.attempts < 1:
            yield f"attempts={self.attempts}: must be at least 1"
        if self.timeout_s <= 0 or self.backoff_s < 0:
            yield f"timeout_s={self.timeout_s} backoff_s={self.backoff_s}: seconds above 0"


def fetch(file: Path, words: Sequence[str]) -> Fetch:
    """Return the downloads of a configuration file, changed by key=value words.

    Raises:
        UsageError: a key is unknown or a value wrong.
    """
    try:
        composed = OmegaConf.merge(
            OmegaConf.structured(Fetch), OmegaConf.load(file), OmegaConf.from_dotlist(list(words))
        )
        made = OmegaConf.to_object(composed)
    except (ValueError, OmegaConfBaseException) as error:
        raise UsageError(f"fetch: {str(error).splitlines()[0]}") from error
    assert isinstance(made, Fetch)  # noqa: S101 - merged onto that schema
    return made
