"""How far a kit is, by what its script prints."""

from hypothesis import given
from hypothesis import strategies as st

from fednas.toolchain.measure.ssh.progress import KitProgress


def test_the_groups_follow_each_other() -> None:
    progress = KitProgress()
    lines = (
        "loading 7 models of group 1 of 3",
        "round 1 of about 4, 0.1 s (group 1 of 3)",
        "round 4 of about 4, 0.4 s (group 1 of 3)",
        "loading 7 models of group 2 of 3",
        "round 1 of about 2, 0.1 s (group 2 of 3)",
        "round 1 of about 4, 0.1 s (group 2 of 3)",
        "round 3 of about 3, 0.3 s (group 3 of 3)",
    )
    seen = [(round(12 * progress.share), progress.what) for line in lines if progress.take_in(line)]
    assert seen == [
        (1, "round 1, group 1 of 3"),
        (4, "round 4, group 1 of 3"),
        (6, "round 1, group 2 of 3"),
        (6, "round 1, group 2 of 3"),
        (12, "round 3, group 3 of 3"),
    ]


def test_one_group_is_not_named() -> None:
    progress = KitProgress()
    assert progress.take_in("round 3 of about 12, 1.5 s")
    assert (progress.share, progress.what) == (0.25, "round 3")
    assert not progress.take_in("done: 40 readings in results.json")


@given(st.lists(st.tuples(*[st.integers(0, 20)] * 4)))
def test_it_never_goes_back_nor_beyond_the_end(lines: list[tuple[int, int, int, int]]) -> None:
    progress, before = KitProgress(), 0.0
    for number, expected, group, groups in lines:
        assert progress.take_in(f"round {number} of about {expected}, 1.0 s (group {group} of {groups})")
        assert before <= progress.share <= 1.0
        before = progress.share
