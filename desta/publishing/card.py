"""Data card: README.md of a data set, with the front matter of the Hub."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from desta.errors import ConfigError
from desta.files import write_atomic
from desta.publishing.survey import LENGTHS, Contents, faithful_rows, kept_rows, quantiles
from desta.reasons import Reasons
from desta.sources import SOURCES
from desta.sources.base import Source
from desta.sources.languages import LANGUAGES

CARD = "README.md"
SHARD_FILES = "*.jsonl"
FAITHFUL = (
    "Responses that name the value of the recording and no other, where their prompt is about an "
    "attribute with a closed set of values; only prompts of the kind `ask` must name it:"
)
_MARK = "<!-- written by `desta`; a card without this line is never replaced -->"

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")
_HUB_LICENCES = frozenset(
    {
        *("apache-2.0", "mit", "cc0-1.0", "odbl", "gpl-2.0", "gpl-3.0"),
        *(f"cc-by{kind}-{v}" for kind in ("", "-sa", "-nc", "-nc-sa") for v in ("3.0", "4.0")),
    }
)
"""Licence ids of the Hub that occur among corpora."""

_PUBLISHED_NAMES = {
    "asvspoofing2019": "asvspoof2019",
    "audiocaps2": "audiocaps",
    "commonvoiceen": "common-voice",
    "commonvoicezh": "common-voice",
    "cszsesen": "cszs",
    "cszsfren": "cszs",
    "cszszhen": "cszs",
    "dynamicsuperbnoisereverb": "noise-reverb",
    "dynamicsuperbtrainnoisereverb": "noise-reverb",
    "emotionspeechdataset": "esd",
    "fmamedium": "fma",
    "gtzangenre": "gtzan",
    "metafairasr": "fair-speech",
    "msppodcastpublish112": "msp-podcast",
    "releasebiicpodcastv101": "biic-podcast",
    "speechcommand": "speech-commands",
    "vctkaugmented2": "vctk-musan",
    "vctkcorpus": "vctk",
    "voxlingual": "voxlingua107",
    "voxlingualtop10": "voxlingua107",
}
"""Name of a corpus in the published data set (lower-case letters and digits) -> source."""


def find_published(name: str) -> Source | None:
    """Return the source that the `dataset` of a row names; None if it is unknown."""
    plain = _plain(name)
    named = {_plain(known): source for known, source in SOURCES.items()}
    return named.get(_plain(_PUBLISHED_NAMES.get(plain, plain)))


def write_card(directory: Path, card: str) -> Path:
    """Write README.md.

    Raises:
        ConfigError: there is a README.md that desta did not write.
    """
    path = directory / CARD
    if path.is_file() and _MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise ConfigError(
            f"{path} was not written by desta and is kept",
            fix="move it away, or add to it what you want to say",
        )
    write_atomic(path, card.encode())
    return path


def data_card(found: Contents, *, files: str = SHARD_FILES) -> str:
    """Return the card of a data set in Markdown.

    Args:
        found: survey of the data set.
        files: pattern of the files with the rows, relative to the card.
    """
    title = f"Audio-text pairs: {found.num_useful:,} responses about {found.num_clips:,} recordings"
    body = [
        f"# {title}",
        _MARK,
        "Each row is a prompt about a recording and the response to it. A language model (the "
        "backbone) wrote the response from a text description of the recording; an audio-language "
        "model learns to give the same response from the sound (arXiv 2507.02768). The recordings "
        "themselves belong to their corpora; rows hold their paths.",
        _origin(found),
        "## Sources",
        _sources(found),
        "## Contents",
        _contents(found),
        "## What was left out",
        _left_out(found),
    ]
    front = yaml.safe_dump(_front(found, files), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n" + "\n\n".join(body) + "\n"


def _front(found: Contents, files: str) -> dict[str, Any]:
    codes = {name: code for code, name in LANGUAGES.items()}
    languages = sorted({codes[name] for name in found.languages if name in codes})
    licences = {_hub_licence(name) for name in found.counts}
    front: dict[str, Any] = {"pretty_name": found.directory.resolve().name}
    if len(licences) == 1 and None not in licences:
        front["license"] = licences.pop()
    else:
        front |= {"license": "other", "license_name": "see-sources"}
    if languages:
        front["language"] = languages
    front |= {
        "task_categories": ["audio-text-to-text"],
        "tags": ["audio", "audio-language-model", "self-generated", "desta"],
        "size_categories": [_size(found.num_rows)],
    }
    front["configs"] = [
        {"config_name": "default", "data_files": [{"split": "train", "path": files}]}
    ]
    return front


def _origin(found: Contents) -> str:
    if (manifest := found.manifest) is None:
        return (
            "There is no manifest: which model wrote the responses, how, and what was left out is "
            "not stated, and the files cannot be verified."
        )
    sampling = ", ".join(f"{name} {value}" for name, value in sorted(manifest.sampling.items()))
    return _table(
        ("made by", ""),
        [
            ("backbone", manifest.backbone),
            ("its revision", manifest.revision),
            ("sampling", sampling),
            ("prompt pools (SHA-256)", manifest.prompt_pool),
            ("recipe (SHA-256)", manifest.recipe),
        ],
    )


def _sources(found: Contents) -> str:
    rows = []
    for name, kinds in sorted(found.counts.items(), key=lambda item: -item[1].total()):
        source = find_published(name)
        known = (source.title, source.licence, source.obtain) if source else ("", "not known", "")
        rows.append((name, f"{kinds.total():,}", *known))
    return _table(("source", "rows", "corpus", "licence", "how to obtain it"), rows)


def _contents(found: Contents) -> str:
    kinds = sorted({kind for counts in found.counts.values() for kind in counts})
    rows = [
        (source, *(f"{counts[kind]:,}" for kind in kinds))
        for source, counts in sorted(found.counts.items())
    ]
    lengths = [
        (name, *(f"{value:,}" for value in quantiles(found.lengths[name]).values()))
        for name in LENGTHS
        if found.lengths[name]
    ]
    parts = [
        f"{found.num_clips:,} recordings, {found.hours:,.1f} h as their descriptions state it.",
        "Rows by source and kind of prompt:",
        _table(("source", *kinds), rows),
        "Lengths in words:",
        _table(("text", "least", "median", "95 %", "most"), lengths),
    ]
    if found.languages:
        spoken = [(name, f"{count:,}") for name, count in found.languages.most_common()]
        parts += ["Languages that descriptions name:", _table(("language", "rows"), spoken)]
    return "\n\n".join(parts)


def _left_out(found: Contents) -> str:
    parts = []
    if found.manifest is not None:
        dropped = found.manifest.dropped
        share = found.manifest.num_dropped / ((found.num_rows + found.manifest.num_dropped) or 1)
        parts.append(f"{found.manifest.num_dropped:,} responses were dropped ({share:.1%}).")
        parts += _reasons("dropped because", dropped)
        for heading, rows in (
            ("Responses kept, of those written:", kept_rows(found.manifest)),
            (FAITHFUL, faithful_rows(found.manifest)),
        ):
            if rows:
                parts += [heading, _table(tuple(rows[0]), [tuple(row.values()) for row in rows])]
    for heading, reasons in (
        ("rows that cannot be trained on", found.useless),
        ("usable but unusual rows", found.odd),
    ):
        parts += _reasons(heading, reasons)
    return "\n\n".join(parts) or "No contents are known."


def _reasons(heading: str, reasons: Reasons[str]) -> list[str]:
    rows = [(row["reason"], f"{row['count']:,}", row["example"]) for row in reasons.table()]
    return [_table((heading, "count", "example"), rows)] if rows else []


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(map(_cell, line))} |" for line in (header, *rows)]
    lines.insert(1, "| --- " * len(header) + "|")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Escape text from data, so that it is not Markdown or HTML and stays in its cell."""
    return " ".join(re.sub(r"([\\`|<\[*_])", r"\\\1", text).split())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _hub_licence(source: str) -> str | None:
    known = find_published(source)
    licence = known.licence.lower().replace(" ", "-") if known else ""
    return licence if licence in _HUB_LICENCES else None


def _size(num_rows: int) -> str:
    """Return the Hub's size category.

    >>> _size(999), _size(1000), _size(4963845)
    ('n<1K', '1K<n<10K', '1M<n<10M')
    """
    if num_rows < 1000:
        return "n<1K"
    place = min(len(str(num_rows)) - 4, len(_SIZES) - 2)
    return f"{_SIZES[place]}<n<{_SIZES[place + 1]}"
