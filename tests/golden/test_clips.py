"""Clips as the readers write them; delete `clips.jsonl` and run this to write it anew."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desta.sources import find_source
from desta.sources.describe import describe

GOLDEN = Path(__file__).with_name("clips.jsonl")
STAMPS = "usr/share/tuxpaint/stamps"
TEXTS = {
    f"{STAMPS}/animals/birds/owl.txt": "An owl.\nfr.utf8=Un hibou.\nel.utf8=Μια κουκουβάγια.\n",
    f"{STAMPS}/symbols/math/2.txt": "Two.\nzh_TW.utf8=二\n",
}
PROMPTS = "activated: Activé.\nbeep: (bip)\nletters/at: arobas [@]\n"
RECORDINGS = (
    "usr/share/asterisk/sounds/fr_CA_f_June/activated.wav",
    "usr/share/asterisk/sounds/fr_CA_f_June/beep.wav",
    "usr/share/asterisk/sounds/fr_CA_f_June/letters/at.wav",
    f"{STAMPS}/animals/birds/owl.ogg",
    f"{STAMPS}/animals/birds/owl_desc_el.ogg",
    f"{STAMPS}/animals/birds/owl_desc_fr.ogg",
    f"{STAMPS}/symbols/math/2.ogg",
    f"{STAMPS}/symbols/math/2_zh_tw.ogg",
    "usr/share/sonic-pi/samples/ambi_drone.flac",
    "usr/share/sonic-pi/samples/tabla_na.flac",
)


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """A root with a little of every corpus."""
    for name, text in TEXTS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    prompts = tmp_path / "usr/share/doc/asterisk-core-sounds-fr/core-sounds-fr.txt.gz"
    prompts.parent.mkdir(parents=True)
    prompts.write_bytes(gzip.compress(PROMPTS.encode()))
    for number, name in enumerate(RECORDINGS, start=1):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ramp = np.linspace(-0.5, 0.5, number * 1_600, dtype=np.float32)
        # as WAV whatever the name: Ogg files carry a random number, and their hash draws the split
        soundfile.write(path, ramp, 16_000, format="FLAC" if path.suffix == ".flac" else "WAV")
    return tmp_path


def test_clips_of_packaged_corpora_are_as_stored(corpora: Path) -> None:
    clips = [
        clip
        for name in ("asterisk", "tuxpaint", "tuxpaint-sounds", "sonic-pi")
        for clip in describe(find_source(name), corpora).clips
    ]
    lines = "".join(f"{json.dumps(clip.to_json(), ensure_ascii=False)}\n" for clip in clips)

    if not GOLDEN.exists():
        GOLDEN.write_text(lines, encoding="utf-8")
        pytest.fail(f"{GOLDEN.name} was missing and is written: look at it, then run this again")

    assert lines == GOLDEN.read_text(encoding="utf-8")
