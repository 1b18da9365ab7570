"""Report of a data set: one HTML page with tables, and samples to play and search."""

from collections.abc import Iterator
from html import escape
from pathlib import Path

from desta.construction.row_checks import Row, clips_of
from desta.publishing.survey import LENGTHS, Contents, faithful_rows, kept_rows, quantiles
from desta.reasons import Reasons
from desta.records import NO_TRANSCRIPTION
from desta.reports.attributes import player
from desta.reports.html import asset, page, paragraph, section, table, tiles
from desta.sources.files import inside

SAMPLE_SECONDS = 30.0
"""Longest part of a recording that the page holds."""


def samples_page(found: Contents, *, root: Path) -> str:
    """Return the HTML page of a data set.

    Args:
        found: the survey, with its samples.
        root: folder of the recordings, to which their paths are relative; nothing outside is read.
    """
    title = f"Data set {found.directory.resolve().name}"
    body = [
        f"<h1>{escape(title)}</h1>",
        paragraph(_origin(found), "soft"),
        tiles(list(_figures(found))),
    ]
    body.append(section("Samples", *_samples(found, root)))
    body.append(section("Rows by source and kind of prompt", _counts(found)))
    body.append(section("Lengths, in words", _lengths(found)))
    if found.manifest is not None:
        for heading, rows in (
            ("Responses kept, of those written", kept_rows(found.manifest)),
            (
                "Responses that name the right value, of those about it",
                faithful_rows(found.manifest),
            ),
        ):
            if rows:
                cells: list[list[str | int]] = [list(row.values()) for row in rows]
                body.append(section(heading, table(list(rows[0]), cells)))
    dropped = found.manifest.dropped if found.manifest else Reasons[str]()
    left_out = [
        ("dropped in construction because", dropped),
        ("of no use because it", found.useless),
        ("unusual because it", found.odd),
    ]
    tables = [_reasons(what, reasons) for what, reasons in left_out if reasons]
    body.append(section("What was left out", *(tables or [paragraph("Nothing.")])))
    return page(title, body, script=asset("samples.js").strip())


def _origin(found: Contents) -> str:
    if found.manifest is None:
        return "Files without a manifest: who wrote the responses is not stated."
    return f"Responses by {found.manifest.backbone}, revision {found.manifest.revision}."


def _figures(found: Contents) -> Iterator[tuple[str, str, str, str]]:
    yield "rows of use", f"{found.num_useful:,}", "", f"of {found.num_rows:,}"
    yield "recordings", f"{found.num_clips:,}", "", f"{found.hours:,.1f} h as described"
    yield "sources", f"{len(found.counts):,}", "", f"{len(found.languages):,} languages named"
    if found.manifest is not None:
        yield "dropped", f"{found.manifest.num_dropped:,}", "", "responses, by the filters"


def _samples(found: Contents, root: Path) -> Iterator[str]:
    if not found.samples:
        yield paragraph("No row is of use, or no samples were asked for.", "missing")
        return
    sources = sorted({row.get("dataset") or "" for _, _, row in found.samples})
    kinds = sorted({kind for _, kind, _ in found.samples})
    yield (
        '<div class="filters"><input id="words" type="search" placeholder="Search in all texts" '
        f'aria-label="Search in all texts">{_choice("source", sources)}{_choice("kind", kinds)}'
        '<span id="shown" class="soft"></span></div>'
    )
    cards = "".join(_sample(row, kind, root) for _, kind, row in found.samples)
    yield f'<div class="clips">{cards}</div>'


def _choice(name: str, values: list[str]) -> str:
    options = "".join(f'<option value="{escape(v)}">{escape(v)}</option>' for v in values)
    return (
        f'<select id="{name}" aria-label="{name}"><option value="">every {name}</option>'
        f"{options}</select>"
    )


def _sample(row: Row, kind: str, root: Path) -> str:
    source = row.get("dataset") or ""
    clips = clips_of(row)
    spoken = [clip.get("text") or NO_TRANSCRIPTION for clip in clips]
    system = [m["content"] for m in row["messages"] if m["role"] == "system"]
    lines = [
        ("seed description", row.get("seed_description") or ""),
        ("prompt", row.get("prompt") or ""),
        ("response", row["response"]),
        *(("transcription", words) for words in spoken if words != NO_TRANSCRIPTION),
        *(("system prompt", words) for words in system),
        ("id", str(row.get("id") or "")),
    ]
    items = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in lines)
    players = "".join(_player(root, str(clip["audio"])) for clip in clips)
    return (
        f'<div class="clip" data-source="{escape(source)}" data-kind="{escape(kind)}">{players}'
        f'<dl>{items}</dl><span class="soft">{escape(source)} · {escape(kind)}</span></div>'
    )


def _player(root: Path, path: str) -> str:
    place = inside(root, path)
    if place is None:
        return paragraph(f"Cannot be played: {path} lies outside {root}", "missing")
    return player(root / place, max_seconds=SAMPLE_SECONDS)


def _counts(found: Contents) -> str:
    kinds = sorted({kind for counts in found.counts.values() for kind in counts})
    rows: list[list[str | int]] = [
        [source, *(counts[kind] for kind in kinds), counts.total()]
        for source, counts in sorted(found.counts.items())
    ]
    return table(["source", *kinds, "all"], rows)


def _lengths(found: Contents) -> str:
    rows: list[list[str | int]] = [
        [n, *quantiles(found.lengths[n]).values()] for n in LENGTHS if found.lengths[n]
    ]
    return table(["text", "least", "median", "95 %", "most"], rows)


def _reasons(what: str, reasons: Reasons[str]) -> str:
    rows: list[list[str | int]] = [
        [row["count"], row["reason"], row["example"]] for row in reasons.table()
    ]
    return table(["count", what, "example"], rows)
