"""Downloads from a real server on this machine that does everything servers do wrong."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from harness.commands.download import PIECE_BYTES, Fetcher
from harness.config.download import Download, Fetch
from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves one file; `plan` holds what each request meets, the last entry staying."""

    def __init__(self) -> None:
        self.plan: list[Callable[[Any], None]] = [whole()]
        self.asked: list[dict[str, str]] = []
        self.tag: str | None = '"v1"'
        self.content = CONTENT
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(dict(self.headers.items()))
                step = outer.plan.pop(0) if len(outer.plan) > 1 else outer.plan[0]
                step(self)

            def log_message(self, *_: Any) -> None:
                pass

            @property
            def outer(self) -> Server:
                return outer

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/models/file.pt"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def whole(*, cut: int | None = None, ranges: bool = True, shift: int = 0) -> Callable[[Any], None]:
    """Answer with the file, or the part asked for; cut the connection after `cut` bytes."""

    def answer(handler: Any) -> None:
        server, body, first = handler.outer, handler.outer.content, 0
        asked = handler.headers.get("Range")
        if asked and ranges and handler.headers.get("If-Range") == server.tag:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
            if first >= len(body):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(body)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            last = len(body) - 1
            handler.send_header("Content-Range", f"bytes {first + shift}-{last}/{len(body)}")
        else:
            handler.send_response(200)
        if server.tag:
            handler.send_header("ETag", server.tag)
        handler.send_header("Content-Length", str(len(body) - first))
        handler.end_headers()
        handler.wfile.write(body[first : len(body) if cut is None else first + cut])
        handler.close_connection = True

    return answer


def status(code: int) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


class Case:
    """A fetcher that records what it says and waits no time."""

    def __init__(self, folder: Path, server: Server, **settings: Any) -> None:
        self.folder, self.said, self.waits = folder / "models", [], []
        self.shown: list[tuple[str, int, int | None]] = []
        file = {key: settings.pop(key) for key in ("sha256", "bytes") if key in settings}
        self.file = Download(url=server.url, **file)
        fetch = Fetch(self.file, self.file, **settings)
        self.fetcher = Fetcher(
            self.folder, fetch, self.said.append, lambda *one: self.shown.append(one),
            sleep=self.waits.append,
        )  # fmt: skip

    said: list[str]
    waits: list[float]

    def fetch(self) -> bytes:
        path = self.fetcher.fetch(self.file)
        assert [one.name for one in self.folder.iterdir()] == ["file.pt"]
        return path.read_bytes()

    def refused(self) -> str:
        with pytest.raises(HarnessError) as caught:
            self.fetcher.fetch(self.file)
        assert "\n" not in str(caught.value)
        assert not (self.folder / "file.pt").exists()
        return str(caught.value)


def test_a_file_arrives_whole_and_its_progress_is_told(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, sha256=DIGEST.upper(), bytes=len(CONTENT))
    assert case.fetch() == CONTENT
    assert case.shown[-1] == ("file.pt", len(CONTENT), len(CONTENT))
    assert [have for _, have, _ in case.shown] == sorted(have for _, have, _ in case.shown)


def test_a_file_that_is_there_is_not_asked_for_again(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, sha256=DIGEST)
    case.fetch()
    case.fetch()
    assert len(server.asked) == 1
    assert "is there already" in case.said[-1]


def test_a_cut_connection_goes_on_where_it_was_cut(tmp_path: Path, server: Server) -> None:
    server.plan = [whole(cut=4 * PIECE_BYTES), whole(cut=5 * PIECE_BYTES + 9), whole()]
    case = Case(tmp_path, server, sha256=DIGEST)
    assert case.fetch() == CONTENT
    ranges = [one.get("Range") for one in server.asked]
    assert ranges == [None, f"bytes={4 * PIECE_BYTES}-", f"bytes={9 * PIECE_BYTES}-"]
    assert case.waits == [1.0, 2.0]
    assert "the connection was cut; again in 1 s" in case.said[0]


def test_a_later_command_goes_on_where_the_first_gave_up(tmp_path: Path, server: Server) -> None:
    server.plan = [whole(cut=2 * PIECE_BYTES)]
    text = Case(tmp_path, server, attempts=1).refused()
    assert f"{2 * PIECE_BYTES:,} bytes are kept and the same command goes on from there" in text
    server.plan = [whole()]
    assert Case(tmp_path, server).fetch() == CONTENT
    assert server.asked[-1]["Range"] == f"bytes={2 * PIECE_BYTES}-"


def test_a_file_changed_on_the_server_is_not_joined_to_the_old(
    tmp_path: Path, server: Server
) -> None:
    server.plan = [whole(cut=700_000)]
    Case(tmp_path, server, attempts=1).refused()
    server.plan, server.tag, server.content = [whole()], '"v2"', CONTENT[::-1]
    assert Case(tmp_path, server).fetch() == CONTENT[::-1]


def test_a_server_that_ignores_ranges_sends_all_again(tmp_path: Path, server: Server) -> None:
    server.plan = [whole(cut=300_000), whole(ranges=False)]
    assert Case(tmp_path, server, sha256=DIGEST).fetch() == CONTENT


