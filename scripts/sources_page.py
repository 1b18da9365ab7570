"""Write docs/reference/sources.md and the examples of `desta sources show` from the sources.

    python scripts/sources_page.py [--root .]

The seed descriptions are taken from the golden files, which tests check.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from desta.construction.description import describe_clip
from desta.records import read_clips
from desta.sources import SOURCES
from desta.sources.base import Source

PAGE = Path("docs/reference/sources.md")
EXAMPLES = Path("desta/assets/examples.json")
GOLDEN = Path("tests/golden")

INTRO = """\
# Corpora known by name

Written by `make docs`, not by hand. `desta sources` prints the same table, `desta sources show
NAME` one row of it; `desta describe NAME ROOT --out DIR` reads a corpus. None of them is part of
this package: fetch it yourself, and keep to its licence.

*Confirmed* layouts were looked up in the source that is named; *believed* ones were not found
described anywhere, and may differ from what you unpack. Only the official training split is read;
what is left out is counted with its reason. Where a corpus says whose voice or which instrument it
is, none is in two splits; `--split test` holds a whole corpus out
([0009](../decisions/0009-splits-in-clips.md)). What comes in Debian packages is fetched with `desta
sources fetch NAME`. Any other corpus comes in as a table or a Hugging Face data set
([own_corpus.md](../guides/own_corpus.md)), or as manifests of lhotse.
"""


def main() -> int:
    """Write both files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(), help="top folder of the repository")
    root = parser.parse_args().root
    found = examples(root)
    (root / EXAMPLES).write_text(dump(found), encoding="utf-8")
    (root / PAGE).write_text(page(SOURCES.values(), found), encoding="utf-8")
    print(f"{len(SOURCES)} corpora, {len(found)} with an example")
    return 0


def examples(root: Path) -> dict[str, str]:
    """Return corpus -> seed description of its first golden clip, for known corpora."""
    found: dict[str, str] = {}
    for clip in read_clips(root / GOLDEN / "clips.jsonl"):
        found.setdefault(clip.source, describe_clip(clip))
    for path in sorted((root / GOLDEN).glob("*_descriptions.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        found |= {name: texts[0] for name, texts in stored.items() if texts}
    return {name: found[name] for name in SOURCES if name in found}


def dump(found: Mapping[str, str]) -> str:
    """Return the examples as stored in the file."""
    return f"{json.dumps(found, ensure_ascii=False, indent=2)}\n"


def page(sources: Iterable[Source], found: Mapping[str, str]) -> str:
    """Return the page: a table, then one section per corpus."""
    sources = sorted(sources, key=lambda source: (source.domains[0], source.name))
    layouts = Counter(source.layout for source in sources)
    parts = [
        INTRO,
        f"{len(sources)} corpora: {layouts['confirmed']} layouts confirmed, "
        f"{layouts['believed']} believed.\n",
        "| corpus | domain | licence | layout |\n|---|---|---|---|",
        *(
            f"| [{s.name}](#{s.name}) | {', '.join(s.domains)} | {cell(s.licence)} | {s.layout} |"
            for s in sources
        ),
    ]
    for s in sources:
        parts += [
            f"\n## {s.name}\n",
            f"{s.title}.\n",
            f"- licence: {s.licence}",
            f"- obtain: {s.obtain}",
            f"- layout: {s.layout}; {s.cited}",
        ]
        if s.name in found:
            parts += [f"\n```\n{found[s.name]}\n```"]
    return "\n".join(parts) + "\n"


def cell(text: str) -> str:
    """Return text escaped for a cell of a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
