"""The HTML page: complete, self-contained, and the same for the same inputs."""

import base64
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from small_network import DIGITS, make_shipment

from fednas.common import ContractError, load_json
from fednas.export import Budget, Frontier, FrontierPoint, NextBetter, Outcome, Report, choose_examples
from fednas.export.evidence import Disagreement, disagreements
from fednas.export.manifest import Verdict
from fednas.export.png import png_bytes
from fednas.export.report import headline, report_html, report_markdown
from fednas.export.report_blocks import Bullets, Code, Paragraph, Picture, Section, Table, markdown_of
from fednas.export.report_comparisons import frontier_section
from fednas.export.report_page import html_of
from fednas.export.report_pictures import budget_bars, disagreement_matrix
from fednas.toolchain.cli.ship_text import _budget_text


class WellFormed(HTMLParser):
    """Complains about tags that are closed in another order than they were opened."""

    VOID = frozenset({"meta", "img", "br", "line", "rect", "circle", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def check_page(page: str) -> None:
    parser = WellFormed()
    parser.feed(page)
    assert parser.open == []
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:|[\w-]+/report\.html)', page)
    assert "url(" not in page
    assert "nan" not in page.lower().replace("nano", "")


SECTIONS = (
    Section("A & B", (Paragraph("`<code>` and **weight**"), Bullets(("one", "two")), Code("a < b", "sh"))),
    Section("T", (Table(("", ""), (("name", "a|b"),)), Table(("h",), (("<i>",),)), Picture("<svg></svg>", "cap"))),
)


def test_page_and_markdown_say_the_same() -> None:
    page = html_of("Title <1>", "verified", "lead", SECTIONS, "last")
    check_page(page)
    assert "<h1>Title &lt;1&gt;</h1>" in page
    assert "<code>&lt;code&gt;</code> and <strong>weight</strong>" in page
    assert "<th>name</th>" in page
    assert "&lt;i&gt;" in page
    text = markdown_of("Title <1>", "lead", SECTIONS, "last")
    assert text.startswith("# Title &lt;1>\n")
    assert "## A & B\n\n`&lt;code>` and **weight**\n\n- one\n- two\n\n```sh\na < b\n```" in text
    assert "| &lt;i> |" in text
    assert "| name | a\\|b |" in text
    assert "*A picture in `report.html`: cap*" in text


def test_a_shipped_page_needs_nothing_else(shipped: Path) -> None:
    check_page((shipped / "report.html").read_text(encoding="utf-8"))


def budget(limit: float, value: float, low: float | None, high: float | None, verdict: str) -> Budget:
    return Budget(
        quantity="latency", unit="ms", limit=limit, value=value, low=low, high=high, basis="predicted", verdict=verdict
    )


def test_budget_bars_are_shares_of_the_limit() -> None:
    # 640 wide, 90 left, 10 right: 540 for 1.25 limits, so the limit is at 90 + 432 and half of it is 216 wide.
    picture = budget_bars([budget(10.0, 5.0, None, None, "met")])
    assert '<rect class="good" x="90" y="12" width="216.0" height="20"/>' in picture.html
    assert '<line class="limit" x1="522.0" x2="522.0"' in picture.html
    assert "5 ms of 10 ms, predicted: met" in picture.html


def test_an_interval_far_beyond_the_limit_is_cut() -> None:
    picture = budget_bars([budget(1.0, 1.0, 0.5, 1000.0, "cannot tell")])
    # Three limits at most: 180 for each; the whisker ends at the border, with a mark at its low end only.
    assert '<line class="span" x1="180.0" x2="630.0"' in picture.html
    assert picture.html.count('class="span"') == 2


def test_frontier_section_draws_points_chosen_and_limit() -> None:
    points = tuple(FrontierPoint(value=v, fitness=10 * v) for v in (1.0, 2.0, 3.0))
    frontier = Frontier(quantity="latency", unit="ms", points=points, chosen=points[1], limit=2.5)
    section = frontier_section(frontier, ())
    assert section is not None
    assert section.title == "Near the budget"
    without_budget = frontier_section(replace(frontier, limit=None), ())
    assert without_budget is not None
    assert without_budget.title == "Near the chosen network"
    text, picture = section.blocks
    assert isinstance(text, Paragraph)
    assert "3 networks between 1 ms and 3 ms" in text.text
    assert isinstance(picture, Picture)
    assert picture.html.count('class="blue"') == 3
    assert picture.html.count('class="orange"') == 1
    assert 'class="limit"' in picture.html
    assert frontier_section(None, ()) is None


def test_disagreements_are_counted_by_pair() -> None:
    source = np.eye(3)[[0, 0, 1, 2, 2]]
    artefact = np.eye(3)[[1, 1, 1, 2, 0]]
    pairs = disagreements(source, artefact)
    assert pairs == (Disagreement(source=0, artefact=1, images=2), Disagreement(source=2, artefact=0, images=1))
    picture = disagreement_matrix(pairs, ("cat", "dog", "owl"), "model.int8.onnx")
    assert picture.html.count('class="bad"') == 2
    assert ">owl</text>" in picture.html


def test_examples_show_disagreements_then_mistakes_then_each_class() -> None:
    labels = np.array([0, 0, 1, 1])
    source, artefact = np.eye(2)[[0, 0, 1, 0]] * 9, np.eye(2)[[0, 1, 1, 0]] * 9
    images = np.linspace(0, 1, 4 * 4).reshape(4, 1, 2, 2)
    examples = choose_examples(images, labels, source, artefact, ("cat", "dog"))
    assert [(e.truth, e.source.label, e.artefact.label) for e in examples] == [
        ("cat", "cat", "dog"),
        ("dog", "cat", "cat"),
        ("cat", "cat", "cat"),
        ("dog", "dog", "dog"),
    ]
    assert examples[0].source.share == pytest.approx(1 / (1 + np.exp(-9)))
    assert examples[0].image.startswith("data:image/png;base64,")


def test_png_holds_the_pixels() -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    content = png_bytes(pixels)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">IIBB", content[16:26]) == (3, 2, 8, 2)
    length = struct.unpack(">I", content[33:37])[0]
    rows = zlib.decompress(content[41 : 41 + length])
    assert rows == b"\0" + bytes(range(9)) + b"\0" + bytes(range(9, 18))
    assert base64.b64encode(content)
    with pytest.raises(ContractError, match="no PNG"):
        png_bytes(np.zeros((2, 2, 2), np.uint8))


