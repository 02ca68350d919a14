"""The product speaks of itself alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = (
    r"pypi\.org|pythonhosted|registry\.npmjs|deb\.debian\.org",
    r"/work/|/opt/|/root/",
    r"\bTODO\b|\bFIXME\b|\bXXX\b",
    r"(?i)\bhelper session|\bas an ai\b|\blanguage model\b|\bchatgpt\b|\bclaude\b|\banthropic\b",
)


def tracked() -> list[Path]:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: nothing says which files are the product")
    return [ROOT / line for line in done.stdout.splitlines()]


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_file_holds(pattern: str) -> None:
    hits = []
    for path in tracked():
        if path == Path(__file__) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        hits += [f"{path.name}: {match[0]}" for match in re.finditer(pattern, text)]
    assert not hits


def test_no_lock_file_with_addresses() -> None:
    assert not [path for path in tracked() if path.name in {"uv.lock", "package-lock.json"}]
