"""Runs the benchmarks asked for and prints one Markdown table of ratios."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import (
    models,
    overhead,
    pages,
    profiles,
    sharing,
    sidebyside,
    startup,
    threads,
    works,
)
from harness.models.sizes import BY_NAME

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
    "sidebyside",
    "threads",
    "profiles",
    "sharing",
)
PAGES = (1, 100, 1_000)
"""Points of the sweeps whose report is rendered, each of 1,000 iterations."""


def main() -> None:
    """Measure what was named; print the tables."""
    parser = _parser()
    chosen = parser.parse_args()
    if chosen.again:
        try:
            print("\n".join(sidebyside.again(chosen.again, brief=chosen.brief)))
        except (OSError, ValueError) as error:
            parser.error(f"--from: {error}")
        return
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
        try:
            _take_turns(names, chosen, folder)
        except ValueError as error:
            parser.error(str(error))
        if "sharing" in names:
            sweep = chosen.sweep or sharing.run_seed_table(folder / "outputs")
            _say_share(sharing.share(sweep))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--sweep", type=Path, help="finished seed table to take the share from")
    side = parser.add_argument_group("sidebyside", "and, where it makes sense, threads")
    side.add_argument("--work", nargs="+", choices=works.WORKS, default=list(works.WORKS))
    side.add_argument("--batch", nargs="+", type=int, help="of step and tacotron2 (1 4 8)")
    side.add_argument("--only", nargs="+", metavar="NAME", help="who runs, by a part of the name")
    side.add_argument("--turns", type=int, help="how often each runs")
    side.add_argument("--frames", type=int, default=600, help="of waveglow (%(default)s)")
    side.add_argument(
        "--fresh-limits", action="store_true",
        help="measure the machine's limits even where a record of the last hour is kept",
    )  # fmt: skip
    side.add_argument("--model", choices=BY_NAME, default="full", help="tiny tries the command")
    side.add_argument("--out", type=Path, help="file for the table; raw seconds go beside it")
    side.add_argument(
        "--from", dest="again", nargs="+", type=Path, metavar="FILE",
        help="raw seconds to make the table from",
    )  # fmt: skip
    side.add_argument("--brief", action="store_true", help="of --from: a row for each contestant")
    return parser


def _take_turns(names: list[str], chosen: argparse.Namespace, folder: Path) -> None:
    setup = works.Setup(chosen.model, frames=chosen.frames)
    if "sidebyside" in names:
        place = folder / "sidebyside"
        place.mkdir()
        asked = sidebyside.Asked(setup, chosen.work, chosen.batch, chosen.turns, chosen.out)
        sidebyside.main(asked, chosen.only, place, fresh=chosen.fresh_limits)
    if "threads" in names:
        place = folder / "threads"
        place.mkdir()
        print("\n" + "\n".join(threads.lines(setup, place, chosen.turns)))
    if "profiles" in names:
        place = folder / "profiles"
        place.mkdir()
        print("\n" + "\n".join(profiles.lines(setup, place)))


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
        f"iterations that count, {one.iterating:.1%} in iterations of any kind (warm-up too), "
        f"{one.starting_s / one.wall_s:.1%} starting, compiling and loading"
    )


if __name__ == "__main__":
    main()
