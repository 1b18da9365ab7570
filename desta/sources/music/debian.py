"""Corpora of music: Sonic Pi's samples."""

import re
from collections.abc import Iterator
from pathlib import Path

from desta.errors import DataError
from desta.sources.base import Metadata, Skipped, Source, find_folder, relative_id
from desta.sources.files import read_text, visible
from desta.sources.sound.named import UNTOLD, find_name

_SAMPLES = "usr/share/sonic-pi/samples"
_CREDIT = re.compile(r"`:(\w+)` - \S*freesound\.org/people/([^/\s]+)")

_CATEGORIES = {
    "ambi": "Ambience",
    "bass": "Bass note",
    "bd": "Drum hit",
    "drum": "Drum hit",
    "elec": "Electronic sound",
    "glitch": "Electronic sound",
    "guit": "Guitar phrase",
    "loop": "Loop",
    "mehackit": "Electronic sound",
    "perc": "Percussion hit",
    "sn": "Drum hit",
    "tabla": "Drum hit",
    "vinyl": "Turntable effect",
}
"""First part of the file name -> kind of sample."""

_INSTRUMENTS = (
    (r"ambi_choir", "Choir"),
    (r"ambi_piano", "Piano"),
    (r"ambi_glass_.*", "Glass"),
    (r"bass_.*", "Bass synthesizer"),
    (r"bd_.*|drum_bass_.*|drum_heavy_kick|elec_(hollow|soft)_kick", "Bass drum"),
    (r"drum_cowbell", "Cowbell"),
    (r"drum_(cymbal|splash)_.*|elec_cymbal", "Cymbal"),
    (r"drum_(snare_.*|roll)|sn_.*|elec_((filt|hi|lo|mid)_)?snare", "Snare drum"),
    (r"drum_tom_.*|elec_fuzz_tom", "Tom drum"),
    (r"elec_(bell|chime)|perc_bell2?", "Bell"),
    (r"elec_triangle", "Triangle"),
    (r"elec_wood", "Wood block"),
    (r"guit_.*", "Guitar"),
    (r"loop_(amen|amen_full|breakbeat)", "Drum kit"),
    (r"loop_tabla|tabla_.*", "Tabla"),
    (r"perc_snap2?", "Finger snap"),
    (r"vinyl_.*", "Turntable"),
    (r"(elec|glitch|mehackit)_.*", "Synthesizer"),
)
"""Pattern of the file name -> instrument; the first match counts."""


def read_sonic_pi(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield the samples of a music programming language: notes, hits, loops and ambiences.

    The file name states kind and instrument: `drum_snare_hard.flac`. README.md states from whom
    each comes: what one person recorded (a drum kit) stays in one split.
    """
    folder = find_folder(root, _SAMPLES, source="sonic-pi")
    paths = visible(folder, "*.flac")
    if not paths:
        raise DataError(f"sonic-pi: {folder} holds no flac files", fix="install sonic-pi-samples")
    readme = folder / "README.md"
    people = dict(_CREDIT.findall(read_text(readme))) if readme.is_file() else {}
    for path in paths:
        category = _CATEGORIES.get(path.stem.partition("_")[0])
        if category is None:  # misc_burp, misc_crow, misc_cineboom
            yield Skipped(id=path.stem, reason=UNTOLD)
            continue
        yield Metadata(
            id=relative_id(path, folder),
            audio=path.relative_to(root).as_posix(),
            attributes={"Instrument": find_name(_INSTRUMENTS, path.stem), "Category": category},
            group=f"freesound/{people[path.stem]}" if path.stem in people else None,
        )


DEBIAN_SOURCES = (
    Source(
        name="sonic-pi",
        title="Sonic Pi's instrument, drum, loop and ambience samples",
        domains=("music",),
        licence="CC0-1.0",
        obtain="Debian packages; `desta sources fetch` unpacks them",
        layout="confirmed",
        cited="the files of the packages",
        read=read_sonic_pi,
        packages=("sonic-pi-samples",),
    ),
)
