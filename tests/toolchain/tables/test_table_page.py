"""What a table says of its error by kind of block, and the page that shows it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from table_examples import BODY, HEAD, STEM, entry, make_table, network, source

from fednas.latency_tables import LatencyTable
from fednas.toolchain.tables.facts import origins_text, table_facts
from fednas.toolchain.tables.page import table_page
from fednas.toolchain.tables.residuals import kind_errors, kind_of, network_errors

# 1 ms of stem, 2 ms of body, 3 ms of head: networks of one stem and head, and 1 to 4 bodies.
BODIES = (1, 2, 3, 4)


def table(errors: tuple[float, ...] = (0.01, 0.02, 0.03, 0.04)) -> LatencyTable:
    """Predictions that are too high by ``errors``."""
    networks = []
    for count, error in zip(BODIES, errors, strict=True):
        predicted = 1 + 2 * count + 3
        role = "held-out" if count % 2 else "calibration"
        networks.append(network(role, (0, *[1] * count, 2), predicted / (1 + error), predicted))
    return make_table(entry(STEM, 1.0), entry(BODY, 2.0), entry(HEAD, 3.0), networks=tuple(networks))


def test_errors_and_shares_of_each_network() -> None:
    first, *_, last = network_errors(table())
    assert first.error == pytest.approx(0.01)
    # 1 + 2 + 3 ms: a sixth, no identity block, a third, a half.
    assert first.shares == pytest.approx((1 / 6, 0, 1 / 3, 1 / 2))
    assert last.shares == pytest.approx((1 / 12, 0, 8 / 12, 3 / 12))
    assert kind_of(BODY) == "projection block"


def test_the_kind_that_carries_the_error_comes_first() -> None:
    # The error rises by a percent for every further body, whose share rises as 2n / (4 + 2n).
    found = kind_errors(table(), network_errors(table()))
    by_kind = {each.kind: each for each in found}
    assert set(by_kind) == {"stem", "projection block", "head"}  # no identity block is priced
    body = by_kind["projection block"]
    assert body.entries == 1
    assert body.share == pytest.approx((1 / 3 + 1 / 2 + 3 / 5 + 2 / 3) / 4)
    assert body.slope == pytest.approx(0.087, abs=0.005)
    assert body.rise == pytest.approx(body.slope / 3)  # from a third to two thirds
    assert body.explained > 0.95
    assert by_kind["head"].rise < 0
    assert kind_errors(table(), network_errors(table())[:3]) == ()


def test_an_error_that_is_the_same_everywhere_is_carried_by_none() -> None:
    found = kind_errors(table(), network_errors(table((0.02,) * 4)))
    assert [each.explained for each in found] == pytest.approx([0, 0, 0], abs=1e-9)


def test_origins_are_counted() -> None:
    assert origins_text(make_table()) == "3 measured"
    mixed = make_table(entry(STEM, 1.0), entry(BODY, 2.0, origin="modelled", samples=0))
    assert origins_text(mixed) == "2: 1 measured, 1 modelled; what is not measured is filled in by a fit"


class Strict(HTMLParser):
    """Complains about elements that are not closed, and collects what is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe")
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(table: LatencyTable) -> str:
    text = table_page(table, Path("cpu.json"))
    parser = Strict()
    parser.feed(text)
    assert parser.open == []
    assert len(set(parser.ids)) == len(parser.ids)
    assert not re.search(r"(?:https?:|url\((?!#)|@import)", text)
    assert "nan" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    return text


def test_the_page_is_sound_needs_nothing_else_and_shows_every_network_and_entry() -> None:
    session = msgspec.structs.replace(make_table().session, slowness=(1.0, 1.1, 0.9))
    text = page(msgspec.structs.replace(table(), session=session))
    assert text.count("held-out: measured") == 2 * 4  # in the first plot, and for each of three kinds
    for words in ("prefers-color-scheme: dark", "How wrong it is", "Drift over the session", "What blocks cost"):
        assert words in text
    for key in ("stem-in3-out8-hw4-s1", "head-in16-out10-hw2-s1"):
        assert key in text


def test_bare_and_merged_tables_have_a_page_too() -> None:
    bare = page(make_table(report=None, interval=None))
    assert "does not say how wrong it is" in bare
    assert "keeps no whole networks" in bare
    assert 'class="lead rejected"' in bare
    machine = make_table().machine
    merged = make_table(sources=(source("a.json", machine), source("b<1>.json", machine)))
    assert "b&lt;1&gt;.json of 2026" in page(merged)


def test_facts_name_remarks_and_sources() -> None:
    session = msgspec.structs.replace(make_table().session, remarks=("too hot",))
    facts = dict(table_facts(make_table(session=session)))
    assert facts["unfit"] == "too hot"
    assert facts["error"].startswith("2.0% on average over 20 held-out networks; 95% within 5 %")
    assert "does not predict" in dict(table_facts(make_table(interval=None)))["error"]


def test_modelled_entries_have_no_readings_on_the_page_and_floors_are_no_latencies() -> None:
    modelled = {"origin": "modelled", "samples": 0, "p10_ms": None, "p90_ms": None}
    rest = (entry(BODY, 2.0, **modelled, spread=0.2), entry(HEAD, 3.0, p10_ms=None, p90_ms=None, samples=9))
    text = page(make_table(entry(STEM, 1e-6, **modelled, spread=1.0), *rest))
    assert "0.001 us" not in text
    assert "80 % of readings" not in text.split("What blocks cost")[1]
    assert "modelled, no readings" in text
    assert "Not drawn: 1 modelled, of which the networks" in text
    for words in (
        "P10 and p90 need 44 readings",
        "what was not measured has no readings",
        "~0: less than the networks",
    ):
        assert words in text
    assert "What blocks cost" in page(make_table(entry(STEM, 1e-6, **modelled)))  # nothing left to draw
    assert "need 44 readings" not in page(make_table())
