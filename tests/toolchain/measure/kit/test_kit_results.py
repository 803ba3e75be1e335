"""What a kit brings home is read as a stranger's file."""

import copy
import gzip
import json
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from board_stand_ins import run, stand_in_onnxruntime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from results_changes import GPU, NO_STATE_CHANGES, STATE_CHANGES, Change, Document, changed, set_key

from fednas.common import FednasError
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.kit import read_kit, read_results
from fednas.toolchain.measure.kit.board.folder import board_digest
from fednas.toolchain.measure.kit.document import digest_of
from fednas.toolchain.measure.unfit import sitting_remarks


@pytest.fixture(scope="module")
def measured(kits: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The results of the small kit."""
    kit = kits["small"]
    done = run(kit, environment=stand_in_onnxruntime(tmp_path_factory.mktemp("installed")))
    assert (done.returncode, done.stderr) == (0, "")
    content = (kit / "results.json").read_bytes()
    for name in ("results.json", "readings.partial"):
        (kit / name).unlink()
    return content


def refusal(content: bytes, path: Path) -> str:
    path.write_bytes(content)
    with pytest.raises(FednasError) as caught:
        read_results(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_readings_come_home_as_they_were_taken(measured: bytes, tmp_path: Path, small_job: MeasuringJob) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(measured)
    collected = read_results(path, job=small_job)
    assert [list(reading) for reading in collected.readings] == json.loads(measured)["readings"]
    assert collected.job == small_job
    assert collected.runtime_version == "1.10.0"
    assert collected.before.numpy_version == "1.19.5"
    packed = tmp_path / "results.json.gz"
    packed.write_bytes(gzip.compress(measured))
    assert read_results(packed) == collected


def test_both_sides_make_the_same_digest(measured: bytes) -> None:
    document = json.loads(measured)
    assert board_digest(document, "sha256") == digest_of(document, without="sha256") == document["sha256"]
    assert board_digest(document["job"], "kit") == digest_of(document["job"], without="kit") == document["kit"]


ROW = {
    "source": "tegrastats",
    "group": 0,
    "elapsed_s": 0.1,
    "rails_w": {"VDD_IN": 4.654},
    "zones_c": {"cpu": 50.0},
    "cpu_mhz": 1510.0,
    "gpu_mhz": None,
    "gpu_load": 0.5,
    "memory_mhz": 2133.0,
    "memory_load": 0.01,
}


def test_rows_of_tegrastats_are_taken_and_count_for_the_heat(measured: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(changed(measured, set_key("power", to=[ROW, ROW | {"zones_c": {"tj": 151.5}}])))
    assert read_results(path).conditions.hottest_c == 151.5


def too_few_rounds(document: Document) -> None:
    document["least_rounds"] = document["job"]["least_rounds"] = 1


def drop_candidate(number: int) -> Change:
    return lambda d: d.update(readings=[r for r in d["readings"] if r[1] != number])


def slow_down(latency_ms: float) -> Change:
    return lambda d: d.update(readings=[[*r[:2], latency_ms, *r[3:]] for r in d["readings"]])


def keep_of_each_pass(count: int) -> Change:
    """Only the first readings of each candidate in each group."""

    def change(document: Document) -> None:
        kept: list[list[float]] = []
        for reading in document["readings"]:
            if sum(other[:2] == reading[:2] for other in kept) < count:
                kept.append(reading)
        document["readings"] = kept

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_key("readings", 3, 2, to=-1.0), r"hold an impossible time: -1.0 ms \(reading 4\)"),
        (set_key("readings", 3, 2, to=0), "hold an impossible time: 0.0 ms"),
        (set_key("readings", 3, 2, to=1e9), "hold an impossible time: 1000000000.0 ms"),
        (set_key("readings", 3, 3, to=-5.0), "hold an impossible time"),
        (slow_down(900.0), r"hold readings of \S+ s in a group that took \S+ s"),
        (set_key("readings", -1, 3, to=0.0), "hold an impossible time"),
        (set_key("readings", 3, 1, to=99), r"name a candidate or group that the job has not got \(reading 4\)"),
        (set_key("readings", 3, 1, to=-1), "name a candidate or group that the job has not got"),
        (set_key("readings", 3, 0, to=10**9), "name a candidate or group that the job has not got"),
        (set_key("readings", 3, 0, to=3), "lack the reference network in a group"),
        (set_key("readings", 3, 1, to=1.5), r"Expected int, got float \(key readings"),
        (set_key("readings", 3, to=[0, 1]), r"Expected array of length 5 \(key readings\[3\]\)"),
        (set_key("readings", to=[]), "lack a group of readings"),
        (set_key("power", to=[ROW | {"source": "hwmon"}]), r"Invalid enum value 'hwmon' \(key power\[0\].source\)"),
        (set_key("power", to=[ROW | {"rails_w": {"VDD_IN": -1.0}}]), r"Expected float >= 0.0 \(key power\[0\].rails_w"),
        (set_key("power", to=[ROW | {"rails_w": {"\x1b[2J": 1.0}}]), "Expected str matching regex .*rails_w"),
        (set_key("power", to=[ROW | {"rails_w": {f"R{n}": 1 for n in range(50)}}]), "Expected object of length <= 40"),
        (set_key("power", to=[ROW | {"gpu_load": 1.5}]), "Expected float <= 1.0"),
        (set_key("power", to=[ROW | {"rm": "-rf"}]), r"unknown key 'rm'"),
        (set_key("power", to=[ROW] * 5001), "Expected array of length <= 5000"),
        (set_key("power", to=[ROW | {"group": 99}]), r"hold power of a group that the job has not got \(row 1\)"),
        (set_key("samples", to=[[1.0]]), "hold samples of single runs, which onnxruntime does not tell"),
        (drop_candidate(2), "lack 1 of 7 candidates, candidate 2 for one"),
        (drop_candidate(0), "lack the reference network in a group"),
        (keep_of_each_pass(2), "hold only 6 readings of a candidate, of at least 9"),
        (lambda d: d.update(readings=d["readings"][:14]), "hold candidate 1 in 1 group, where 3 are due"),
        (set_key("least_rounds", to=1), "were taken in only 1 rounds"),
        (set_key("readings", 3, 2, to=1e-9), "hold an impossible time: 1e-09 ms"),
        (set_key("readings", -1, 3, to=1e12), "hold an impossible time"),
        (set_key("seconds", to=1e300), r"Expected float <= 1000000000.0 \(key seconds\)"),
        (set_key("least_rounds", to=True), "Expected int, got bool"),
        (set_key("runtime", to="tflite"), "were measured with 'tflite'; known are onnxruntime, tensorrt, trtexec"),
        (set_key("sittings", 0, "before", "gpu", to=GPU), "tell of a GPU, where onnxruntime measures the processor"),
        (set_key("runtime", to="../../etc"), "key runtime must be a name of small letters and digits"),
        (
            set_key("job", "device", to="../../etc/cron.d/x"),
            "key job.device must be a name of .*, such as jetson-orin-nano",
        ),
        (
            set_key("sittings", 0, "before", "cpu_model", to="\x1b[2Jowned"),
            r"Expected str matching regex .*sittings\[0\].before.cpu_model",
        ),
        (set_key("sittings", 0, "before", "cpu_model", to="x" * 10_000), "Expected str of length <= 300"),
        (set_key("sittings", 0, "before", "cores", to=0), r"Expected int >= 1 \(key sittings.*before.cores\)"),
        (set_key("sittings", 0, "before", "temperature_c", to=1e6), "Expected float <= 300"),
        (set_key("date", to="yesterday"), "key date must be a date and time in UTC, such as 2026-01-02T03:04:05"),
        (set_key("extra", to=1), "is of another version of this program: unknown key 'extra' .*; write the kit anew"),
        (set_key("sittings", 0, "before", "rm", to="-rf"), r"unknown key 'rm'.*before"),
        (set_key("job", "models", 0, "file", to="/etc/passwd"), "unknown key 'file'"),
        (lambda d: d.pop("date"), "is of another version of this program: missing key date; write the kit anew and"),
        (set_key("kit", to="0" * 64), "mix two kits: the job in them is not that of the kit that they name"),
        (set_key("schema", to=2), "has schema 2, newer than the 1 that this version reads; install the version"),
        (set_key("schema", to=0), "has schema 0, this version reads 1"),
        (set_key("schema", to="1"), "Expected int, got str"),
    ],
)
def test_edited_results_are_refused_though_their_digest_is_right(
    change: Change, message: str, measured: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(changed(measured, change))
    with pytest.raises(FednasError, match=message) as caught:
        read_results(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_key("job", "plan", "name", to="thorough"), "are of plan 'thorough', which this version does not know"),
        (set_key("job", "plan", "more", to=1), "its plan has keys that this version does not know"),
        (
            lambda d: d["job"]["plan"].pop("passes"),
            "was written by an earlier version: its plan does not say passes; write the kit anew and measure again",
        ),
        (
            lambda d: d["job"]["plan"]["blocks"][0].pop("stride"),
            "was written by an earlier version: its plan does not say stride; write the kit anew and measure again",
        ),
        (
            lambda d: d["job"]["plan"]["blocks"][0].pop("kind"),
            r"is of another version of this program: missing key kind \(key job.plan.blocks\[0\]\); write the kit anew",
        ),
        (set_key("job", "plan", "blocks", 0, "more", to=1), "its plan has keys that this version does not know"),
        (set_key("job", "plan", "blocks", 0, "in_channels", to=0), "impossible block|cannot have these fields"),
        (set_key("job", "plan", "blocks", 0, "in_channels", to=10**18), "holds a block of an impossible size"),
        (set_key("job", "candidates", to=[0]), "has 1 candidates, its plan 7"),
        (set_key("job", "candidates", 1, to=0), "its candidates do not name its 6 models, each at least once"),
        (too_few_rounds, "were taken in only 1 rounds"),
        (set_key("job", "threads", to=0), r"Expected int >= 1 \(key job.threads\)"),
    ],
)
def test_an_edited_job_is_refused_though_its_digest_is_right(
    change: Change, message: str, measured: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(changed(measured, change, job_too=True))
    with pytest.raises(FednasError, match=message):
        read_results(path)


def again(**changes: Any) -> Change:
    """A second sitting, with the board's state before it changed."""

    def change(document: Document) -> None:
        second = copy.deepcopy(document["sittings"][0])
        second["before"].update(changes)
        document["sittings"].append(second)

    return change


def test_every_sitting_is_judged(measured: bytes, tmp_path: Path) -> None:
    """A quiet sitting that follows does not make good for readings that were taken in a crowd."""
    path = tmp_path / "results.json"

    def crowded(document: Document) -> None:
        again()(document)
        for sitting, cores in zip(document["sittings"], (99.0, 0.0), strict=True):
            sitting["around"]["others_cores"] = cores
        document["sittings"][0]["after"] = None

    path.write_bytes(changed(measured, crowded))
    collected = read_results(path)
    assert [sitting.number for sitting in collected.sittings] == [1, 2]
    assert collected.conditions.usage.others_cores == 99.0
    (remark,) = (remark for remark in sitting_remarks(collected) if "other programs" in remark)
    assert remark.startswith("in sitting 1, other programs kept 99.0 of its")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"power_mode": "15W"}, "power mode was not readable, then 15W"),
        ({"governor": "powersave"}, "governor was .*, then powersave"),
        ({"cpu_model": "another"}, "cpu model was .*, then another"),
    ],
)
def test_sittings_on_different_states_of_a_board_are_no_one_run(
    changes: dict[str, str], message: str, measured: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(changed(measured, again(**changes)))
    with pytest.raises(FednasError, match=rf"mix sittings of different boards or settings: {message} \(sitting 2\)"):
        read_results(path)


@pytest.mark.parametrize("change", STATE_CHANGES, ids=str)
def test_what_ends_a_run_on_the_board_is_refused_here(change: dict[str, Any], measured: bytes, tmp_path: Path) -> None:
    (name,) = change
    said = refusal(changed(measured, again(**change)), tmp_path / "results.json")
    assert f"mix sittings of different boards or settings: {name.replace('_', ' ')} was " in said


@pytest.mark.parametrize("change", NO_STATE_CHANGES, ids=str)
def test_what_the_board_goes_on_after_is_taken_here(change: dict[str, Any], measured: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(changed(measured, again(**change)))
    assert len(read_results(path).sittings) == 2


def test_two_terabytes_of_memory_are_believed(measured: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(changed(measured, set_key("sittings", 0, "before", "memory_bytes", to=2 * 2**40)))
    assert read_results(path).before.memory_bytes == 2 * 2**40


@pytest.mark.parametrize(("said", "version"), [("on", "1.10.0"), ("off for some", "1.10.0 (CUDA graph off for some)")])
def test_runs_without_a_cuda_graph_show_in_the_version(
    said: str, version: str, measured: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(changed(measured, set_key("settings", "cuda graph", to=said)))
    assert read_results(path).runtime_version == version


def test_edits_without_a_new_digest_are_seen(measured: bytes, tmp_path: Path) -> None:
    edited = json.loads(measured)
    edited["readings"][5][2] *= 0.9
    assert "were edited or damaged: their content does not have the digest" in refusal(
        json.dumps(edited).encode(), tmp_path / "r.json"
    )
    changed_job = changed(measured, set_key("job", "seed", to=1))
    assert "key job was edited or damaged" in refusal(changed_job, tmp_path / "r.json")


def test_results_of_another_kit_or_job_are_refused(
    measured: bytes, tmp_path: Path, kits: dict[str, Path], small_job: MeasuringJob
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(measured)
    assert read_results(path, kit=read_kit(kits["small"]))
    with pytest.raises(FednasError, match=r"belong to kit \w{12}, not to \w{12}; name the kit that was measured"):
        read_results(path, kit=read_kit(kits["tensorrt"]))
    with pytest.raises(FednasError, match="belong to another job: another space"):
        read_results(path, job=replace(small_job, batch=8))
    assert read_results(path, job=replace(small_job, seconds=99.0))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_cut_off_files_are_said_to_be(share: float, measured: bytes, tmp_path: Path) -> None:
    content = measured[: int(share * len(measured))]
    wanted = "is empty" if not content else "is cut off"
    assert wanted in refusal(content, tmp_path / "results.json")
    packed = gzip.compress(measured)
    assert "is damaged: " in refusal(packed[: max(20, int(share * len(packed)))], tmp_path / "results.json")


@pytest.mark.parametrize("end", [b"0.", b"-", b"tr", b'"a', b"1e"])
def test_a_file_that_ends_inside_a_value_is_cut_off_too(end: bytes, measured: bytes, tmp_path: Path) -> None:
    cut = measured[: measured.index(b'"readings"')] + b'"readings":[[0,3,' + end
    assert "is cut off" in refusal(cut, tmp_path / "results.json")


def test_size_is_limited_before_reading_and_while_unpacking(
    measured: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.kit.results.LARGEST_RESULTS", len(measured) - 1)
    assert "is larger than " in refusal(measured, tmp_path / "results.json")
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(bomb.compress(b"[" * 2**20) for _ in range(8)) + bomb.flush()
    assert len(packed) < len(measured)
    assert "unpacks to more than " in refusal(packed, tmp_path / "results.json")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"schema":' + b"[" * 100_000,
        b'{"schema": 1, "readings": NaN}',
        b'{"schema": 1e999}',
        b'{"schema": 1, "seconds": Infinity}',
        b"\xff\xfe\x00",
        b"\x1f\x8b",
        b'{"schema": 1, "seconds": ' + b"1" * 5000 + b"}",
        b"null",
        b"[]",
        b'"../../etc/passwd"',
    ],
)
def test_malice_is_one_line(content: bytes, tmp_path: Path) -> None:
    refusal(content, tmp_path / "results.json")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FednasError, match="does not exist"):
        read_results(tmp_path / "none")
    with pytest.raises(FednasError, match="is not a regular file"):
        read_results(tmp_path)
    with pytest.raises(FednasError, match="is not a regular file"):
        read_results(Path("/dev/zero"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_change_of_any_value_gets_past_the_checks_as_anything_but_a_refusal(
    data: st.DataObject, measured: bytes, tmp_path: Path
) -> None:
    document = json.loads(measured)
    place: Any = document
    while isinstance(place, dict | list) and place:
        container = place
        key = data.draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
        place = place[key]
    container[key] = data.draw(
        st.one_of(st.none(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5), st.just([]), st.just({}))
    )
    document["sha256"] = "0" * 64
    text = json.dumps(document)
    if "NaN" not in text and "Infinity" not in text:
        document["sha256"] = digest_of(document, without="sha256")
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document))
    with suppress(FednasError):
        assert all(reading.latency_ms > 0 for reading in read_results(path).readings)
