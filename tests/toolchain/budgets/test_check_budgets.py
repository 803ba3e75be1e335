"""Budgets against shipped folders and architectures, through the public door."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from shipped_figures import write_latency_table, write_shipped_folder

from fednas.common import FednasError
from fednas.toolchain.budgets import Check, check_budgets, junit_xml, markdown_text
from fednas.toolchain.space import SearchSpace, blocks_of, smallest_architecture


def check(folder: Path, limits: str, subject: str = 'folder = "cpu"', name: str = "b") -> dict[str, Check]:
    """The checks of one budget, by quantity."""
    report = check_budgets(write(folder, f'schema = 1\n[[budget]]\nname = "{name}"\n{subject}\n{limits}\n'))
    return {each.quantity: each for each in report.checks}


def write(folder: Path, text: str) -> Path:
    path = folder / "budgets.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("limits", "quantity", "verdict", "reason"),
    [
        # The folder's figures: measured 2.0 (1.9 to 2.2), predicted 2.1 (1.8 to 2.5), 97 of 100 right.
        pytest.param('max_latency = "2.2ms"', "latency", "met", "", id="whole interval below"),
        pytest.param(
            'max_latency = "2ms"',
            "latency",
            "cannot tell",
            "inside the interval (95% interval of the median of 200",
            id="straddles",
        ),
        pytest.param('max_latency = "1ms"', "latency", "missed", "2 times the limit", id="above"),
        pytest.param(
            'max_latency = "2.3ms"\nlatency = "predicted"', "latency", "cannot tell", "90% of networks", id="predicted"
        ),
        pytest.param("max_macs = 5000000", "macs", "met", "", id="equality passes"),
        pytest.param('max_macs = "4M"', "macs", "missed", "25 % above the limit", id="MACs"),
        pytest.param('max_params = "100k"', "params", "missed", "2 times the limit", id="params"),
        pytest.param('max_size = "61B"', "size", "met", "", id="size equal"),
        pytest.param('max_size = "60B"', "size", "missed", "1.67 % above", id="size"),
        # Wilson 95 % interval of 97 of 100: 91.55 % to 98.97 %.
        pytest.param('min_accuracy = "91%"', "accuracy", "met", "", id="accuracy"),
        pytest.param("min_accuracy = 0.95", "accuracy", "cannot tell", "95% interval of 100", id="accuracy straddles"),
        pytest.param('min_accuracy = "99%"', "accuracy", "missed", "2.02 % below the limit", id="not accurate"),
    ],
)
def test_each_quantity_of_a_folder(tmp_path: Path, limits: str, quantity: str, verdict: str, reason: str) -> None:
    write_shipped_folder(tmp_path)
    found = check(tmp_path, limits)[quantity]
    assert found.verdict == verdict
    assert reason in found.reason.replace("95 %", "95%")


@pytest.mark.parametrize(
    ("figures", "limits", "quantity", "reason"),
    [
        pytest.param(
            {"measured": None}, 'max_latency = "9s"', "latency", "no reading: not measured: this mach", id="measured"
        ),
        pytest.param(
            {"predicted": None},
            'max_latency = "9s"\nlatency = "predicted"',
            "latency",
            "no reading: the folder was exported without a latency prediction",
            id="predicted",
        ),
        pytest.param({"correct": None}, 'min_accuracy = "1%"', "accuracy", "no reading: accuracy was not", id="data"),
    ],
)
def test_a_missing_reading_is_missed_and_says_why(
    tmp_path: Path, figures: dict[str, None], limits: str, quantity: str, reason: str
) -> None:
    write_shipped_folder(tmp_path, **figures)
    found = check(tmp_path, limits)[quantity]
    assert (found.verdict, found.value) == ("missed", None)
    assert found.reason.startswith(reason)


def test_an_estimate_is_called_one(tmp_path: Path) -> None:
    write_shipped_folder(tmp_path, table_kind="estimate")
    assert check(tmp_path, 'max_latency = "9ms"\nlatency = "predicted"')["latency"].basis == "estimated"


def test_a_rejected_folder_fails_whatever_its_figures(tmp_path: Path) -> None:
    write_shipped_folder(tmp_path, status="rejected", reasons=("logits differ",))
    found = check(tmp_path, "max_macs = 5000000")
    assert found["macs"].verdict == "met"
    assert found["verification"].verdict == "missed"
    assert found["verification"].reason == "the export was rejected: logits differ"


def test_a_changed_model_file_fails(tmp_path: Path) -> None:
    (write_shipped_folder(tmp_path) / "model.fp32.onnx").write_bytes(b"another")
    found = check(tmp_path, 'max_size = "1kB"')
    assert found["verification"].reason.startswith("model.fp32.onnx is not the file that the manifest describes")


@pytest.mark.parametrize(
    ("spoil", "limits", "message"),
    [
        pytest.param(lambda f: (f / "manifest.json").unlink(), "", r"holds no manifest\.json", id="no manifest"),
        pytest.param(lambda f: (f / "model.fp32.onnx").unlink(), "", r"lacks model\.fp32\.onnx", id="no model"),
        pytest.param(lambda _f: None, 'precision = "int8"', r"no int8 model \(it holds fp32\)", id="precision"),
        pytest.param(lambda f: f.rename(f.parent / "gone"), "", r"cpu is not a folder", id="no folder"),
        pytest.param(
            lambda f: (f / "manifest.json").write_text(
                (f / "manifest.json").read_text().replace('"low_ms": 1.9', '"low_ms": 8.9')
            ),
            "",
            r"a latency of 2\.0 outside of its own interval 8\.9",
            id="impossible interval",
        ),
    ],
)
def test_a_folder_that_does_not_hold_is_one_line(
    tmp_path: Path, spoil: Callable[[Path], object], limits: str, message: str
) -> None:
    spoil(write_shipped_folder(tmp_path))
    with pytest.raises(FednasError, match=f"budget 'b': .*{message}"):
        check(tmp_path, f'max_latency = "9ms"\n{limits}')


@pytest.fixture
def space(tmp_path: Path) -> SearchSpace:
    """A tiny space and its smallest architecture, as space.json and arch.json."""
    space = SearchSpace(
        num_stages=1,
        max_extra_blocks_per_stage=1,
        original_stem_out_channels=8,
        original_stage_base_channels=(8,),
        initial_input_hw=8,
        initial_input_channels=1,
        stem_stride=1,
        stage_downsample_factors=(1,),
        channel_divisible_by=8,
        n_classes=10,
        width_multiplier_choices=(1.0,),
        expansion_ratio_choices=(1.0, 2.0),
    )
    (tmp_path / "space.json").write_text(space.to_json())
    (tmp_path / "arch.json").write_text(json.dumps(smallest_architecture(space).as_dict()))
    return space


PLANNED = 'space = "space.json"\narchitecture = "arch.json"'


def test_an_architecture_is_counted_exactly(space: SearchSpace, tmp_path: Path) -> None:
    macs = sum(block.macs for block in blocks_of(space, smallest_architecture(space)))
    # Stem 9 * 1 * 8, two convolutions of 9 * 8 * 8, head 8 * 10 + 10, and batch norms of 8 channels each.
    params = 72 + 2 * 576 + 90 + 3 * 16
    found = check(tmp_path, f"max_macs = {macs}\nmax_params = {params - 1}", PLANNED)
    assert (found["macs"].value, found["macs"].verdict) == (macs, "met")
    assert (found["params"].value, found["params"].verdict) == (params, "missed")
    assert "verification" not in found


def test_the_latency_of_an_unmeasured_device_is_an_estimate(space: SearchSpace, tmp_path: Path) -> None:
    found = check(tmp_path, 'max_latency = "10s"', f'{PLANNED}\ndevice = "jetson"')["latency"]
    assert (found.basis, found.verdict) == ("estimated", "met")
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.high


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [("3.7ms", "met"), ("3.6ms", "met"), ("3.5ms", "cannot tell"), ("2.5ms", "cannot tell"), ("2.4ms", "missed")],
)
def test_a_measured_table_predicts_with_its_interval(
    space: SearchSpace, tmp_path: Path, limit: str, verdict: str
) -> None:
    # Stem, one residual block and the head at 1 ms each: 3 ms, from 3 / 1.2 = 2.5 to 3 * 1.2 = 3.6.
    blocks = blocks_of(space, smallest_architecture(space))
    write_latency_table(tmp_path / "table.json", blocks, block_ms=1.0, factor=1.2)
    found = check(tmp_path, f'max_latency = "{limit}"', f'{PLANNED}\ntable = "table.json"')["latency"]
    assert (found.basis, found.verdict) == ("predicted", verdict)


def test_a_table_that_lacks_a_block_never_prices_it_as_nothing(space: SearchSpace, tmp_path: Path) -> None:
    blocks = blocks_of(space, smallest_architecture(space))
    write_latency_table(tmp_path / "table.json", blocks[:-1], block_ms=1.0, factor=1.2)
    with pytest.raises(FednasError, match=r"budget 'b': latency table .*lacks 1 block.*head-in8-out10"):
        check(tmp_path, 'max_latency = "1s"', f'{PLANNED}\ntable = "table.json"')


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        pytest.param(f'{PLANNED}\ndevice = "jetsn"', r"unknown device 'jetsn'; did you mean jetson", id="device"),
        pytest.param(f'{PLANNED}\ntable = "no.json"', r"latency table .*no\.json does not exist", id="table"),
        pytest.param(PLANNED.replace("arch.json", "x.json") + '\ndevice = "cpu"', r"x\.json does not exist", id="arch"),
        pytest.param(
            PLANNED.replace("space.json", "y.json") + '\ndevice = "cpu"', r"y\.json does not exist", id="space"
        ),
    ],
)
def test_an_architecture_that_does_not_hold_is_one_line(
    space: SearchSpace, tmp_path: Path, subject: str, message: str
) -> None:
    with pytest.raises(FednasError, match=f"budget 'b': .*{message}"):
        check(tmp_path, 'max_latency = "10s"', subject)


def report_of(tmp_path: Path, name: str = "main") -> Path:
    write_shipped_folder(tmp_path)
    text = f'schema = 1\n[[budget]]\nname = "{name}"\nfolder = "cpu"\n'
    return write(tmp_path, text + 'max_latency = "2ms"\nmax_macs = "1M"\nmax_params = "1M"\n')


def test_junit_holds_a_case_for_each_limit(tmp_path: Path) -> None:
    root = ET.fromstring(junit_xml(check_budgets(report_of(tmp_path))))  # noqa: S314
    (suite,) = root
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("main", "4", "2")
    cases = {case.get("name"): case for case in suite}
    assert list(cases) == ["verification not rejected", "latency at most 2ms", "macs at most 1M", "params at most 1M"]
    latency, macs = cases["latency at most 2ms"].find("failure"), cases["macs at most 1M"].find("failure")
    assert latency is not None
    assert macs is not None
    assert (latency.get("type"), macs.get("type")) == ("cannot-tell", "missed")
    assert cases["params at most 1M"].find("failure") is None


@pytest.mark.parametrize("name", ['a < b & \\"c\\"', "bell \\u0007 | pipe", "zeile\\numbruch"])
def test_reports_stay_well_formed_whatever_the_name(tmp_path: Path, name: str) -> None:
    report = check_budgets(report_of(tmp_path, name))
    ET.fromstring(junit_xml(report))  # noqa: S314
    rows = [line for line in markdown_text(report).splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(report.checks)
    assert {row.replace("\\|", "").count("|") for row in rows} == {8}


def test_markdown_begins_with_the_worst_verdict(tmp_path: Path) -> None:
    lines = markdown_text(check_budgets(report_of(tmp_path))).splitlines()
    assert lines[0] == "## Budgets: missed"
    assert lines[2] == "2 met, 1 missed, 1 cannot tell."


def test_check_works_without_torch_and_onnxruntime(tmp_path: Path, space: SearchSpace) -> None:
    write_shipped_folder(tmp_path)
    text = 'schema = 1\n[[budget]]\nname = "a"\nfolder = "cpu"\nmax_macs = "9M"\n'
    path = write(tmp_path, f'{text}[[budget]]\nname = "b"\n{PLANNED}\ndevice = "jetson"\nmax_latency = "9s"\n')
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'onnxruntime', 'onnx', 'scipy', 'sklearn']));"
        "from pathlib import Path; from fednas.toolchain.budgets import check_budgets;"
        f"print(check_budgets(Path({str(path)!r})).verdict)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "met\n"
