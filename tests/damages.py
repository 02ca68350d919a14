"""What can happen to a file that a test wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def number(path: Path) -> None:
    path.write_text("5")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("something")


def unreadable(path: Path) -> None:
    """Not even root can read a link to itself."""
    path.unlink()
    path.symlink_to(path.name)


def gone(path: Path) -> None:
    path.unlink()
