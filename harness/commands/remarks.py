"""What limits the figures of a sweep, as the terminal says it: each kind once, with its points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.analysis.metrics import headline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.judging.findings import Finding


class Remarks:
    """Each kind of warning and of reason against a better grade once, with its points."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
        self._points = 0

    def add(self, document: Mapping[str, Any]) -> None:
        """Look at one document, and keep only what is said of it."""
        self._points += 1
        name = document["point"]["name"]
        for one in document["warnings"]:
            self._note(one["severity"], one["code"], one["advice"], (one["seen"], name))
        for one in document["grade"].get(f"{headline(document)}.mean", {}).get("reasons", ()):
            rank = f"no better than {one['letter']}"
            self._note(rank, one["code"], one["advice"], (one["text"], name))

    def note(self, finding: Finding, names: Sequence[str]) -> None:
        """Add what concerns several points together."""
        self._note(finding.severity, finding.code, finding.advice, (finding.seen, ", ".join(names)))

    def _note(self, rank: str, code: str, advice: str, said: tuple[str, str]) -> None:
        self._found.setdefault((rank, code, advice), []).append(said)

    def lines(self) -> Iterator[str]:
        """Yield the gravest first; of what differs from point to point, the first point's words."""
        for (rank, code, advice), said in sorted(self._found.items(), key=_gravity):
            del code
            yield f"{rank}: {said[0][0]}{self._where(said)} -> {advice}"

    def _where(self, said: Sequence[tuple[str, str]]) -> str:
        if self._points == 1:
            return ""
        alike = len({text for text, _ in said}) == 1
        if len(said) == self._points:
            return " (every point)" if alike else f" ({said[0][1]}; every point has the like)"
        more = len(said) - 1
        return f" ({said[0][1]}{f' and {more} more' if more else ''})"


GRAVEST_FIRST = ("error", "no better than F", "no better than D", "warning", "no better than C")


def _gravity(one: tuple[tuple[str, str, str], list[tuple[str, str]]]) -> tuple[int, str]:
    rank, code, _ = one[0]
    known = rank in GRAVEST_FIRST
    return (GRAVEST_FIRST.index(rank) if known else len(GRAVEST_FIRST)), code
