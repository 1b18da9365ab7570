"""Corpora of Debian packages."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
from corpora import Corpus, record, sound, write

SHARE = "usr/share"
GAMES = f"{SHARE}/games"
FESTVOX = f"{SHARE}/festival/voices/russian/msu_ru_nsh_clunits"
UNTOLD = "the file name does not tell what is heard"
SCRATCH, GCOMPRIS = f"{SHARE}/scratch/Media/Sounds", f"{SHARE}/gcompris-qt/rcc"
FREEPATS = f"{SHARE}/midi/freepats"
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


def make_festvox_ru(root: Path) -> None:
    voice = root / FESTVOX
    lines = ('( ru_0001 "Прядь волнистых вол+ос, за ухо, - она." )', '( ru_0002 "" )')
    write(voice, "etc/txt.done.data", *lines)
    record(voice / "wav", "ru_0001.wav", "ru_0002.wav")


def make_fillets(root: Path) -> None:
    game = root / GAMES / "fillets-ng"
    lines = {
        "let-m-divna": ("font_small", "Co je to za divnou loď?"),
        "let-v-oko": ("font_big", 'Vidíš to \\"oko\\"?'),
        "kni-sklapni": ("font_parrot", "Sklapni!"),
        "z-c-1": ("", ""),
    }
    for language, words in (("cs", lines), ("nl", {**lines, "kni-sklapni": ("", "")})):
        script = [
            text
            for id, (font, said) in words.items()
            for text in (f'dialogId("{id}", "{font}", "English")', "dialogStr(", f'"{said}")', "")
        ]
        write(game, f"script/airplane/dialogs_{language}.lua", *script)
        record(game / f"sound/airplane/{language}", *(f"{id}.ogg" for id in lines))
    write(
        game, "script/share/bore_dialogs_nl.lua", 'dialogId("b-1", "font_big", "") dialogStr("Hm.")'
    )
    record(game / "sound/share", "borejokes/nl/b-1.ogg", "sp-dead_big.ogg")
    record(game / "sound/city/en", "vit-x-end.ogg")


def make_wesnoth(root: Path) -> None:
    folder = root / GAMES / "wesnoth/1.16"
    names = ("ambient/birds1.ogg", "goblin-hit-1.ogg", "human-female-die-1.ogg", "wolf-hit-2.wav")
    record(folder / "data/core/sounds", *names)
    write(folder, "data/core/sounds/README.txt", "sounds")
    record(folder, "sounds/bell.wav", "data/campaigns/World_Conquest/sounds/witches-laugh.wav")


def make_widelands(root: Path) -> None:
    names = ("music/intro.ogg", "sound/animals/bird1_00.ogg", "sound/smiths/toolsmith_01.ogg")
    record(root / GAMES / "widelands/data", *names, "world/critters/duck/duck_00.ogg")


def make_lincity(root: Path) -> None:
    record(root / GAMES / "lincity-ng/sounds", "TraficHigh1.wav", "WindMill2.wav", "School1.wav")


def make_hedgewars(root: Path) -> None:
    folder = root / GAMES / "hedgewars/Data/Sounds"
    record(folder, "Droplet2.ogg", "rcplane.ogg", "1C.ogg")
    record(folder / "voices/Default_es", "Byebye.ogg", "Laugh.ogg", "Jump1.ogg")
    record(folder / "voices/Pirate", "Byebye.ogg", "PoisonCough.ogg")


def make_scratch(root: Path) -> None:
    names = ("Human/Laugh-male2.wav", "Animal/Dog1.wav", "Electronic/Zoop.wav")
    record(root / SCRATCH, *names, "Instruments/Dijjeridoo.mp3")


def resources(folder: str, files: Mapping[str, bytes]) -> bytes:
    """Return a resource file of Qt with one folder."""
    names = contents = b""
    tree = struct.pack(">IHII", 0, 2, 1, 1) + struct.pack(">IHII", 0, 2, len(files), 2)
    for name in (folder, *files):
        if content := files.get(name):
            place = len(contents)
            tree += struct.pack(">IHHHI", len(names), 0, 0, 0, place)
            contents += struct.pack(">I", len(content)) + content
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    starts = (20, 20 + len(tree), 20 + len(tree) + len(contents))
    return struct.pack(">4s4I", b"qres", 1, *starts) + tree + contents + names


def make_gcompris(root: Path) -> None:
    folder = root / GCOMPRIS
    folder.mkdir(parents=True)
    for activity, names in {
        "traffic": ("car.wav", "car.svg"),
        "instruments": ("drum_kit.ogg",),
        "chronos": ("1.ogg",),
    }.items():
        files = {name: sound(0.5, seed=len(name)) for name in names}
        (folder / f"{activity}.rcc").write_bytes(resources(activity, files))


def patch(*notes: tuple[int, bytes]) -> bytes:
    """Return a patch of 8-bit notes that loop: pitch in mHz and samples at 8 kHz."""
    data = b"GF1PATCH110\0ID#000002\0".ljust(198, b"\0") + bytes([len(notes)])
    data = data.ljust(239, b"\0")
    for pitch, samples in notes:
        fields = struct.pack("<3IH3I", len(samples), 0, len(samples), 8000, 0, 0, pitch)
        data += (b"NOTE".ljust(8, b"\0") + fields).ljust(55, b"\0") + b"\x04"
        data += bytes(40) + samples
    return data


def make_freepats(root: Path) -> None:
    notes = {
        "Tone_000/040_Violin.pat": ((440_000, bytes(range(100))), (261_626, bytes(range(50)))),
        "Drum_000/038_Snare_1.pat": ((73_416, bytes(range(100))),),
        "Tone_000/122_Seashore.pat": ((880_000, bytes(range(100))),),
    }
    for name, samples in notes.items():
        path = root / FREEPATS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(patch(*samples))


def catalogue(sounds: Mapping[str, bytes]) -> bytes:
    """Return a catalogue of OpenTTD."""
    entries, body = b"", b""
    for title, wav in sounds.items():
        offset = 8 * len(sounds) + len(body)
        entries += struct.pack("<II", offset | 1 << 31, len(wav))
        name = title.encode() + b"\0"
        body += bytes([len(name)]) + name + wav + b"\4x.w\0"
    return entries + body


def make_openttd(root: Path) -> None:
    folder = root / GAMES / "openttd/baseset/opensfx"
    folder.mkdir(parents=True)
    titles = (
        '"Wind". Original "wind1.wav" by "Anton". License: CC-BY.',
        '"Heavy wind". Original "wind1.wav" by "Anton". License: CC-BY.',
        '"Explosion". By Janis Lukss. License: CC-BY.',
        '"Unused/Nothing". Trivial empty sound file.',
    )
    sounds = {title: sound(0.5, seed=seed) for seed, title in enumerate(titles)}
    (folder / "opensfx.cat").write_bytes(catalogue(sounds))


CORPORA = {
    "asterisk-prompts": Corpus(
        build=make_asterisk_prompts,
        needed=(f"{SHARE}/asterisk/sounds",),
        left={SOUND_NOT_WORDS: 2, "silence on purpose": 1},
    ),
    "festvox-ru": Corpus(
        build=make_festvox_ru,
        needed=(f"{FESTVOX}/etc/txt.done.data", f"{FESTVOX}/wav"),
        left={"no text for it": 1},
    ),
    "fillets": Corpus(
        build=make_fillets,
        needed=(f"{GAMES}/fillets-ng/sound", f"{GAMES}/fillets-ng/script"),
        left={"no text for it": 3, "a sound, or a voice of every language": 2},
    ),
    "wesnoth": Corpus(build=make_wesnoth, needed=(f"{GAMES}/wesnoth",), left={UNTOLD: 1}),
    "widelands": Corpus(
        build=make_widelands, needed=(f"{GAMES}/widelands/data",), left={UNTOLD: 1}
    ),
    "lincity": Corpus(build=make_lincity, needed=(f"{GAMES}/lincity-ng/sounds",), left={UNTOLD: 1}),
    "openttd": Corpus(
        build=make_openttd,
        needed=(f"{GAMES}/openttd/baseset/opensfx",),
        left={"its title does not tell what is heard": 1},
    ),
    "hedgewars": Corpus(
        build=make_hedgewars,
        needed=(f"{GAMES}/hedgewars/Data/Sounds", f"{GAMES}/hedgewars/Data/Sounds/voices"),
        left={
            UNTOLD: 1,
            "a cry that may mean anything": 1,
            "neither its language nor its words are stated": 1,
        },
    ),
    "scratch": Corpus(build=make_scratch, needed=(SCRATCH,), left={UNTOLD: 1}),
    "gcompris": Corpus(build=make_gcompris, needed=(GCOMPRIS,), left={UNTOLD: 1}),
    "freepats": Corpus(build=make_freepats, needed=(FREEPATS,), left={UNTOLD: 1}),
}
