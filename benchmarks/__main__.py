"""Runs the benchmarks asked for and prints one Markdown table of ratios."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import forms, models, overhead, pages, sharing, startup, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.ratios import Ratio

HEADER = """\
| benchmark | what | ratio (95 % interval) | goal | median seconds, first / second | pairs |
|---|---|---|---|---|---|"""


def _row(found: Ratio) -> str:
    return (
        f"| {found.name} | {found.what} | {found.value:.4f} ({found.low:.4f} – {found.high:.4f}) | "
        f"{found.goal} | {found.first_s:.4g} / {found.second_s:.4g} | {found.pairs} |"
    )


def _ratios(names: list[str], folder: Path) -> list[Ratio]:
    runs: dict[str, Callable[[], Ratio]] = {
        "overhead-tiny": lambda: overhead.ratio("tiny", folder, il=128, count=1, pairs=1500),
        "overhead-full": lambda: overhead.ratio("full", folder, il=32, count=1, pairs=150),
        "startup": lambda: startup.ratio(folder, pairs=12),
        "models": lambda: models.ratio(folder, pairs=6),
    }
    return [run() for name, run in runs.items() if name in names]


NAMES = (
    "overhead-tiny",
    "overhead-full",
    "startup",
    "models",
    "points",
    "pages",
    "forms",
    "threads",
    "sharing",
)
PAGES = (1, 100, 1_000)
"""Points of the sweeps whose report is rendered, each of 1,000 iterations."""


def main() -> None:
    """Measure what was named; print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--sweep", type=Path, help="finished seed table to take the share from")
    parser.add_argument("--work", nargs="*", help=f"of forms: {', '.join(forms.WORKS)}")
    parser.add_argument("--turns", type=int, help="of forms: how often each runs")
    chosen = parser.parse_args()
    names = chosen.names or list(NAMES)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found = _ratios(names, folder)
        if found:
            print(HEADER)
            print("\n".join(_row(one) for one in found))
        if "points" in names:
            cost = startup.point_cost(folder, points=8)
            print(f"\npoints: {cost:.2f} s of wall time per fake point of three processes")
        if "pages" in names:
            print("\n" + "\n".join(map(_page_line, _renderings(folder))))
        if {"forms", "threads"} & set(names):
            _side_by_side(folder / "forms", names, chosen.work, chosen.turns)
        if "sharing" in names:
            sweep = chosen.sweep or sharing.run_seed_table(folder / "outputs")
            _say_share(sharing.share(sweep))


def _side_by_side(
    folder: Path, names: list[str], works: list[str] | None, turns: int | None
) -> None:
    folders = forms.prepare(folder)
    found = [forms.Form(name, place, {}) for name, place in folders.items()]
    base = next(form for form in found if form.name == forms.BASE)
    if "forms" in names:
        print(f"\n{forms.HEADER}")
        for name in works or forms.WORKS:
            for row in forms.measure(found, name, turns, base=base):
                print(row.line(), flush=True)
        if "exporter" not in folders:
            print("\nexporter: not measured, torch is not installed")
    if "threads" in names:
        print(f"\n{forms.HEADER}")
        for row in threads.rows(folders, ("fused", "int8"), turns):
            print(row.line(), flush=True)


def _renderings(folder: Path) -> Iterator[pages.Rendering]:
    for points in PAGES:
        sweep = pages.write(folder / f"pages-{points}", points=points, iterations=1_000)
        yield min((pages.render(sweep, points=points) for _ in range(3)), key=lambda r: r.wall_s)


def _page_line(one: pages.Rendering) -> str:
    return (
        f"pages: {one.points:,} points of 1,000 iterations in {one.wall_s:.2f} s, "
        f"{one.cpu_s:.2f} s of one core "
        f"({1e3 * one.wall_s / one.points:.1f} ms a point), {one.size_bytes / 1e6:.2f} MB "
        f"({one.size_bytes / one.points / 1e3:.1f} kB a point), peak {one.peak_bytes / 1e6:.0f} MB "
        f"(best of three)"
    )


def _say_share(one: sharing.Share) -> None:
    print(
        f"\nsharing: {one.points} points, {one.wall_s:.0f} s of wall time: {one.steady:.1%} in "
        f"iterations that count, {one.iterating:.1%} in iterations of any kind (warm-up and "
        f"verification too), {one.starting_s / one.wall_s:.1%} starting, compiling and loading"
    )


if __name__ == "__main__":
    main()