@pytest.mark.parametrize("tag", [None, 'W/"v1"'])
def test_without_a_strong_validator_nothing_is_joined(
    tag: str | None, tmp_path: Path, server: Server
) -> None:
    server.tag, server.plan = tag, [whole(cut=300_000), whole()]
    assert Case(tmp_path, server, sha256=DIGEST).fetch() == CONTENT
    assert "Range" not in server.asked[-1]


def test_another_part_than_the_one_asked_for_is_not_used(tmp_path: Path, server: Server) -> None:
    server.plan = [whole(cut=300_000), whole(shift=5), whole()]
    case = Case(tmp_path, server, sha256=DIGEST)
    assert case.fetch() == CONTENT
    assert "another part" in case.said[-1]


def test_a_part_that_is_whole_already_is_taken(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, sha256=DIGEST)
    case.folder.mkdir()
    (case.folder / "file.pt.partial").write_bytes(CONTENT)
    (case.folder / "file.pt.partial.json").write_text(
        f'{{"url": "{server.url}", "validator": "\\"v1\\""}}'
    )
    assert case.fetch() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, sha256=DIGEST)
    case.folder.mkdir()
    (case.folder / "file.pt.partial").write_bytes(CONTENT + b"more")
    (case.folder / "file.pt.partial.json").write_text(
        f'{{"url": "{server.url}", "validator": "\\"v1\\""}}'
    )
    assert case.fetch() == CONTENT


@pytest.mark.parametrize("note", ["", "no json", "[]", '{"url": "http://other/file.pt"}'])
def test_a_part_of_unknown_origin_is_not_built_on(
    note: str, tmp_path: Path, server: Server
) -> None:
    case = Case(tmp_path, server, sha256=DIGEST)
    case.folder.mkdir()
    (case.folder / "file.pt.partial").write_bytes(b"something else")
    (case.folder / "file.pt.partial.json").write_text(note)
    assert case.fetch() == CONTENT


def test_a_missing_file_is_said_at_once(tmp_path: Path, server: Server) -> None:
    server.plan = [status(404)]
    case = Case(tmp_path, server)
    text = case.refused()
    assert "404 Not Found" in text
    assert "conf/fetch.yaml" in text
    assert case.waits == []


def test_a_failing_server_is_asked_again_and_then_given_up(tmp_path: Path, server: Server) -> None:
    server.plan = [status(500), status(503), whole()]
    case = Case(tmp_path, server)
    assert case.fetch() == CONTENT
    assert "the server answered 500" in case.said[0]
    server.plan = [status(500)]
    other = Case(tmp_path / "other", server, attempts=4, backoff_s=40)
    assert "the server answered 500 Internal Server Error after 4 attempts" in other.refused()
    assert other.waits == [40, 60, 60]


def test_a_wrong_hash_is_named_and_nothing_stays(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, sha256="0" * 64)
    text = case.refused()
    assert f"its SHA-256 is {DIGEST}, expected {'0' * 64}" in text
    assert list(case.folder.iterdir()) == []


def test_a_wrong_size_is_named(tmp_path: Path, server: Server) -> None:
    text = Case(tmp_path, server, bytes=7).refused()
    assert f"{len(CONTENT):,} bytes, expected 7" in text


def test_a_wrong_file_that_was_there_is_left_alone(tmp_path: Path, server: Server) -> None:
    case = Case(tmp_path, server, sha256=DIGEST)
    case.folder.mkdir()
    (case.folder / "file.pt").write_bytes(b"mine")
    with pytest.raises(HarnessError, match="move it away to download it again"):
        case.fetcher.fetch(case.file)
    assert (case.folder / "file.pt").read_bytes() == b"mine"
    assert server.asked == []


def test_without_a_network_the_way_by_hand_is_shown(tmp_path: Path, server: Server) -> None:
    url = server.url
    server.close()
    case = Case(tmp_path, server, attempts=2)
    text = case.refused()
    assert "127.0.0.1 cannot be reached after 2 attempts" in text
    assert f"if this machine is offline, download it elsewhere and copy it to {case.folder}" in text
    assert url in text


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, server: Server) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(HarnessError, match="cannot be written"):
        Case(tmp_path, server).fetcher.fetch(Download(url=server.url))


def harness(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", "fetch", *words],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_downloads_from_configured_addresses(tmp_path: Path, server: Server) -> None:
    done = harness(
        f"tacotron2.url={server.url}", f"waveglow.url={server.url}2", f"waveglow.sha256={DIGEST}",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["models/file.pt", "models/file.pt2"]
    assert (tmp_path / "models/file.pt2").read_bytes() == CONTENT
    assert "of 1.0 MB  [##" in done.stderr


def test_the_command_fails_in_one_line(tmp_path: Path, server: Server) -> None:
    server.plan = [status(404)]
    done = harness(f"tacotron2.url={server.url}", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("retries=3", "retries"),
        ("attempts=0", "attempts=0: must be at least 1"),
        ("attempts=often", "often"),
        ("waveglow.url=ftp://host/file", "an http or https address"),
        ("waveglow.sha256=12", "64 hexadecimal digits"),
        ("file=vocoder", "possible: both, tacotron2, waveglow"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_is_asked(
    word: str, said: str, tmp_path: Path
) -> None:
    done = harness(word, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
