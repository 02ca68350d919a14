"""`compare` and `verify` from outside: what they print, and how they leave."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from harness import commands
from harness.errors import ExitStatus, UsageError
from harness.records import identity
from tests.make_trials import LABEL, MS, make_process, make_trial, write_sweep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]


def trial(level: float = 1.0, *, count: int = 10, sd: float = 0.001, **more: Any) -> dict[str, Any]:
    """Return a trial whose process means lie evenly around 75 ms times `level`."""
    factors = np.exp(np.linspace(-1, 1, count) * sd) * level
    return make_trial(
        [make_process([int(75 * MS * f)] * 20, index=i) for i, f in enumerate(factors, 1)], **more
    )


@pytest.fixture
def sweep(tmp_path: Path) -> Any:
    made = iter(range(100))

    def write(*trials: dict[str, Any]) -> str:
        return str(write_sweep(tmp_path / f"sweep{next(made)}", trials))

    return write


def compare(*words: str) -> ExitStatus:
    return commands.run("compare", words)


def test_slower_is_a_regression(sweep: Any, capsys: Capture) -> None:
    assert compare(sweep(trial()), sweep(trial(1.08))) is ExitStatus.REGRESSION
    said = capsys.readouterr().out
    assert "slower" in said
    assert "1.08" in said
    assert LABEL in said


def test_faster_never_fails(sweep: Any, capsys: Capture) -> None:
    assert compare(sweep(trial()), sweep(trial(0.9))) is ExitStatus.FINE
    assert "faster" in capsys.readouterr().out


def test_unresolved_fails_only_when_asked(sweep: Any) -> None:
    base, new = sweep(trial()), sweep(trial(1.02))
    assert compare(base, new) is ExitStatus.FINE
    assert compare(base, new, "fail_on=unresolved") is ExitStatus.UNRESOLVED


def test_one_process_is_unresolved(sweep: Any, capsys: Capture) -> None:
    base, new = sweep(trial(count=1)), sweep(trial(2.0, count=1))
    assert compare(base, new, "fail_on=unresolved") is ExitStatus.UNRESOLVED
    assert "P = 1: measure more processes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"device": {"name": "another"}}}, "device"),
        ({"environment": {"before": {"cpu": {"model": "another"}}}}, "cpu.model"),
    ],
)
def test_other_hardware_is_not_comparable_unless_asked(
    change: dict[str, Any], said: str, sweep: Any, capsys: Capture
) -> None:
    base = trial()
    key, value = next(iter(change.items()))
    other = {**base[key], **value}
    if key == "environment":
        other["before"] = {**base[key]["before"], **value["before"]}
        other["before"]["cpu"] = {**base[key]["before"]["cpu"], **value["before"]["cpu"]}
    changes: dict[str, Any] = {key: other}
    folders = sweep(base), sweep(trial(**changes))
    assert compare(*folders) is ExitStatus.NOTHING_MEASURED
    assert f"differs in {said}" in capsys.readouterr().out
    assert compare(*folders, "across=hardware") is ExitStatus.FINE


def test_other_work_is_not_comparable(sweep: Any, capsys: Capture) -> None:
    other = make_trial([make_process([75 * MS] * 20, index=i, frames=500) for i in range(1, 11)])
    assert compare(sweep(trial()), sweep(other)) is ExitStatus.NOTHING_MEASURED
    assert "differs in work" in capsys.readouterr().out


def test_a_missing_point_is_not_passed_over(sweep: Any, capsys: Capture) -> None:
    base = sweep(trial(), trial(bs=4))
    assert compare(base, sweep(trial())) is ExitStatus.NOTHING_MEASURED
    assert "missing in the candidate" in capsys.readouterr().out


def test_a_failed_point_is_not_passed_over(sweep: Any, capsys: Capture) -> None:
    failed = make_trial([], state="failed", reason="ended by SIGSEGV")
    assert compare(sweep(trial()), sweep(failed)) is ExitStatus.NOTHING_MEASURED
    assert "ended by SIGSEGV" in capsys.readouterr().out


def test_a_point_only_the_candidate_has_is_named(sweep: Any, capsys: Capture) -> None:
    assert compare(sweep(trial()), sweep(trial(), trial(bs=8))) is ExitStatus.FINE
    assert "Only in the candidate: onnxruntime-force_float32-bs8" in capsys.readouterr().out


def test_json_has_exact_values(sweep: Any, capsys: Capture) -> None:
    compare(sweep(trial()), sweep(trial(1.08)), "format=json")
    found = json.loads(capsys.readouterr().out)
    whole = next(row for row in found["rows"] if row["metric"] == "latency")
    assert whole["verdict"] == "slower"
    assert whole["ratio"] == pytest.approx(1.08, rel=1e-6)
    assert whole["ci95"][0] < 1.08 < whole["ci95"][1]
    assert found["weights"] == [LABEL]


def test_junit_fails_what_is_slower(sweep: Any, capsys: Capture) -> None:
    compare(sweep(trial()), sweep(trial(1.08)), "format=junit")
    suite = ET.fromstring(capsys.readouterr().out)  # noqa: S314 - our own text
    failures = {case.get("name") for case in suite if case.find("failure") is not None}
    assert "latency" in failures
    assert suite.get("failures") == str(len(failures))


def test_markdown_folds_what_did_not_change(sweep: Any, capsys: Capture) -> None:
    compare(sweep(trial()), sweep(trial(1.08)), "format=markdown", "delta=0.04")
    said = capsys.readouterr().out
    assert "| point | metric |" in said
    assert said.index("slower") < said.index("<details>")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "a baseline and a candidate"),
        (("/nope", "/nope"), "neither a folder nor a saved baseline"),
        (("BASE", "BASE", "wibble=1"), "unknown key 'wibble'"),
        (("BASE", "BASE", "rule=best"), "possible: verdict, compat"),
        (("BASE", "BASE", "delta=2"), "delta=2"),
        (("BASE", "BASE", "delta=x"), "delta=x"),
        (("BASE", "EMPTY"), "holds no result file"),
    ],
)
def test_wrong_usage_is_one_line(
    words: Sequence[str], said: str, sweep: Any, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"BASE": sweep(trial()), "EMPTY": str(tmp_path / "empty")}
    with pytest.raises(UsageError, match=r"^[^\n]+$") as caught:
        compare(*(places.get(word, word) for word in words))
    assert said in str(caught.value)


LOG = "================dev[{device}]================\ntacotron2_items_per_sec average = {rate}\n"


def logs(tmp_path: Path, *texts: str) -> list[str]:
    paths = [tmp_path / f"log{place}" for place in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return [str(path) for path in paths]


@pytest.mark.parametrize(
    ("rate", "verdict", "status"),
    [(7892.7, "pass", 0), (7000.0, "fail", 3), (9000.0, "option", 0)],
)
def test_the_originals_rule_on_its_own_logs(
    rate: float, verdict: str, status: int, tmp_path: Path, capsys: Capture
) -> None:
    paths = logs(tmp_path, LOG.format(device=0, rate=7892.7), LOG.format(device=0, rate=rate))
    assert compare(*paths, "rule=compat") == status
    assert verdict in capsys.readouterr().out


def test_the_first_device_is_judged_too(tmp_path: Path) -> None:
    base = LOG.format(device=0, rate=100.0) + LOG.format(device=1, rate=100.0)
    new = LOG.format(device=0, rate=50.0) + LOG.format(device=1, rate=100.0)
    assert compare(*logs(tmp_path, base, new), "rule=compat") is ExitStatus.REGRESSION


def test_a_missing_field_fails_and_does_not_crash(tmp_path: Path, capsys: Capture) -> None:
    base = LOG.format(device=0, rate=100.0)
    new = base.replace("tacotron2_items_per_sec", "another")
    assert compare(*logs(tmp_path, base, new), "rule=compat") is ExitStatus.REGRESSION
    assert "no figure in the candidate" in capsys.readouterr().out


def test_the_originals_rule_on_two_sweeps(sweep: Any) -> None:
    assert compare(sweep(trial()), sweep(trial(1.2)), "rule=compat") is ExitStatus.REGRESSION
    assert compare(sweep(trial()), sweep(trial(1.01)), "rule=compat") is ExitStatus.FINE


def verify(folder: str) -> ExitStatus:
    return commands.run("verify", [folder])


def test_a_sound_sweep_is_verified(sweep: Any, capsys: Capture) -> None:
    folder = sweep(trial(), trial(bs=4, quant="force_float16"), make_trial(
        [], bs=8, state="skipped", reason="no kernels"
    ))  # fmt: skip
    assert verify(folder) is ExitStatus.FINE
    assert "3 result files checked, 0 problems" in capsys.readouterr().out


def forge(folder: str, change: Any) -> None:
    """Change a stored document and mend its hash, as somebody who wants to deceive would."""
    from pathlib import Path  # noqa: PLC0415 - only here

    (path,) = Path(folder).glob("points/*/*.json*")
    raw = path.read_bytes()
    document = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    change(document)
    document["content_sha256"] = identity.content_hash(document)
    path.unlink()
    path.with_name(path.name.removesuffix(".gz")).write_text(json.dumps(document))


def flattered(document: dict[str, Any]) -> None:
    document["summary"]["latency.mean"]["estimate"] *= 0.9


def silenced(document: dict[str, Any]) -> None:
    document["grade"]["latency.mean"] = {"letter": "A", "reasons": []}


def shortened(document: dict[str, Any]) -> None:
    document["processes"].pop()


@pytest.mark.parametrize(
    ("change", "said"),
    [(flattered, "summary.latency.mean.estimate"), (silenced, "grade.latency.mean"),
     (shortened, "summary.latency.mean")],
)  # fmt: skip
def test_a_summary_its_samples_do_not_give_is_found(
    change: Any, said: str, sweep: Any, capsys: Capture
) -> None:
    folder = sweep(trial(count=3))
    forge(folder, change)
    assert verify(folder) is ExitStatus.ERROR
    assert said in capsys.readouterr().out


def test_a_broken_schema_is_found(sweep: Any, capsys: Capture) -> None:
    folder = sweep(trial(count=3))
    forge(folder, lambda document: document.pop("weights"))
    assert verify(folder) is ExitStatus.ERROR
    assert "'weights' is a required property" in capsys.readouterr().out


FAILED = {
    "state": "failed", "reason": None,
    "figures": {"mel_db": {"value": 9.0, "limit": 1.0, "unit": "dB", "passed": False,
                           "would_pass": 9.0, "between_seeds": None}},
}  # fmt: skip


def test_a_faster_candidate_whose_accuracy_failed_is_no_gain(sweep: Any, capsys: Capture) -> None:
    base, new = sweep(trial()), sweep(trial(0.8, accuracy=FAILED))
    assert compare(base, new) is ExitStatus.ACCURACY_FAILED
    said = capsys.readouterr().out
    assert "faster" not in said
    name = "onnxruntime-force_float32-bs1-il128"
    assert f"Accuracy failed in the candidate: {name}." in said
    assert "accuracy failed in the candidate; less time for other outputs is no gain" in said
    assert "0.8000" in said  # its times are kept


def test_a_slower_candidate_whose_accuracy_failed_is_both(sweep: Any, capsys: Capture) -> None:
    """The gravest counts: accuracy before speed."""
    base, new = sweep(trial()), sweep(trial(1.2, accuracy=FAILED))
    assert compare(base, new) is ExitStatus.ACCURACY_FAILED
    assert "slower: accuracy failed in the candidate" in capsys.readouterr().out


def test_a_baseline_whose_accuracy_failed_is_named_and_fails_nothing(
    sweep: Any, capsys: Capture
) -> None:
    assert compare(sweep(trial(accuracy=FAILED)), sweep(trial(0.8))) is ExitStatus.FINE
    assert "faster: accuracy failed in the baseline" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["markdown", "json", "junit", "html"])
def test_every_format_says_that_accuracy_failed(form: str, sweep: Any, capsys: Capture) -> None:
    base, new = sweep(trial()), sweep(trial(accuracy=FAILED))
    assert compare(base, new, f"format={form}") is ExitStatus.ACCURACY_FAILED
    said = capsys.readouterr().out
    assert "accuracy_failed" in said if form == "json" else "accuracy failed" in said
    if form == "junit":
        suite = ET.fromstring(said)  # noqa: S314 - our own
        assert suite.get("failures") == suite.get("tests")


def test_the_originals_rule_does_not_pass_other_outputs(sweep: Any, capsys: Capture) -> None:
    base, new = sweep(trial()), sweep(trial(accuracy=FAILED))
    assert compare(base, new, "rule=compat") is ExitStatus.ACCURACY_FAILED
    assert "accuracy failed in the candidate: onnxruntime-" in capsys.readouterr().out
