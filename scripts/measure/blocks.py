"""Blocks of a Markdown page that scripts write, between two comments with their name."""

import re
from pathlib import Path
from typing import Any

from desta.errors import DataError


def replace_block(page: Path, name: str, text: str) -> None:
    """Replace the text between the comments of a block.

    Raises:
        DataError: the page is missing, or does not hold the two comments once.
    """
    begin, end = f"<!-- {name}: written by a script, not by hand -->", f"<!-- end of {name} -->"
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    new, count = pattern.subn(lambda match: f"{match[1]}{text.strip()}\n{match[2]}", old)
    if count != 1:
        raise DataError(f"{page} holds {count} blocks {name!r}", fix=f"put {begin} and {end} there")
    page.write_text(new, encoding="utf-8")


def origin(facts: dict[str, Any]) -> str:
    """Return command and commit of figures, in Markdown.

    >>> origin({"command": "python x.py", "commit": "0123456789", "modified": False})
    '`python x.py`, commit 0123456'
    """
    commit = (facts["commit"] or "unknown")[:7]
    return f"`{facts['command']}`, commit {commit}{' with changes' if facts['modified'] else ''}"
