"""The texts by which a judge is asked about an answer: built in, or read from files.

Those built in are in our own words: by them, or by another judge, a score is another number than
the published one. The official text can be given as a file; it has the same placeholders.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from desta.config import suggest
from desta.errors import ConfigError

OWN_WORDS = "own words"
_RULE = "---"


@dataclass(frozen=True, kw_only=True)
class Template:
    """A question with placeholders."""

    system: str
    question: str
    source: str = OWN_WORDS
    """`OWN_WORDS`, or the file that it was read from."""

    @property
    def sha256(self) -> str:
        """Hash of both texts, which tells it from others."""
        return hashlib.sha256(f"{self.system}\n{_RULE}\n{self.question}".encode()).hexdigest()


def read_template(path: Path, default: Template) -> Template:
    """Read a question from a file.

    Where a line `---` stands, what is above it is the system prompt; else that of `default` is
    taken. The file must hold every placeholder of `default`.

    Raises:
        ConfigError: it cannot be read, or lacks a placeholder.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", fix="give a text file") from error
    above, rule, below = text.partition(f"\n{_RULE}\n")
    system, question = (above, below) if rule else (default.system, text)
    missing = [name for name in _placeholders(default) if name not in question]
    if missing:
        raise ConfigError(
            f"{path} does not hold {', '.join(missing)}", fix="put each where its text belongs"
        )
    return Template(system=system.strip(), question=question.strip(), source=str(path))


def find_templates(
    defaults: Mapping[str, Template], files: Mapping[str, Path]
) -> dict[str, Template]:
    """Return the questions of all kinds, from files where they are given.

    Args:
        defaults: kind -> question, of a benchmark.
        files: kind -> file.

    Raises:
        ConfigError: there is no such kind, or a file cannot be used.
    """
    for kind in files:
        if kind not in defaults:
            fix = suggest(kind, list(defaults))
            raise ConfigError(f'unknown question "{kind}" of the judge', fix=fix)
    return {
        kind: read_template(files[kind], default) if kind in files else default
        for kind, default in defaults.items()
    }


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values for placeholders, all at once: a value that holds a placeholder stays as it is.

    >>> fill("[Q] [A]", {"[Q]": "[A]?", "[A]": "yes"})
    '[A]? yes'
    """
    names = "|".join(re.escape(name) for name in values)
    return re.sub(names, lambda match: values[match.group()], template)


def _placeholders(template: Template) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\[[A-Z_]+\]|\{[a-z_]+\}", template.question)))
