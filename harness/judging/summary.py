"""A sweep's summary: a row for each point and stage, as summary.csv and summary.json hold it."""

from __future__ import annotations

import csv
import io
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import files, naming
from harness.analysis import metrics
from harness.analysis.metrics import CL, PERCENTILES
from harness.analysis.series import WHOLE
from harness.files import pretty
from harness.records.precision import precision_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


COLUMNS = (
    "point_id", "point", "varies", "status", "reason", "accuracy", "weights", "backend", "device",
    "quant", "effective", "bs", "il", "waveglow", "subject", "span", "items", "n", "processes",
    "mean_s", "mean_lo_s", "mean_hi_s", *(f"p{p}_s" for p in PERCENTILES), "max_s",
    "cl_n", *(f"cl{p}_s" for p in CL), "items_per_s", "items_per_s_lo", "items_per_s_hi",
    "items_padded_per_s", "requests_per_s", "rtf", "x_realtime", "grade", "trial_id",
)  # fmt: skip
"""The columns of summary.csv, and the keys of a row of summary.json."""


@dataclass(frozen=True)
class SummaryPart:
    """What one document adds to a summary, packed: a sweep of many points keeps them all."""

    trial_id: str
    table: bytes
    """Its lines of summary.csv."""
    rows: bytes
    """Its elements of `rows` in summary.json."""
    reasons: bytes
    """Its value under `not_shown` there: why the figures it lacks are not shown."""


def rows(document: Mapping[str, Any], varies: str = "") -> list[dict[str, Any]]:
    """Return the rows of a document: the whole and every stage; one without figures if none.

    Args:
        document: of a result.
        varies: what tells its point from the others of the sweep (`naming.varies_text`).
    """
    config, status = document["point"]["config"], document["status"]
    common = {
        "point_id": document["point"]["id"],
        "point": document["point"]["name"],
        "varies": varies,
        "status": status["state"],
        "reason": status["reason"],
        "accuracy": (document.get("accuracy") or {}).get("state"),
        "weights": document["weights"]["label"],
        "backend": config["backend"]["name"],
        "device": ",".join(config["devices"]),
        "quant": config["quant"],
        "effective": precision_text(document),
        "bs": config["bs"],
        "il": config["il"],
        "waveglow": config["waveglow"],
        "trial_id": document["trial_id"],
    }
    if not document["summary"]:
        return [dict.fromkeys(COLUMNS) | common]
    items = {one["name"]: document["items"][one["produces"]] for one in document["stages"]}
    items = {metrics.RESPONSE: "requests", WHOLE: [*items.values()][-1], **items}
    first = metrics.headline(document)
    subjects = dict.fromkeys([first, WHOLE, *(one["name"] for one in document["stages"])])
    return [
        dict.fromkeys(COLUMNS)
        | common
        | {"device": device, "subject": subject, "items": items[subject]}
        | {"span": _span(document, subject)}
        | _figures(one, subject)
        for device, one in by_device(document)
        for subject in subjects
    ]


def _span(document: Mapping[str, Any], subject: str) -> str:
    """Return which time a row holds."""
    if subject == metrics.RESPONSE:
        return "response: from due to done"
    return metrics.subject_words(document, subject) if subject == WHOLE else "stage"


def by_device(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (devices, document): all of them together, then, of several, each alone."""
    asked = document["point"]["config"]["devices"]
    yield ",".join(asked), document
    for device in asked if len(asked) > 1 else ():
        own = [one for one in document["processes"] if one["device"] == device]
        alone = {**document, "processes": own, "grade": {}}
        alone["summary"] = metrics.summarise(alone)
        if alone["summary"]:
            yield device, alone


def _figures(document: Mapping[str, Any], subject: str) -> dict[str, Any]:
    summary = document["summary"]
    mean, rate = summary[f"{subject}.mean"], summary.get(f"{subject}.items_per_s", {})
    times = ["mean", *(f"p{p}" for p in PERCENTILES), "max", *(f"cl{p}" for p in CL)]
    found = {f"{name}_s": summary[f"{subject}.{name}"]["estimate"] for name in times}
    for name in ("items_per_s", "items_padded_per_s", "requests_per_s", "rtf", "x_realtime"):
        found[name] = summary.get(f"{subject}.{name}", {}).get("estimate")
    found["mean_lo_s"], found["mean_hi_s"] = metrics.ends(mean)
    found["items_per_s_lo"], found["items_per_s_hi"] = metrics.ends(rate)
    found["n"], found["processes"] = mean["n"], mean["p_processes"]
    found["cl_n"] = summary[f"{subject}.cl{CL[-1]}"]["n"]
    found["grade"] = document["grade"].get(f"{subject}.mean", {}).get("letter")
    return found


def _reasons(document: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: record["reason"]
        for key, record in document["summary"].items()
        if not record["displayable"]
    }


def summary_part(document: Mapping[str, Any], varies: str = "") -> SummaryPart:
    """Return what one document adds to a sweep's summary, and nothing of its samples."""
    found, table = rows(document, varies), io.StringIO()
    csv.DictWriter(table, COLUMNS, lineterminator="\n").writerows(found)
    return SummaryPart(
        document["trial_id"],
        zlib.compress(table.getvalue().encode()),
        zlib.compress(pretty(found).strip()[1:-1]),
        zlib.compress(pretty(_reasons(document)).strip()),
    )


def summary_parts(documents: Sequence[Mapping[str, Any]]) -> list[SummaryPart]:
    """Return what all documents of a sweep add to its summary."""
    varies = naming.varies_text([one["point"] for one in documents])
    return [summary_part(one, said) for one, said in zip(documents, varies, strict=True)]


def write_summary(folder: Path, parts: Sequence[SummaryPart]) -> None:
    """Write summary.csv and summary.json of a sweep: the same rows, JSON with the reasons why."""
    table = b"".join([",".join(COLUMNS).encode(), b"\n", *(_text(one.table) for one in parts)])
    files.write_whole(folder / "summary.csv", table, replace=True)
    reasons = b", ".join(
        b'"%s": %s' % (one.trial_id.encode(), _text(one.reasons))
        for one in sorted(parts, key=lambda one: one.trial_id)
    )
    found = b", ".join(_text(one.rows) for one in parts)
    content = b'{"not_shown": {%s}, "rows": [%s]}\n' % (reasons, found)
    files.write_whole(folder / "summary.json", content, replace=True)


def _text(packed: bytes) -> bytes:
    return zlib.decompress(packed)