LIMITS = (
    # budgets' verdicts, the limit on lost accuracy, the banner, its tone
    ((), None, "verified", "verified"),
    (("met",), None, "verified, latency budget met", "verified"),
    (("cannot tell",), None, "verified, but latency budget undecided", "undecided"),
    (("missed",), "cannot tell", "verified, but latency budget missed and accuracy limit undecided", "missed"),
    (("met",), "cannot tell", "verified, but accuracy limit undecided", "undecided"),
)


@pytest.mark.parametrize(("verdicts", "accuracy", "text", "tone"), LIMITS)
def test_the_banner_is_about_everything_that_was_asked(
    shipped: Path, verdicts: tuple[Verdict, ...], accuracy: Verdict | None, text: str, tone: str
) -> None:
    report = load_json(shipped / "report.json", Report, "report")
    shipment = replace(report.shipment, budgets=tuple(budget(1.0, 1.0, None, None, each) for each in verdicts))
    (model,) = report.models
    drop = model.evidence.drop
    assert drop is not None
    limited = replace(drop, limit=None if accuracy is None else 0.01, verdict=accuracy)
    models = (replace(model, evidence=replace(model.evidence, drop=limited)),)
    outcome = Outcome.of("verified", shipment, models)
    assert (str(outcome), outcome.tone) == (text, tone)
    made = replace(report, shipment=shipment, models=models, headline=headline("verified", shipment, models))
    page = report_html(made, (), DIGITS)
    assert f'<p class="lead {tone}">{text}: A board' in page
    assert f"**{text}: A board" in report_markdown(made, (), DIGITS)


def test_what_failed_or_was_never_checked_is_never_green() -> None:
    shipment = replace(make_shipment(), budgets=(budget(1.0, 1.0, None, None, "missed"),))
    assert Outcome.of("rejected", shipment, ()).tone == "rejected"
    assert Outcome.of("unverified", shipment, ()).tone == "missed"
    assert str(Outcome.of("unverified", make_shipment(), ())) == "unverified"


def test_what_a_fitter_network_needs_by_prediction_is_not_said_beside_a_reading(shipped: Path) -> None:
    report = load_json(shipped / "report.json", Report, "report")
    step = NextBetter(needs=0.2015, needs_text="0.2015 ms", fitness=2.0)
    for basis, told in (("measured", False), ("predicted", True), ("estimated", True)):
        one = replace(budget(1.0, 1.0, None, None, "missed"), basis=basis, next_better=step)
        text = report_markdown(replace(report, shipment=replace(report.shipment, budgets=(one,))), (), DIGITS)
        assert ("needs 0.2015 ms" in text, "needs 0.2015 ms" in _budget_text(one)) == (told, told)


def test_verdicts_come_first_and_every_cell_names_its_head(shipped: Path) -> None:
    page = (shipped / "report.html").read_text(encoding="utf-8")
    assert "<thead><tr><th>Verdict</th><th>Model</th>" in page
    assert '<td class="short" data-head="Verdict">passed</td>' in page
    assert "attr(data-head)" in page, "narrow pages put cells below each other"


def test_the_frontier_names_both_axes_and_says_what_is_only_estimated() -> None:
    points = tuple(FrontierPoint(value=v, fitness=10 * v) for v in (1.0, 2.0, 3.0))
    frontier = Frontier(quantity="latency", unit="ms", points=points, chosen=points[1], limit=2.5)
    for estimated, label in ((False, "latency (predicted)"), (True, "latency (estimated)")):
        section = frontier_section(frontier, (), estimated=estimated)
        assert section is not None
        picture = section.blocks[1]
        assert isinstance(picture, Picture)
        assert f">{label}</text>" in picture.html
        assert ">fitness</text>" in picture.html


def test_numbers_in_the_matrix_stand_on_a_pale_ground() -> None:
    picture = disagreement_matrix((Disagreement(source=0, artefact=1, images=9),), ("cat", "dog"), "model.int8.onnx")
    opacities = [float(found) for found in re.findall(r'opacity="([\d.]+)"', picture.html)]
    assert opacities == [0.4]
