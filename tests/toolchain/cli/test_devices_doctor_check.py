"""The commands devices, doctor and check, as a user runs them."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fednas.common import ExitCode
from fednas.profiles import load_profiles
from fednas.toolchain.cli import app
from fednas.toolchain.cli.output import WIDTH

SPACE = {
    "num_stages": 1,
    "max_extra_blocks_per_stage": 0,
    "original_stem_out_channels": 8,
    "original_stage_base_channels": [8],
    "initial_input_hw": 8,
    "initial_input_channels": 1,
    "stem_stride": 1,
    "stage_downsample_factors": [1],
    "channel_divisible_by": 8,
    "n_classes": 10,
    "width_multiplier_choices": [1.0],
    "expansion_ratio_choices": [1.0],
}


def run(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("name", ["", *load_profiles()])
def test_device_tables_fit_the_width(name: str) -> None:
    code, out, _ = run("devices", "show", name) if name else run("devices")
    assert code == ExitCode.OK
    assert max(map(len, out.splitlines())) <= WIDTH


def test_devices_lists_all_and_json_holds_every_fact() -> None:
    _, out, _ = run("devices")
    assert all(name in out for name in load_profiles())
    _, out, _ = run("devices", "--json")
    by_name = {device["name"]: device for device in json.loads(out)}
    assert by_name["jetson-nano"]["dram_gb_per_s"]["value"] == 25.6


def test_devices_show_tells_figures_with_evidence_and_source() -> None:
    _, out, _ = run("devices", "show", "jetson")
    assert "10.3 of JetPack 6.2" in out
    assert re.search(r"peak fp32 +1\.04 tera-MACs/s +derived +256 FLOP/clock/SM x 8 SM", out)
    _, out, _ = run("--json", "devices", "show", "jetson")
    assert json.loads(out)["tensorrt"]["strong_typing"] is True


def test_devices_show_of_an_unknown_name_is_one_line() -> None:
    code, out, err = run("devices", "show", "jetson-orin")
    assert (code, out) == (ExitCode.USER_ERROR, "")
    assert re.fullmatch(r"fednas-export: unknown device 'jetson-orin'; did you mean jetson-.*\n", err)


@pytest.mark.parametrize("words", [("devices", "--profiles", "P"), ("devices", "--profiles", "P", "show", "mine")])
def test_devices_reads_the_users_folder(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "mine.toml").write_text(
        'schema = 1\nfamily = "mine"\n[[device]]\nname = "mine"\ntitle = "Mine"\nprocessor = "cpu"\n'
        'runtime = "onnxruntime"\nruntime_version = "1.32"\nonnx_opset = 17\nprecisions = ["fp32"]\n'
    )
    code, out, _ = run(*(str(tmp_path) if word == "P" else word for word in words))
    assert code == ExitCode.OK
    assert "Mine" in out


def test_doctor_says_what_is_installed_and_possible() -> None:
    code, out, _ = run("doctor")
    assert code == ExitCode.OK
    assert max(map(len, out.splitlines())) <= WIDTH
    assert re.search(r"onnxruntime +always +>=1\.20 +\d", out)
    code, out, _ = run("doctor", "--json")
    found = json.loads(out)
    assert {device["device"] for device in found["devices"]} == set(load_profiles())
    cpu = next(device for device in found["devices"] if device["device"] == "cpu")
    assert (cpu["engine"], cpu["measure"]) == (None, True)


def budgets(folder: Path, *limits: str) -> Path:
    (folder / "space.json").write_text(json.dumps(SPACE))
    (folder / "arch.json").write_text('{"d": [0], "e": [1.0], "w_indices": [0, 0]}')
    entries = [
        f'[[budget]]\nname = "b{i}"\nspace = "space.json"\narchitecture = "arch.json"\ndevice = "jetson"\n{limit}\n'
        for i, limit in enumerate(limits)
    ]
    path = folder / "budgets.toml"
    path.write_text("\n".join(["schema = 1", *entries]))
    return path


MET, MISSED = 'max_macs = "1G"', 'max_macs = "1"'


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        pytest.param((MET,), ExitCode.OK, id="met"),
        pytest.param((MET, MISSED), ExitCode.BUDGET_MISSED, id="missed"),
        pytest.param((MET, "STRADDLE"), ExitCode.CANNOT_TELL, id="cannot tell"),
        pytest.param(("STRADDLE", MISSED), ExitCode.BUDGET_MISSED, id="missed before cannot tell"),
    ],
)
def test_check_exits_with_the_documented_codes(tmp_path: Path, limits: tuple[str, ...], code: ExitCode) -> None:
    path = budgets(tmp_path, 'max_latency = "10s"')
    _, out, _ = run("check", path, "--json")
    middle = f'max_latency = "{json.loads(out)["checks"][0]["value"]}ms"'  # lies inside its own interval
    path = budgets(tmp_path, *(middle if limit == "STRADDLE" else limit for limit in limits))
    found, out, _ = run("check", path)
    assert found == code
    assert max(map(len, out.splitlines())) <= WIDTH


def test_check_writes_reports_and_one_json_document(tmp_path: Path) -> None:
    junit, markdown = tmp_path / "junit.xml", tmp_path / "report.md"
    path = budgets(tmp_path, MISSED)
    code, out, err = run("--json", "check", path, "--junit", junit, "--markdown", markdown)
    assert code == ExitCode.BUDGET_MISSED
    assert json.loads(out)["verdict"] == "missed"
    assert json.loads(out)["checks"][0]["limit"] == 1
    assert junit.read_text().startswith("<?xml")
    assert markdown.read_text().startswith("## Budgets: missed")
    assert err == f"wrote {junit}\nwrote {markdown}\n"


def test_check_writes_no_report_for_a_file_that_does_not_hold(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    code, out, err = run("check", budgets(tmp_path, MET, 'max_macs = "5ms"'), "--junit", junit)
    assert (code, out) == (ExitCode.USER_ERROR, "")
    assert re.fullmatch(r"fednas-export: budgets file .*, budget 'b1': key max_macs is '5ms', .*\n", err)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["arch.json", "budgets.toml", "space.json"]


def test_check_says_when_a_report_cannot_be_written(tmp_path: Path) -> None:
    code, _, err = run("check", budgets(tmp_path, MET), "--junit", tmp_path / "absent" / "junit.xml")
    assert code == ExitCode.USER_ERROR
    assert re.search(r"folder .*absent does not exist", err)


def test_check_tables_fit_even_with_long_names(tmp_path: Path) -> None:
    path = budgets(tmp_path, MET, MISSED)
    path.write_text(path.read_text().replace('"b1"', '"' + "a very long name of a budget " * 4 + '"'))
    _, out, _ = run("check", path)
    assert max(map(len, out.splitlines())) <= WIDTH
