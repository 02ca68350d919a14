"""One machine, one signature: its name does not count, what it is does (method, 18.9)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness import commands
from harness.errors import ExitStatus
from harness.machine import environment, signature
from harness.machine import host as fitness
from harness.planning import resume
from tests.make_trials import MS, make_process, make_trial, write_sweep

if TYPE_CHECKING:
    from pathlib import Path


COMMON = (
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat clflush mmx fxsr sse sse2 "
    "ht syscall nx lm pni pclmulqdq ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt aes xsave avx f16c "
    "rdrand hypervisor abm sse4a bmi1 avx2 bmi2 adx clflushopt clwb sha_ni vaes vpclmulqdq"
)
AVX512 = "avx512f avx512dq avx512ifma avx512cd avx512bw avx512vl avx512_bf16 avx512_vnni gfni"
KERNELS = ("", "tsc_known_freq nonstop_tsc_s3 ibpb_exit_to_user debug_swap", "ssbd ibrs pcid smep")


def x86(flags: str, *, number: int, stepping: int = 1, cpus: int = 2) -> str:
    """Return a /proc/cpuinfo as Linux writes it on an AMD server processor."""
    return "\n".join(
        f"processor\t: {cpu}\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: {number}\n"
        f"model name\t: AMD EPYC\nstepping\t: {stepping}\nmicrocode\t: 0xa0011{cpu}\n"
        f"cpu MHz\t\t: {2400 + cpu}.3\ncache size\t: 512 KB\nflags\t\t: {flags}\n"
        "bugs\t\t: spectre_v1\npower management:\n"
        for cpu in range(cpus)
    )


ARM = "\n".join(
    f"processor\t: {cpu}\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 "
    f"crc32 atomics asimddp sve i8mm bf16\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    f"CPU variant\t: 0x1\nCPU part\t: {part}\nCPU revision\t: 1\n"
    for cpu, part in enumerate(("0xd40", "0xd0b"))
)
GIB = 1 << 30
SIZE: dict[str, Any] = {"caches": ("L2 Unified 512K",), "logical": 2, "memory_bytes": 24 * GIB}
ZEN3 = signature.read(x86(COMMON, number=1), **SIZE)
ZEN4 = signature.read(x86(f"{COMMON} {AVX512}", number=17), **SIZE)


def test_two_generations_under_one_model_name_differ_in_what_they_are() -> None:
    assert ZEN3.model == ZEN4.model == "AMD EPYC"
    assert ZEN3.key != ZEN4.key
    said = [str(one) for one in signature.differences(ZEN3, ZEN4)]
    assert "cpu.number (1 -> 17)" in said
    assert any(
        one.startswith("cpu.vector_flags (none -> avx512_bf16 avx512_vnni avx512bw") for one in said
    )


@pytest.mark.parametrize("more", KERNELS)
def test_what_the_kernel_adds_to_the_flags_does_not_count(more: str) -> None:
    flags = " ".join(reversed(f"{COMMON} {more}".split()))
    assert signature.read(x86(flags, number=1), **SIZE).key == ZEN3.key


def test_memory_the_kernel_keeps_for_itself_does_not_count_and_a_module_more_does() -> None:
    for kept in (0.2, 0.45, 0.6, 0.9):
        size = {**SIZE, "memory_bytes": int((24 - kept) * GIB)}
        assert signature.read(x86(COMMON, number=1), **size).key == ZEN3.key
    other = {**SIZE, "memory_bytes": 32 * GIB}
    assert signature.read(x86(COMMON, number=1), **other).key != ZEN3.key


@pytest.mark.parametrize(
    "change",
    [
        {"caches": ("L2 Unified 1024K",)},
        {"logical": 4},
    ],
)
def test_every_size_counts(change: dict[str, Any]) -> None:
    assert signature.read(x86(COMMON, number=1), **{**SIZE, **change}).key != ZEN3.key


def test_stepping_and_guest_count() -> None:
    bare = COMMON.replace(" hypervisor", "")
    for text in (x86(COMMON, number=1, stepping=2), x86(bare, number=1)):
        assert signature.read(text, **SIZE).key != ZEN3.key


def test_an_arm_processor_with_two_kinds_of_cores() -> None:
    found = signature.read(ARM, **SIZE)
    assert (found.vendor, found.number) == ("0x41", "0xd0b + 0xd40")
    assert found.vector_flags == ("asimd", "asimddp", "sve")
    assert "atomics" in (found.instructions or ())
    assert "evtstrm" not in (found.instructions or ())
    assert found.hypervisor is None


@pytest.mark.parametrize("text", ["", "garbage", "a: b\n\n\n:::\nflags", "processor : 0\n"])
def test_what_the_system_does_not_say_is_unknown(text: str) -> None:
    found = signature.read(text, caches=None, logical=None, memory_bytes=None)
    assert found == signature.Signature()
    assert signature.differences(found, ZEN3) == []
    assert "cpu.vector_flags" in signature.unknown(found, ZEN3)


def test_a_record_is_read_back_as_it_was() -> None:
    record = json.loads(json.dumps(ZEN4.record()))
    assert signature.stored(record) == ZEN4
    assert record["key"] == ZEN4.key


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        "x",
        {},
        {"vendor": None},
        {"key": "0"},
        {"caches": [{}], "logical": "2", "model": 7},
    ],
)
def test_a_record_of_nothing_is_unknown(record: Any) -> None:
    assert signature.stored(record) == signature.Signature()


def use(monkeypatch: pytest.MonkeyPatch, machine: signature.Signature, host: str) -> None:
    monkeypatch.setattr(signature, "here", lambda: machine)
    monkeypatch.setattr("platform.node", lambda: host)


def test_host_facts_are_kept_by_machine_not_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    homes = set()
    for host in ("a", "b", "c", "d", "e", "f"):
        use(monkeypatch, ZEN3, host)
        homes.add(fitness.home())
    assert len(homes) == 1
    use(monkeypatch, ZEN4, "a")
    assert fitness.home() not in homes


def test_a_sweep_is_continued_on_its_machine_under_any_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, ZEN3, "a")
    was = json.loads(json.dumps(resume.conditions([])))
    use(monkeypatch, ZEN3, "b")
    assert resume.differences(was, resume.conditions([])) == []
    use(monkeypatch, ZEN4, "a")
    said = resume.differences(was, resume.conditions([]))
    assert "cpu.number: 1 -> 17" in said
    assert not any("host" in one for one in said)


def test_a_sweep_from_before_signatures_names_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, ZEN3, "a")
    was = {key: one for key, one in resume.conditions([]).items() if key != "machine"}
    (said,) = resume.differences({**was, "host": "a"}, resume.conditions([]))
    assert said == "machine: unknown (host a) -> AMD EPYC"


def sweep(folder: Path, before: dict[str, Any]) -> str:
    """Write a sweep measured on a machine with this record; return its folder."""
    processes = [make_process([75 * MS] * 20, index=index) for index in range(1, 11)]
    trial = make_trial(
        processes, environment={"before": before, "after": before, "changed": []}
    )  # fmt: skip
    return str(write_sweep(folder, [trial]))


def record(machine: signature.Signature) -> dict[str, Any]:
    return {
        "machine": machine.record(),
        "cpu": {"model": machine.model, "logical": machine.logical},
        "state": {},
    }


OLD = {
    "cpu": {
        "model": "AMD EPYC", "logical": 2, "family": "25", "stepping": "1",
        "caches": {"L2 Unified": "512K"}, "vector_flags": list(ZEN3.vector_flags or ()),
    },
    "memory": {"total_bytes": 24 * GIB - 1000},
    "confinement": {"hypervisor": "yes"},
    "state": {},
}  # fmt: skip


def test_other_machines_are_not_compared_and_both_values_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = sweep(tmp_path / "a", record(ZEN3)), sweep(tmp_path / "b", record(ZEN4))
    assert commands.run("compare", both) is ExitStatus.NOTHING_MEASURED
    assert "cpu.number (1 -> 17)" in capsys.readouterr().out
    assert commands.run("compare", [*both, "across=hardware"]) is ExitStatus.FINE
    assert "The machines differ: cpu.number (1 -> 17); cpu.vector_" in capsys.readouterr().out


@pytest.mark.parametrize("swapped", [False, True])
def test_a_file_from_before_signatures_is_compared_in_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, swapped: bool
) -> None:
    old = sweep(tmp_path / "old", OLD)
    for name, machine, status in (
        ("same", ZEN3, ExitStatus.FINE),
        ("other", ZEN4, ExitStatus.NOTHING_MEASURED),
    ):
        both = [old, sweep(tmp_path / name, record(machine))]
        assert commands.run("compare", both[:: -1 if swapped else 1]) is status
        said = capsys.readouterr().out
        assert "not compared: cpu.vendor, cpu.number, cpu.instructions." in said
        assert ("cpu.vector_flags (" in said) == (machine is ZEN4)


def test_every_result_holds_the_signature_of_its_machine() -> None:
    assert environment.collect()["machine"]["key"] == signature.here().key == fitness.host()
