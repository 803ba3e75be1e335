"""What a report is made of, whatever it is written in: sections of paragraphs, lists, tables, code and pictures.

To add to the report, write a function that gives a `Section` and name it in `report.report_sections`.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text; `code` between backticks, **weight** between double stars, [links](to/files) beside it."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list; its lines have the markup of a `Paragraph`."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under heads; all empty heads: pairs of a name and a value. Cells have the markup of a `Paragraph`."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to run or to copy."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """For the HTML page; Markdown says where it is. What it shows stands as text or as a table beside it."""

    html: str
    """Inline SVG, or images with their data inside."""
    caption: str


Block = Paragraph | Bullets | Table | Code | Picture


@dataclass(frozen=True, slots=True)
class Section:
    """A title and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


def markdown_of(title: str, lead: str, sections: Sequence[Section], last: str) -> str:
    """The whole document in Markdown; no name of a class, a file or a device in it can become HTML."""
    parts = [f"# {_no_html(title)}", f"**{_no_html(lead)}**"]
    for section in sections:
        parts.append(f"## {section.title}")
        parts += [markdown_block(block) for block in section.blocks]
    return "\n\n".join([*parts, last]) + "\n"


def markdown_block(block: Block) -> str:
    """One block in Markdown."""
    match block:
        case Paragraph(text):
            return _no_html(text)
        case Bullets(lines):
            return "\n".join(f"- {_no_html(line)}" for line in lines)
        case Code(text, language):
            return f"```{language}\n{text}\n```"
        case Table(heads, rows):
            return markdown_table(heads, rows)
        case Picture(_, caption):
            return f"*A picture in `report.html`: {caption}*"


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    # A pipe in a name must not open another column.
    return "\n".join("| " + " | ".join(_no_html(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _no_html(text: str) -> str:
    return text.replace("<", "&lt;")
