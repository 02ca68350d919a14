"""Contestants in processes of their own: what they answer and refuse, and whose turn it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import turns, works
from benchmarks.child import Child, ChildError
from benchmarks.contestants import Contestant, chosen
from benchmarks.engines import Task
from benchmarks.turns import Judge, Seat
from tests.benchmarks.fakes import CPU_S, FATAL, HERE, WALL_S

if TYPE_CHECKING:
    from pathlib import Path


SETUP = works.Setup("tiny", text=8, frames=4)
WORK = replace(works.WORKS[works.STEP], block=2, warm=1)


def task(name: str = "fake", **options: Any) -> Task:
    one = Contestant(name, f"{HERE}:Fake", options=options)
    return Task(one, works.STEP, SETUP, 1, given=False, plan=None, cache="")


def seat(name: str, *, checked: bool = False, **options: Any) -> Seat:
    made = Seat(name, task(name, **options), linger_s=0.0)
    return replace(made, checked=made.task) if checked else made


def nothing(_: str, __: int) -> None:
    pass


def test_a_process_answers_and_leaves_standard_output_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Child(task(off=0.5)) as child:
        assert child.runtime == "fake 1.0"
        assert child.effective == {"decoder_iter": {"compute": "float32", "verified": True}}
        assert child.run(3, 5) == (3 * WALL_S, 3 * CPU_S)
        found = child.results(tmp_path / "results.npz")
        assert found["decoder_output"].tolist() == [1.5] * 3
        assert not list(tmp_path.iterdir())
        assert child.close() > 0
    assert capfd.readouterr().out == ""


def test_what_cannot_be_made_says_why_in_one_line() -> None:
    with pytest.raises(ChildError, match=r"^it is broken$"):
        Child(task(broken=True))


def test_a_failing_run_leaves_the_process_alive() -> None:
    with Child(task(after=1)) as child:
        with pytest.raises(ChildError, match="no more"):
            child.run()
        assert child.run() == (WALL_S, CPU_S)


def test_a_process_that_ends_is_told_with_its_status() -> None:
    with (
        Child(task(after=1, dies=True)) as child,
        pytest.raises(ChildError, match=f"its process ended, status {FATAL}"),
    ):
        child.run()


@pytest.mark.parametrize("alone", [False, True])
def test_everybody_runs_once_a_turn_and_who_fails_drops_out(tmp_path: Path, alone: bool) -> None:
    seats = [seat("contract"), seat("other", off=0.1), seat("dies", after=2, dies=True)]
    seats += [seat("broken", broken=True), Seat("absent", None, "not here")]
    judge = Judge("contract", tmp_path)
    how = turns.take(seats, replace(WORK, alone=alone), 3, nothing, judge)
    assert how == ("one at a time" if alone else "all at once")
    judge.settle(seats)
    contract, other, dies, broken, absent = seats
    for one in (contract, other):
        assert (one.wall_s, one.cpu_s, one.reason) == ([WALL_S] * 3, [CPU_S] * 3, None)
        assert one.resident_bytes
    assert contract.off == {"reason": "the reference"}
    assert other.off["value"] == pytest.approx(0.1)
    assert dies.reason == f"its process ended, status {FATAL}"
    assert broken.reason == "it is broken"
    assert absent.reason == "not here"


def test_another_is_first_in_each_turn() -> None:
    order: list[str] = []
    seats = [seat(name) for name in ("a", "b", "c")]

    def said(phase: str, _: int) -> None:
        if not phase.startswith("loading"):
            order.append(phase)

    turns.take(seats, WORK, 3, said)
    assert "".join(order) == "abcbcacab"


@pytest.mark.parametrize("alone", [False, True])
def test_an_interruption_leaves_whole_turns(alone: bool) -> None:
    seats = [seat(name) for name in ("a", "b")]

    def said(phase: str, turn: int) -> None:
        if (phase, turn) == ("a", 1):  # b comes first in the second turn, and has run
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        turns.take(seats, replace(WORK, alone=alone), 3, said)
    assert [one.wall_s for one in seats] == [[WALL_S], [WALL_S]]


def test_who_is_checked_apart_is_compared_with_the_reference(tmp_path: Path) -> None:
    seats = [seat("contract", checked=True), seat("off", checked=True, off=1.0), seat("unchecked")]
    seats.append(replace(seat("fails"), checked=task(after=1)))
    judge = Judge("contract", tmp_path)
    judge.look_at_all(seats)
    judge.settle(seats)
    assert [one.off for one in seats] == [
        {"reason": "the reference"},
        {"value": pytest.approx(1.0), "unit": ""},
        {},
        {"reason": "no more"},
    ]


def test_without_the_reference_there_is_no_comparison(tmp_path: Path) -> None:
    seats = [seat("contract", checked=True, broken=True), seat("other", checked=True)]
    judge = Judge("contract", tmp_path)
    judge.look_at_all(seats)
    judge.settle(seats)
    assert seats[1].off == {"reason": "the reference did not run"}


def test_contestants_are_chosen_by_a_part_of_their_name_and_the_base_always() -> None:
    found = [Contestant(name, "") for name in ("pytorch", "contract", "openvino a", "openvino b")]
    assert [one.name for one in chosen(found, ["openvino"])] == [
        "contract",
        "openvino a",
        "openvino b",
    ]
    assert chosen(found, None) == found
    with pytest.raises(ValueError, match="nobody is called tensorrt"):
        chosen(found, ["tensorrt"])
