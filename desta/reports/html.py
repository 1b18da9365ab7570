"""Elements of self-contained HTML pages; all text is escaped here."""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark;
  --ink: #1c1f23; --soft: #5d6670; --line: #d9dde2; --paper: #fff; --tint: #f4f6f8;
  --accent: 31 111 178; --good: #1a7f4b; --bad: #b3402e }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e4e7ea; --soft: #9aa4ae; --line: #343a41; --paper: #15181b; --tint: #1e2226;
  --accent: 94 170 232; --good: #5cc48d; --bad: #e88a78 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 62rem; padding: 2.5rem 1.5rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif;
  overflow-wrap: anywhere }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; padding-top: 1rem;
  border-top: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem }
p { margin: .5rem 0; max-width: 46rem }
.soft, figcaption { color: var(--soft); font-size: .875rem }
.caption { margin-top: 1.25rem }
.verdict { border-left: 3px solid rgb(var(--accent)); padding: .2rem 0 .2rem 1rem }
.missing { background: var(--tint); border-left: 3px solid var(--line); padding: .6rem 1rem }
code, pre { font: .85em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
  overflow-wrap: anywhere }
pre { background: var(--tint); padding: .8rem 1rem; white-space: pre-wrap }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: 1rem;
  margin: 1.5rem 0 }
.tile { background: var(--tint); border-radius: .5rem; padding: .9rem 1.1rem }
.tile b { display: block; font-size: 1.7rem; font-weight: 600; line-height: 1.3;
  font-variant-numeric: tabular-nums }
.tile b small { font-size: .95rem; font-weight: 400; color: var(--soft) }
.scroll { overflow-x: auto; background:
  linear-gradient(to right, var(--paper) 30%, transparent) left / 3rem 100%,
  linear-gradient(to left, var(--paper) 30%, transparent) right / 3rem 100%,
  linear-gradient(to right, rgb(var(--accent) / .35), transparent) left / .9rem 100%,
  linear-gradient(to left, rgb(var(--accent) / .35), transparent) right / .9rem 100%;
  background-attachment: local, local, scroll, scroll; background-repeat: no-repeat }
.hint { display: none }
@media (max-width: 38rem) { .hint { display: block } }
table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0 }
th, td { padding: .35rem .8rem .35rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; min-width: 4rem;
  max-width: 30rem }
th { font-weight: 600; color: var(--soft) }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.matrix th, .matrix td { padding: .3rem .45rem; border: 1px solid var(--line) }
.matrix td { text-align: center; font-variant-numeric: tabular-nums }
figure { margin: 1rem 0 }
figure svg { max-width: 100%; min-width: 32rem; height: auto }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(17.5rem, 1fr)); gap: 1rem }
.clip { border: 1px solid var(--line); border-radius: .5rem; padding: .9rem 1rem;
  content-visibility: auto; contain-intrinsic-size: auto 28rem }
.clip audio { width: 100%; height: 2.2rem }
.clip dl { margin: .6rem 0 0; font-size: .9rem }
.clip dt { color: var(--soft); font-size: .78rem }
.clip dd { margin: 0 0 .4rem; overflow-wrap: anywhere; white-space: pre-wrap; max-height: 16rem;
  overflow-y: auto }
.filters { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin: 1rem 0;
  position: sticky; top: 0; background: var(--paper); padding: .6rem 0; z-index: 1 }
.filters input, .filters select { font: inherit; font-size: .9rem; color: inherit;
  background: var(--tint); border: 1px solid var(--line); border-radius: .4rem;
  padding: .35rem .6rem; max-width: 100% }
