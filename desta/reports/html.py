"""Elements of self-contained HTML pages; all text is escaped here."""

import base64
import hashlib
import importlib.resources
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

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
            f"<style>{asset('page.css').strip()}{style}</style></head><body>",
            *body,
            "</body></html>\n",
        ]
    )


def asset(name: str) -> str:
    """Return a style sheet or a script of this package."""
    folder = importlib.resources.files("desta") / "assets/reports"
    return (folder / name).read_text(encoding="utf-8")


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

    >>> list(flatten({"torch": "2.13", "gpu": {"name": None}, "seeds": [1, 2]}))
    [('torch', '2.13'), ('gpu name', 'unknown'), ('seeds', '1, 2')]
    >>> list(flatten({"clips": [{"path": "a"}, {"path": "b"}]}))
    [('clips 1 path', 'a'), ('clips 2 path', 'b')]
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name} ")
        elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
            numbered = {str(number): part for number, part in enumerate(value, 1)}
            yield from flatten(numbered, f"{prefix}{name} ")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{prefix}{name}", "unknown" if value is None else str(value)


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _caption(text: str) -> str:
    """Return a caption above a table; inside it would be wrapped to the width of the columns."""
    return paragraph(text, "soft caption") if text else ""
