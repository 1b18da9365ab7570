"""Corpora of Debian packages."""

from pathlib import Path

import numpy as np
import soundfile
from corpora import Corpus, record

SHARE = "usr/share"
SOUND_NOT_WORDS = "a sound, not words"


def make_asterisk_prompts(root: Path) -> None:
    sounds = root / SHARE / "asterisk/sounds"
    record(sounds / "it_IT_f_Menardi", "digits/1.wav", "beep.wav", "silence/1.wav", "vm-rec.wav")
    for number, name in enumerate(("es/pesos.gsm", "fr/digits/1.gsm", "fr/beeperr.gsm")):
        path = sounds / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).uniform(-0.1, 0.1, 4800)
        with path.open("wb") as file:
            soundfile.write(file, noise, 8000, format="RAW", subtype="GSM610")


CORPORA = {
    "asterisk-prompts": Corpus(
        build=make_asterisk_prompts,
        needed=(f"{SHARE}/asterisk/sounds",),
        left={SOUND_NOT_WORDS: 2, "silence on purpose": 1},
    ),
}
