"""Conformance (a): every width of the paper's space, and the seven cells where published rules disagree."""

from pathlib import Path

import pytest

from fednas.toolchain.space import SearchSpace, load_space

STEM = (8, 16, 24, 24, 32, 40, 48, 48, 56, 64)
STAGES = (
    (24, 48, 80, 104, 128, 152, 176, 208, 232, 256),
    (48, 104, 152, 208, 256, 304, 360, 408, 464, 512),
    (104, 208, 304, 408, 512, 616, 720, 816, 920, 1024),
    (208, 408, 616, 816, 1024, 1232, 1432, 1640, 1840, 2048),
)
FULL_WIDTH_MIDDLES = (
    (24, 40, 48, 56, 64),
    (48, 72, 96, 112, 128),
    (104, 144, 184, 224, 256),
    (208, 288, 368, 448, 512),
)
# (stage, channels, ratio): cost model -> network (method Q1).
DISAGREEMENTS = {
    (1, 48, 0.18): (8, 16),
    (1, 80, 0.22): (16, 24),
    (1, 176, 0.1): (16, 24),
    (2, 48, 0.18): (8, 16),
    (2, 464, 0.18): (80, 88),
    (3, 816, 0.22): (176, 184),
    (4, 816, 0.22): (176, 184),
}


@pytest.fixture(scope="module")
def paper(shared_data: Path) -> SearchSpace:
    return load_space(shared_data / "reference" / "space-paper-4-stage.json")


def test_the_width_tables_of_the_paper_space(paper: SearchSpace) -> None:
    assert paper.stem_widths == STEM
    assert paper.stage_widths == STAGES
    assert tuple(paper.middle_widths(stage)[-1] for stage in range(4)) == FULL_WIDTH_MIDDLES


def test_the_published_cost_model_differs_from_the_network_in_seven_cells(paper: SearchSpace) -> None:
    found = {}
    for stage in range(4):
        priced, built = paper.middle_widths(stage, "published"), paper.middle_widths(stage, "network")
        for w, channels in enumerate(paper.stage_widths[stage]):
            for e, ratio in enumerate(paper.expansion_ratio_choices):
                if priced[w][e] != built[w][e]:
                    found[stage + 1, channels, ratio] = (priced[w][e], built[w][e])
    assert found == DISAGREEMENTS
