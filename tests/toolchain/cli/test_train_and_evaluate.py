"""The commands train and evaluate, as a user runs them."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import fednas.toolchain.federated.rounds as rounds
from fednas.toolchain.cli.app import app
from fednas.toolchain.space import SearchSpace, largest_architecture, smallest_architecture
from fednas.toolchain.supernet import read_supernet_header

SPACE = SearchSpace(
    num_stages=1,
    max_extra_blocks_per_stage=1,
    original_stem_out_channels=8,
    original_stage_base_channels=(16,),
    initial_input_hw=8,
    initial_input_channels=1,
    stem_stride=2,
    stage_downsample_factors=(2,),
    channel_divisible_by=8,
    n_classes=10,
    width_multiplier_choices=(0.5, 1.0),
    expansion_ratio_choices=(0.5,),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "space.json").write_text(SPACE.to_json())
    with (tmp_path / "cache.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("macs", "d", "e", "w_indices"))
        for arch in (smallest_architecture(SPACE), largest_architecture(SPACE)):
            writer.writerow((0, list(arch.d), list(arch.e), list(arch.w_indices)))
    return tmp_path


def run(*words: object, code: int = 0) -> str:
    """What a command prints: its result, or with another exit code its error line."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


def training(folder: Path, *more: object) -> list[object]:
    files = ["--space", folder / "space.json", "--cache", folder / "cache.csv", "--out", folder / "net.safetensors"]
    amount = ["--rounds", 2, "--clients", 3, "--per-round", 2, "--local-epochs", 1]
    return ["train", *files, "--data", "digits", *amount, *more]


def test_train_writes_a_supernet_with_its_record_and_evaluate_agrees(folder: Path) -> None:
    document = json.loads(run("--json", *training(folder, "--record", folder / "record.json")))
    header = read_supernet_header(folder / "net.safetensors")
    assert header.training is not None
    assert document == json.loads((folder / "record.json").read_text())
    assert [named.name for named in header.training.accuracies] == ["smallest", "middle", "largest"]
    assert header.training.settings.rounds == 2
    assert header.dataset == "digits"
    assert not list(folder.glob("*.checkpoint*"))
    words = ["--supernet", folder / "net.safetensors", "--archs", folder / "cache.csv", "--data", "digits"]
    results = json.loads(run("--json", "evaluate", *words))
    assert set(results[0]) == {"architecture", "accuracy", "low", "high", "macs", "params"}
    assert [r["accuracy"] for r in results] == [document["accuracies"][i]["test"]["accuracy"] for i in (0, 2)]
    text = run("evaluate", *words, "--part", "validation")
    assert len(text.splitlines()) >= 4
    assert max(map(len, text.splitlines())) <= 100


def test_a_stopped_training_goes_on_with_resume(folder: Path) -> None:
    run(*training(folder, "--checkpoint-every", 1))
    whole = load_file(folder / "net.safetensors")
    checkpoint = folder / "net.checkpoint.safetensors"

    original = rounds.FederatedTraining.run_round

    def stop_in_the_second_round(self: rounds.FederatedTraining) -> rounds.RoundReport:
        if self.rounds_done == 1:
            raise KeyboardInterrupt
        return original(self)

    (folder / "net.safetensors").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds.FederatedTraining, "run_round", stop_in_the_second_round)
        assert "interrupted" in run(*training(folder, "--checkpoint-every", 1), code=130)
    assert checkpoint.exists()
    assert not (folder / "net.safetensors").exists()
    error = run(*training(folder), code=1)
    assert "holds an unfinished training; go on with --resume, or remove it" in error
    run(*training(folder, "--resume", "--checkpoint-every", 1))
    resumed = load_file(folder / "net.safetensors")
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sampler", "best"], "unknown value of --sampler 'best' .known: optimal-path, random-sandwich"),
        (["--per-round", 9], r"per_round is 9; it must be 2 to the number of clients \(3\)"),
        (["--normalization", "layer"], "unknown value of --normalization 'layer' .known: batch, none"),
        (["--data", "none"], "--data none gives no images"),
        (["--data", "mnist"], "unknown data set 'mnist'"),
        (["--clients", 500, "--per-round", 2], "found no Dirichlet"),
        (["--resume"], "net.checkpoint.safetensors does not exist"),
        (["--out", "net.pt"], r"--out net.pt must end in .safetensors; write net.safetensors"),
        (["--out", "no/such/folder/net.safetensors"], "folder no/such/folder does not exist"),
        (["--cache", "no.csv"], "cache no.csv does not exist"),
    ],
)
def test_mistakes_are_found_before_the_first_round(folder: Path, words: list[object], message: str) -> None:
    error = run(*training(folder, *words), code=1)
    assert len(error.splitlines()) == 1
    assert re.search(message, error)
    assert sorted(path.name for path in folder.iterdir()) == ["cache.csv", "space.json"]


def test_data_that_do_not_fit_the_space_are_refused(folder: Path) -> None:
    (folder / "space.json").write_text(SPACE.to_json().replace('"n_classes": 10', '"n_classes": 7'))
    assert "has 10 classes, but the network has 7" in run(*training(folder), code=1)


def test_a_cache_without_the_largest_network_is_warned_about(folder: Path) -> None:
    lines = (folder / "cache.csv").read_text().splitlines()
    (folder / "cache.csv").write_text("\n".join(lines[:-1]))
    result = CliRunner().invoke(app, [str(word) for word in training(folder)])
    assert result.exit_code == 0
    assert "warning: the cache lacks the largest network of the space" in result.stderr
