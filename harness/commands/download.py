"""Downloads of model files: resumed where they were cut off, checked, and never half there.

A file is received as `<name>.partial` in the folder it goes to and renamed when it is whole. Beside
it stands `<name>.partial.json`: the address, and the validator (ETag or date) the server gave. A
later attempt, or a later command, asks for the rest with `Range` and `If-Range`, so that a file
changed on the server is received anew instead of being joined to the old one (RFC 9110, sections
13.1.5 and 14).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.config.download import Download, Fetch

    Progress = Callable[[str, int, int | None], None]


PIECE_BYTES = 1 << 16
"""Written at once; a piece that was cut off is asked for again."""
LONGEST_WAIT_S = 60.0
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which another attempt may succeed."""
OK, PARTIAL, NOT_SATISFIABLE = 200, 206, 416


class _TryAgainError(Exception):
    """An attempt ended early; the next may go on from there."""


@dataclass(frozen=True)
class Fetcher:
    """Downloads files into a folder."""

    folder: Path
    settings: Fetch
    notify: Callable[[str], None]
    progress: Progress
    """Told the file, the bytes there are, and of how many (None where the server does not say)."""
    sleep: Callable[[float], None] = time.sleep

    def fetch(self, file: Download) -> Path:
        """Return the file, downloaded unless it is there already.

        Raises:
            HarnessError: it cannot be had, or is not the one expected; what was received stays,
                unless it is wrong.
        """
        target = self.folder / file.name
        if target.exists():
            self._check(file, target)
            self.notify(f"{target} is there already")
            return target
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = _Part(self.folder, file)
            self._receive(part)
            self._check(file, part.path)
            part.path.replace(target)
            part.note.unlink(missing_ok=True)
        except OSError as error:
            if isinstance(error, requests.RequestException):
                raise
            raise HarnessError(
                f"{target}: cannot be written ({error.strerror}); name another models_dir"
            ) from error
        return target

    def _receive(self, part: _Part) -> None:
        settings = self.settings
        for attempt in range(1, settings.attempts + 1):
            try:
                self._attempt(part)
            except (_TryAgainError, requests.RequestException) as error:
                reason = _reason(error)
                if attempt == settings.attempts or _hopeless(error):
                    raise self._gave_up(part, attempt, reason) from error
                wait = min(LONGEST_WAIT_S, settings.backoff_s * 2 ** (attempt - 1))
                self.notify(f"{part.file.name}: {reason}; again in {wait:g} s")
                self.sleep(wait)
            else:
                return

    def _gave_up(self, part: _Part, attempts: int, reason: str) -> HarnessError:
        kept = part.size()
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        again = f"; {kept:,} bytes are kept and the same command goes on from there" if kept else ""
        return HarnessError(
            f"{part.file.url}: {reason}{tried}{again}; if this machine is offline, download it "
            f"elsewhere and copy it to {self.folder / part.file.name}"
        )

    def _attempt(self, part: _Part) -> None:
        with requests.get(
            part.file.url,
            headers={"Accept-Encoding": "identity", **part.asking()},
            stream=True,
            timeout=self.settings.timeout_s,
        ) as answer:
            if answer.status_code in AGAIN:
                raise _TryAgainError(f"the server answered {answer.status_code} {answer.reason}")
            if answer.status_code == NOT_SATISFIABLE and part.size():
                if part.whole(answer):
                    return
                part.drop()
                raise _TryAgainError("the server has no more of it than what is here")
            if answer.status_code not in {OK, PARTIAL}:
                raise HarnessError(
                    f"{part.file.url}: the server answered {answer.status_code} {answer.reason}; "
                    "the address is configuration: set it with the file's url key (conf/fetch.yaml)"
                )
            self._write(part, answer)

    def _write(self, part: _Part, answer: requests.Response) -> None:
        have = part.begin(answer)
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else part.file.bytes
        with part.path.open("ab" if have else "wb") as stream:
            for piece in answer.iter_content(PIECE_BYTES):
                stream.write(piece)
                have += len(piece)
                self.progress(part.file.name, have, total)
        if total is not None and have < total:
            raise _TryAgainError(f"cut off after {have:,} of {total:,} bytes")

    def _check(self, file: Download, path: Path) -> None:
        """Hold a whole file against what is expected of it; remove it if it is another."""
        size = path.stat().st_size
        if file.bytes is not None and size != file.bytes:
            raise self._wrong(file, path, f"{size:,} bytes, expected {file.bytes:,}")
        if file.sha256 is None:
            return
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != file.sha256.lower():
            raise self._wrong(
                file, path, f"its SHA-256 is {digest}, expected {file.sha256.lower()}"
            )

    def _wrong(self, file: Download, path: Path, what: str) -> HarnessError:
        if path.name == file.name:
            return HarnessError(f"{path}: {what}; move it away to download it again")
        part = _Part(self.folder, file)
        part.drop()
        return HarnessError(
            f"{file.url}: not the file expected: {what}; what was received is removed"
        )


