"""A result with everything that follows from its raw samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.analysis import compat, energy, metrics, outliers, steady, windows
from harness.analysis.series import Series
from harness.files import finite
from harness.judging import grades, roofline, warnings
from harness.method import Rules
from harness.records.identity import content_hash
from harness.records.result_file import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Note = Callable[[bytes], None]


def complete(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with everything that follows from its raw samples, and its hash."""
    done: dict[str, Any] = finite({"schema": SCHEMA, **document})
    done["processes"] = assessed(done["method"], done["processes"])
    done["summary"] = metrics.summarise(done)
    done["devices"] = windows.assess(Series(done))
    done["energy"] = energy.assess(Series(done))
    done["compat"] = compat.blocks(done)
    done["roofline"] = roofline.assess(done)
    done["warnings"] = warnings.warnings(done)
    done["grade"] = grades.grades(done)
    done = finite(done)
    done["content_sha256"] = content_hash(done)
    return done


def assessed(
    method: Mapping[str, Any], processes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the processes with where counting begins, what the series look like, and labels."""
    rules = Rules.of(method)
    closed = method.get("scenario", {}).get("kind", "single_stream") == "single_stream"
    # The compat profile drops what was asked for and nothing else; a schedule is kept whole.
    if method["profile"] != "compat" and closed:
        found = steady.assess(processes, method["warmup_iters"], rules)
        processes = [{**one, **more} for one, more in zip(processes, found, strict=True)]
    return [{**one, "labels": outliers.labels(one, rules)} for one in processes]
