"""A comparison as text, Markdown, JSON or JUnit XML: the same rows on every surface."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from harness.analysis.verdicts import COMPAT_BAND
from harness.units import interval
from reports import REPORT
from reports.text.markup import ampersands, markdown, pipes, tex
from reports.text.plain import plain
from reports.text.verdicts import edges, headline, interval_text, ratio_text, seconds_text, why
from reports.views import beside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.judging.comparison import Comparison, ComparisonRow, CompatRow


HEADER = ("point", "metric", "baseline", "candidate", "ratio", "95 % interval", "verdict")
COMPAT_HEADER = (
    "log", "device", "ratio", f"verdict (compat: {interval(*COMPAT_BAND, str)})", "reason",
)  # fmt: skip
BAD = ("slower", "not comparable", "fail")


def _cells(row: ComparisonRow, limits: Sequence[float]) -> tuple[str, ...]:
    found = row.difference
    verdict = str(row.verdict)
    if found and found.further:
        verdict += f" ({why(row)})"
    elif reason := why(row):
        verdict += f": {reason}"
    times = [seconds_text(value) for value in (row.baseline_s, row.candidate_s)]
    return (
        plain(row.point), row.metric, *times,
        ratio_text(found.ratio if found else None, limits),
        interval_text(row), verdict,
    )  # fmt: skip


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def to_text(found: Comparison) -> str:
    """Return the rows as an aligned table under the headline."""
    table = aligned([HEADER, *(_cells(row, edges(found)) for row in found.rows)])
    return "\n".join([*headline(found), "", *table]) + "\n"


def to_markdown(found: Comparison) -> str:
    """Return a table for a pull request: what needs a look in the open, the rest folded."""

    def table(rows: Sequence[ComparisonRow]) -> list[str]:
        lines = [f"| {' | '.join(HEADER)} |", f"|{' --- |' * len(HEADER)}"]
        return lines + [pipes(_cells(row, edges(found))) for row in rows]

    same = [row for row in found.of("no difference") if not row.inaccurate]
    bad = [row for row in found.rows if row not in same]
    lines = [markdown(line) for line in headline(found)]
    lines = ["\n\n".join(lines), ""]
    if bad:
        lines += [*table(bad), ""]
    if same:
        lines += ["<details><summary>no difference</summary>", "", *table(same), "", "</details>"]
    return "\n".join(lines) + "\n"


def to_latex(found: Comparison) -> str:
    """Return a booktabs table under the headline as a comment; needs the booktabs package."""
    lines = [
        "% needs \\usepackage{booktabs}",
        *(f"% {tex(line)}" for line in headline(found)),
        "\\begin{tabular}{llrrrrl}",
        "\\toprule",
        ampersands(HEADER),
        "\\midrule",
        *(ampersands(_cells(row, edges(found))) for row in found.rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def to_json(found: Comparison) -> str:
    """Return the rows with exact values."""
    rows: list[dict[str, Any]] = []
    for row in found.rows:
        difference = row.difference
        finite = difference is not None and math.isfinite(difference.half_width)
        rows.append(
            {
                "point": row.point,
                "metric": row.metric,
                "baseline_s": row.baseline_s,
                "candidate_s": row.candidate_s,
                "ratio": difference.ratio if difference else None,
                "ci95": list(difference.interval) if difference and finite else None,
                "p_value": difference.p_value if difference else None,
                "verdict": str(row.verdict),
                "reason": row.reason,
                "accuracy_failed": row.inaccurate,
                "further_processes": difference.further if difference else None,
            }
        )
    document = {
        "delta": found.delta,
        "geometric_mean": found.geometric_mean,
        "worst": found.worst.point if found.worst else None,
        "new_points": list(found.new_points),
        "failed": list(found.failed),
        "accuracy_failed": list(found.inaccurate),
        "weights": list(found.labels),
        "interleaved": found.interleaved,
        "occasion_sd": None if found.interleaved else found.occasion_sd,
        "occasion_measured": found.occasion_measured,
        "under_test": list(found.under_test),
        "null_control": None if found.null_control is None else found.null_control.passed,
        "rows": rows,
    }
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _bad(row: ComparisonRow) -> bool:
    return row.verdict in BAD or "candidate" in (row.inaccurate or "")


def to_junit(found: Comparison) -> str:
    """Return JUnit XML: one case a figure, failed when slower, not comparable or inaccurate."""
    failures = [row for row in found.rows if _bad(row)]
    suite = ET.Element(
        "testsuite",
        name="harness compare",
        tests=str(len(found.rows)),
        failures=str(len(failures)),
        skipped=str(sum(not _bad(row) for row in found.of("unresolved"))),
    )
    for row in found.rows:
        case = ET.SubElement(suite, "testcase", classname=plain(row.point), name=row.metric)
        words = ", ".join(cell for cell in _cells(row, edges(found))[2:] if cell)
        if _bad(row):
            ET.SubElement(case, "failure", message=words)
        elif row.verdict == "unresolved":
            ET.SubElement(case, "skipped", message=words)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def to_html(found: Comparison) -> str:
    """Return one self-contained page."""
    return page(found)


def page(found: Comparison, sweep: str | None = None) -> str:
    """Return one self-contained page.

    Args:
        found: the comparison.
        sweep: address of the sweep's own page, where both sides were measured in one sweep.
    """
    from reports.pages.render import comparison_html  # noqa: PLC0415 - heavy

    return comparison_html(found, sweep)


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "text": to_text,
    "markdown": to_markdown,
    "latex": to_latex,
    "json": to_json,
    "junit": to_junit,
    "html": to_html,
}
"""The formats of `python -m harness compare`."""
FILES: dict[str, Callable[[Comparison], str]] = {
    beside.PAGE: partial(page, sweep=REPORT),
    "comparison.md": to_markdown,
    beside.DATA: to_json,
    "comparison.xml": to_junit,
}
"""What a sweep with a baseline leaves beside its results."""


def write(found: Comparison, folder: Path) -> list[Path]:
    """Write a comparison in every format for files; return the paths."""
    for name, form in FILES.items():
        (folder / name).write_text(form(found), encoding="utf-8")
    return [folder / name for name in FILES]


def compat_text(rows: Sequence[CompatRow]) -> str:
    """Return what the original's rule says, as an aligned table."""
    cells = [
        (
            plain(row.name),
            row.device,
            ratio_text(row.ratio, COMPAT_BAND),
            row.verdict,
            row.reason or "",
        )
        for row in rows
    ]
    return "\n".join(aligned([COMPAT_HEADER, *cells])) + "\n"