class _Part:
    """A file that is not whole yet, and what is known of where it comes from."""

    def __init__(self, folder: Path, file: Download) -> None:
        self.file = file
        self.path = folder / f"{file.name}.partial"
        self.note = folder / f"{file.name}.partial.json"

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def asking(self) -> dict[str, str]:
        """Return the headers that ask for the rest; none where only the whole will do."""
        known, have = self._known(), self.size()
        validator = known.get("validator")
        if not have or not validator or known.get("url") != self.file.url:
            return {}
        return {"Range": f"bytes={have}-", "If-Range": str(validator)}

    def begin(self, answer: requests.Response) -> int:
        """Return the bytes that stay, after noting where the others come from."""
        have = self.size()
        ranged = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if answer.status_code == PARTIAL and ranged and int(ranged[1]) == have:
            return have
        if answer.status_code == PARTIAL:
            self.drop()
            raise _TryAgainError("the server sent another part than the one asked for")
        known = {"url": self.file.url, "validator": _validator(answer.headers)}
        self.note.write_text(json.dumps(known) + "\n")
        return 0

    def whole(self, answer: requests.Response) -> bool:
        """Return whether a refused range means that nothing is missing."""
        said = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
        return said is not None and int(said[1]) == self.size()

    def _known(self) -> dict[str, Any]:
        try:
            found = json.loads(self.note.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _validator(headers: Mapping[str, str]) -> str | None:
    tag = headers.get("ETag")
    # A weak tag says "equivalent", not "the same bytes"; If-Range takes none.
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


SAYINGS: tuple[tuple[type[Exception], str], ...] = (
    (requests.exceptions.SSLError, "no safe connection to {} (its certificate is not accepted)"),
    (requests.ConnectTimeout, "{} cannot be reached (no answer in time)"),
    (requests.Timeout, "{} stopped sending"),
    (requests.exceptions.ChunkedEncodingError, "the connection was cut"),
)


def _reason(error: _TryAgainError | requests.RequestException) -> str:
    if isinstance(error, _TryAgainError):
        return str(error)
    host = urlsplit(str(error.request.url)).hostname if error.request else "the server"
    for kind, text in SAYINGS:
        if isinstance(error, kind):
            return text.format(host)
    if isinstance(error, requests.ConnectionError):
        # requests has one class for both; urllib3's name inside tells them apart.
        away = re.search("NewConnectionError|NameResolutionError", repr(error))
        return f"{host} cannot be reached" if away else "the connection was cut"
    return type(error).__name__


def _hopeless(error: Exception) -> bool:
    """Return whether another attempt would fail the same way."""
    return isinstance(
        error,
        requests.exceptions.InvalidURL
        | requests.exceptions.InvalidSchema
        | requests.exceptions.SSLError
        | requests.exceptions.TooManyRedirects,
    )
