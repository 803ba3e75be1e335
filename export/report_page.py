"""A report as one HTML page that needs nothing else: no font, no script, no image from anywhere."""

import re
from collections.abc import Sequence
from html import escape
from string import Template

from fednas.export.report_blocks import Block, Bullets, Code, Paragraph, Picture, Section, Table

MIDDLE_CELL, LONG_CELL = 20, 60
"""Characters from which a cell keeps some width, so that a narrow page does not make it a tall thin column."""
STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2530; --soft: #53616f; --line: #dde3e8; --tint: #f4f6f8;
  --blue: #1a5f99; --orange: #b9521a; --good: #2a7a45; --bad: #b3261e; --unsure: #8a6400; }
@media (prefers-color-scheme: dark) { :root { --paper: #15191e; --ink: #e4e9ee; --soft: #a0acb8; --line: #333c45;
  --tint: #1e242b; --blue: #6cb2ea; --orange: #ef9a62; --good: #6cc98a; --bad: #f28b82; --unsure: #e0b94f; } }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 62rem; padding: 1.5rem 1rem 3rem; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.12rem; margin: 2.2rem 0 .6rem; padding-top: .5rem; border-top: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 46rem; } li { margin: .25rem 0; max-width: 44rem; } ul { padding-left: 1.2rem; }
.lead { font-size: 1.05rem; padding: .7rem .9rem; background: var(--tint); border-left: 4px solid var(--soft);
  max-width: none; }
.verified { border-color: var(--good); } .rejected, .missed { border-color: var(--bad); }
.unverified, .undecided { border-color: var(--unsure); }
.scroll { overflow-x: auto; margin: .7rem 0; background:
  linear-gradient(90deg, var(--paper) 50%, transparent) 0 0 / 2rem 100% no-repeat local,
  linear-gradient(270deg, var(--paper) 50%, transparent) 100% 0 / 2rem 100% no-repeat local,
  linear-gradient(90deg, var(--line), transparent) 0 0 / .9rem 100% no-repeat scroll,
  linear-gradient(270deg, var(--line), transparent) 100% 0 / .9rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem 1.1rem .35rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
td.short { white-space: nowrap; } td.middle { min-width: 7rem; } td.long { min-width: 13rem; }
a { color: var(--blue); }
code { font: .86em ui-monospace, monospace; } p code, li code, td.long code { overflow-wrap: anywhere; }
pre { background: var(--tint); padding: .8rem; overflow-x: auto; } pre code { overflow-wrap: normal; }
figure { margin: 1rem 0; overflow-x: auto; } figcaption { color: var(--soft); font-size: .88rem; max-width: 46rem; }
svg { display: block; width: 100%; min-width: 30rem; max-width: 44rem; height: auto; }
svg.small { min-width: 0; }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft); } svg .strong { fill: var(--ink); }
svg .axis { stroke: var(--line); } svg .limit { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 4 3; }
svg .blue { fill: var(--blue); } svg .orange { fill: var(--orange); } svg .track { fill: var(--tint); }
svg .good { fill: var(--good); } svg .bad { fill: var(--bad); } svg .unsure { fill: var(--unsure); }
svg .span { stroke: var(--ink); stroke-width: 1.5; } svg .curve { fill: none; stroke: var(--soft); opacity: .6; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .8rem; padding: 0;
  max-width: none; }
.tiles li { list-style: none; margin: 0; font-size: .82rem; line-height: 1.4; max-width: none; }
.tiles img { width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--tint); image-rendering: pixelated; }
.tiles .wrong { color: var(--bad); font-weight: 600; }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .88rem; }
@media print { h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
@media screen and (max-width: 46rem) { body { font-size: 15px; } thead { display: none; }
  table, tbody, tr, th, td { display: block; } tr { padding: .5rem 0; border-bottom: 1px solid var(--line); }
  th, td { border: 0; padding: .1rem 0; } td:empty { display: none; }
  td[data-head]::before { content: attr(data-head) ": "; color: var(--soft); } }
"""
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
<p class="lead $tone">$lead</p>
$sections
</main>
<footer>$last</footer>
</body>
</html>
""")


def html_of(title: str, tone: str, lead: str, sections: Sequence[Section], last: str) -> str:
    """The whole document; ``tone`` colours the lead (`fednas.export.outcome.Tone`)."""
    return _PAGE.substitute(
        title=escape(title),
        style=STYLE,
        tone=escape(tone),
        lead=_inline(lead),
        sections="\n".join(_section(section) for section in sections),
        last=_inline(last),
    )


def _section(section: Section) -> str:
    body = "\n".join(_block(block) for block in section.blocks)
    return f"<section>\n<h2>{escape(section.title)}</h2>\n{body}\n</section>"


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Bullets(lines):
            return "<ul>\n" + "\n".join(f"<li>{_inline(line)}</li>" for line in lines) + "\n</ul>"
        case Code(text, _):
            return f"<pre><code>{escape(text)}</code></pre>"
        case Table(heads, rows):
            return _table(heads, rows)
        case Picture(html, caption):
            return f"<figure>\n{html}\n<figcaption>{_inline(caption)}</figcaption>\n</figure>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    named = any(heads)
    head = "<thead><tr>" + "".join(f"<th>{_inline(cell)}</th>" for cell in heads) + "</tr></thead>\n" if named else ""
    body = "\n".join(f"<tr>{_row(heads, row)}</tr>" for row in rows)
    return f'<div class="scroll"><table>\n{head}<tbody>\n{body}\n</tbody></table></div>'


def _row(heads: Sequence[str], row: Sequence[str]) -> str:
    cells = list(zip(heads, row, strict=True))
    if any(heads):
        return "".join(_cell(head, text) for head, text in cells)
    (_, name), *rest = cells  # of a pair: it says what the row is
    return f"<th>{_inline(name)}</th>" + "".join(_cell(head, text) for head, text in rest)


def _cell(head: str, text: str) -> str:
    size = "long" if len(text) > LONG_CELL else "middle" if len(text) > MIDDLE_CELL else "short"
    # On a narrow page cells stand below each other, each after its head.
    named = f' data-head="{escape(head)}"' if head else ""
    return f'<td class="{size}"{named}>{_inline(text)}</td>'


def _inline(text: str) -> str:
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    safe = re.sub(r"\[([^\]]+)\]\(([\w-][\w./-]*)\)", r'<a href="\2">\1</a>', safe)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe)
