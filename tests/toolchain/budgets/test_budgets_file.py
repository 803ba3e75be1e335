"""The budgets file: what is read, and what is said about files that do not hold."""

from pathlib import Path

import pytest

from fednas.common import FednasError
from fednas.toolchain.budgets import load_budgets
from fednas.toolchain.budgets.file import ArchitectureSubject, FolderSubject
from fednas.toolchain.embedded import embedded_space_path

FOLDER = """
schema = 1

[[budget]]
name = "shipped"
folder = "out/cpu"
max_latency = "5ms"
max_size = "2MiB"
max_macs = 50000000
max_params = "1M"
min_accuracy = 0.95
"""
ARCHITECTURE = """
schema = 1

[[budget]]
name = "planned"
space = "space.json"
architecture = "arch.json"
device = "jetson"
max_latency = "5ms"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "budgets.toml"
    path.write_text(text)
    return path


def test_a_folder_budget_is_read(tmp_path: Path) -> None:
    (budget,) = load_budgets(write(tmp_path, FOLDER))
    assert budget.subject == FolderSubject(tmp_path / "out" / "cpu")
    assert (budget.precision, budget.latency) == ("fp32", "measured")
    values = {limit.quantity.name: limit.value for limit in budget.limits}
    assert values == {"latency": 5.0, "size": 2 * 2**20, "macs": 50_000_000, "params": 1_000_000, "accuracy": 0.95}


def test_the_embedded_space_is_the_default(tmp_path: Path) -> None:
    (budget,) = load_budgets(write(tmp_path, ARCHITECTURE.replace('space = "space.json"\n', "")))
    assert isinstance(budget.subject, ArchitectureSubject)
    assert budget.subject.space == embedded_space_path()


def test_an_architecture_budget_is_read(tmp_path: Path) -> None:
    (budget,) = load_budgets(write(tmp_path, ARCHITECTURE))
    space, architecture = tmp_path / "space.json", tmp_path / "arch.json"
    assert budget.subject == ArchitectureSubject(space, architecture, "jetson", None)
    assert budget.latency == "predicted"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param('"5ms"', '"5"', r"key max_latency is '5'.*units us, ms, s; write it like 5ms", id="no unit"),
        pytest.param('"5ms"', '"5MB"', r"key max_latency is '5MB'", id="wrong unit"),
        pytest.param('"5ms"', '"-5ms"', r"key max_latency is '-5ms', but it must be above zero", id="negative"),
        pytest.param('"5ms"', "5", r"Expected str \| null, got int \(key max_latency\)", id="bare number"),
        pytest.param('"1M"', '"1MB"', r"key max_params is '1MB'", id="size for a count"),
        pytest.param("0.95", "95", r"key min_accuracy is '95.0', more than 1; .*97%", id="accuracy above 1"),
        pytest.param("0.95", "nan", r"key min_accuracy is 'nan'", id="accuracy NaN"),
        pytest.param("max_size", "max_sizes", r"'shipped': unknown key 'max_sizes'; did you mean max_size", id="typo"),
        pytest.param('name = "shipped"\n', "", r"budget 'number 1': missing key name", id="nameless"),
        pytest.param('"shipped"', '" "', r"key name is empty", id="empty name"),
        pytest.param("[[budget]]", "[[budgets]]", r"unknown key 'budgets'; did you mean budget", id="wrong table"),
        pytest.param("schema = 1", "schema = 9", r"key schema is 9; it must be one of 1", id="schema"),
        pytest.param("schema = 1\n", "", r"missing key schema", id="no schema"),
        pytest.param("schema = 1", "schema =", r"(?i)invalid value", id="not TOML"),
        pytest.param('folder = "out/cpu"\n', "", r"it names nothing to check; give folder, or arch", id="no subject"),
        pytest.param('"5ms"', '"5ms"\nspace = "s"', r"keys folder and space exclude each other", id="two subjects"),
        pytest.param(
            '"5ms"',
            '"5ms"\nlatency = "guess"',
            r"key latency is 'guess'; it must be one of measured, predicted",
            id="basis",
        ),
        pytest.param('max_latency = "5ms"', 'latency = "measured"', r"key latency has no use without", id="idle key"),
        pytest.param(
            '"5ms"', '"5ms"\nprecision = "fp8"', r"key precision is 'fp8'; it must be one of fp32", id="precision"
        ),
    ],
)
def test_a_bad_folder_budget_is_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in FOLDER
    expect_error(write(tmp_path, FOLDER.replace(old, new, 1)), message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param('max_latency = "5ms"', 'max_size = "1MB"', r"key max_size needs a folder", id="size"),
        pytest.param('max_latency = "5ms"', 'min_accuracy = "9%"', r"key min_accuracy needs a folder", id="accuracy"),
        pytest.param('device = "jetson"\n', "", r"key max_latency needs device or table", id="no device"),
        pytest.param('"5ms"', '"5ms"\nlatency = "measured"', r"no measured latency", id="measured"),
        pytest.param('architecture = "arch.json"\n', "", r"it names nothing to check", id="no architecture"),
        pytest.param('max_latency = "5ms"\n', "", r"it limits nothing; add one of max_latency", id="no limit"),
    ],
)
def test_a_bad_architecture_budget_is_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in ARCHITECTURE
    expect_error(write(tmp_path, ARCHITECTURE.replace(old, new, 1)), message)


def expect_error(path: Path, message: str) -> None:
    with pytest.raises(FednasError, match=message) as caught:
        load_budgets(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_budgets_of_one_name_are_refused(tmp_path: Path) -> None:
    text = FOLDER + FOLDER.replace("schema = 1", "")
    expect_error(write(tmp_path, text), r"budget 'shipped': another budget has this name")


@pytest.mark.parametrize("text", ["", "schema = 1\nbudget = []\n"], ids=["empty file", "empty list"])
def test_a_file_without_budgets_is_refused(tmp_path: Path, text: str) -> None:
    expect_error(write(tmp_path, text), "missing key|holds no budget")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=r"budgets file .*absent\.toml does not exist"):
        load_budgets(tmp_path / "absent.toml")


def test_the_example_of_the_documentation_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "budgets.md").read_text()
    example = page.split("```toml\n")[1].split("```")[0]
    assert [budget.name for budget in load_budgets(write(tmp_path, example))] == ["door camera", "next generation"]