.filters input { flex: 1 1 14rem }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .8rem 0; font-size: .9rem }
a { color: rgb(var(--accent)) }
.right { color: var(--good) }
.wrong { color: var(--bad) }
""".strip()

# Nothing is fetched, whatever the page holds.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"


def page(
    title: str, body: Sequence[str], script: str = "", *, style: str = "", local_media: bool = False
) -> str:
    """Return an HTML document.

    Args:
        title: plain text.
        body: markup.
        script: JavaScript; no other script can run, whatever the body holds.
        style: CSS in addition to that of all pages.
        local_media: also allow media from files beside the page.
    """
    policy = _POLICY + (" 'self' file:" if local_media else "")
    if script:
        body = [*body, f"<script>{script}</script>"]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        policy += f"; script-src 'sha256-{digest}'"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}{style}</style></head><body>",
            *body,
            "</body></html>\n",
        ]
    )


def section(title: str, *parts: str) -> str:
    """Return a section with a heading, to which `contents` links; `parts` are markup."""
    head = f'<section id="{_anchor(title)}"><h2>{escape(title)}</h2>'
    return "\n".join([head, *parts, "</section>"])


def contents(titles: Sequence[str]) -> str:
    """Return links to the sections with these titles."""
    links = (f'<a href="#{_anchor(title)}">{escape(title)}</a>' for title in titles)
    return f"<nav>{''.join(links)}</nav>"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text; `kind` is one of the classes of the style sheet."""
    return f'<p class="{kind}">{escape(text)}</p>'


def tiles(figures: Sequence[tuple[str, str, str, str]]) -> str:
    """Return tiles with large numbers: (title, value, uncertainty, comparison)."""
    boxes = (
        f'<div class="tile">{escape(what)}<b>{escape(value)} <small>{escape(spread)}</small></b>'
        f'<span class="soft">{escape(against)}</span></div>'
        for what, value, spread, against in figures
    )
    return f'<div class="tiles">{"".join(boxes)}</div>'


def table(header: Sequence[str], rows: Sequence[Sequence[str | int]], caption: str = "") -> str:
    """Return a table of plain texts; columns of whole numbers are aligned right."""

    def cell(tag: str, value: str | int, number: bool) -> str:
        text = f"{value:,}" if isinstance(value, int) else escape(value)
        return f'<{tag} class="number">{text}</{tag}>' if number else f"<{tag}>{text}</{tag}>"

    numeric = [bool(rows) and isinstance(rows[0][index], int) for index in range(len(header))]
    lines = [
        "".join(cell("td", value, number) for value, number in zip(row, numeric, strict=True))
        for row in rows
    ]
    head = "".join(cell("th", name, number) for name, number in zip(header, numeric, strict=True))
    return (
        f'{_caption(caption)}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>'
        + "".join(f"<tr>{line}</tr>" for line in lines)
        + "</tbody></table></div>"
    )


def matrix(
    rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]], caption: str
) -> str:
    """Return a table of counts, shaded by their share of the row."""
    lines = []
    for name, values in zip(rows, counts, strict=True):
        total = sum(values) or 1
        cells = "".join(
            f'<td style="background: rgb(var(--accent) / {0.75 * value / total:.2f})">'
            f"{value or ''}</td>"
            for value in values
        )
        lines.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    return (
        f'{_caption(caption)}<div class="scroll"><table class="matrix">'
        f"<tr><th></th>{head}</tr>{''.join(lines)}</table></div>"
    )


def svg_figure(svg: str, caption: str) -> str:
    """Return an SVG drawing with a caption of plain text."""
    hint = '<p class="hint soft">Swipe the drawing sideways to see all of it.</p>'
    return (
        f'<figure>{hint}<div class="scroll">{svg}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def percent(share: float) -> str:
    """Return a share in [0, 1] as text."""
    return f"{100 * share:.1f} %"


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield rows of a table from nested values, each under the names that lead to it.

    >>> list(flatten({"torch": "2.13", "gpu": {"name": None}}))
    [('torch', '2.13'), ('gpu name', 'unknown')]
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", "unknown" if value is None else str(value)


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _caption(text: str) -> str:
    """Return a caption above a table; inside it would be wrapped to the width of the columns."""
    return paragraph(text, "soft caption") if text else ""
