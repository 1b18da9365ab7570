"""Corpora of noise, and their descriptions."""

from pathlib import Path

from desta.records import Clip
from desta.sources.describe import Description
from support.recordings import record

# fmt: off
CLOSED_ATTRIBUTES = {
    "Accent", "Act", "Category", "Codec", "Country", "Dialect", "Emotion", "Ethnicity", "Gender",
    "Genre", "Instrument", "Instrument family", "Intended emotion", "Intensity", "Interval",
    "Language", "Method", "Native language", "Noise", "Noise level", "Note",
    "Number of instruments", "Number of speakers", "Pitch", "Qualities", "Race", "Reverberation",
    "Second note", "Sentiment", "Socioeconomic background", "Sound", "Sound class", "Source",
    "Speaking speed", "Speech quality", "Stroke", "Style", "Tempo", "Tonic", "Voice", "Volume",
}
"""Attributes whose values are words out of a list: one that a clip has not is wrong of it."""
# fmt: on

STAMPS = "usr/share/tuxpaint/stamps"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def reasons(description: Description) -> dict[str, int]:
    return {reason: n.count for reason, n in description.skipped.most_common()}


def by_id(description: Description) -> dict[str, Clip]:
    return {clip.id: clip for clip in description.clips}


def make_stamps(root: Path) -> None:
    stamps = root / STAMPS
    write(
        stamps / "animals/amphibians/frog.txt", "A frog.\nfr.utf8=Une grenouille.\nbe.utf8=Жаба.\n"
    )
    write(stamps / "symbols/math/1.txt", "One.\nfr.utf8=Un.\nzh_TW.utf8=一\n")
    write(stamps / "household/tools/saw.txt", "A saw.\n")
    write(stamps / "town/sign.txt", "A road sign.\n")
    frogs = [f"animals/amphibians/frog{end}" for end in ("", "_desc", "_desc_fr", "_desc_be")]
    names = (
        *frogs,
        "animals/amphibians/frog_desc_el",
        "symbols/math/1",
        "symbols/math/1_fr",
        "symbols/math/1_zh_tw",
        "symbols/letters/a_filled_en_GB",
        "household/tools/saw",
        "town/sign",
    )
    for seed, name in enumerate(names):
        record(stamps / f"{name}.ogg", seed=seed)
