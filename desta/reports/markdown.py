"""Elements of Markdown pages; all text is escaped here."""

from collections.abc import Iterator, Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a table, and an empty one."""
    yield _row(header)
    yield "|" + "---|" * len(header)
    yield from map(_row, rows)
    yield ""


def plain(text: str) -> str:
    """Return text escaped for a cell of a table, in one line."""
    kept = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return kept.replace("&", "&amp;").replace("<", "&lt;")


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(plain(str(cell)) for cell in cells)} |"
