"""Sounds of programs that children learn with: GCompris, Scratch."""

from collections.abc import Iterator
from pathlib import Path

from desta.errors import DataError
from desta.sources.base import Metadata, Skipped, Source, relative_id
from desta.sources.containers import Damaged, read_resources
from desta.sources.files import keep, list_files
from desta.sources.sound.named import UNTOLD, find_name, named_sound

_SCRATCH = "usr/share/scratch/Media/Sounds"
_GCOMPRIS = "usr/share/gcompris-qt/rcc"
_RECORDINGS = (".ogg", ".wav")

_SCRATCH_SOUNDS = (
    (r"Animal/Bird", "Bird"),
    (r"Animal/(Cat|Meow)", "Cat"),
    (r"Animal/Crickets?", "Cricket"),
    (r"Animal/Dog\d", "Dog"),
    (r"Animal/Duck", "Duck"),
    (r"Animal/Goose", "Goose"),
    (r"Animal/Horse", "Horse"),
    (r"Animal/HorseGallop", "Galloping horse"),
    (r"Animal/Kitten", "Kitten"),
    (r"Animal/Owl", "Owl"),
    (r"Animal/Rooster", "Rooster"),
    (r"Animal/SeaLion", "Sea lion"),
    (r"Animal/WolfHowl", "Wolf"),
    (r"Effects/BellToll", "Bell"),
    (r"Effects/Bubbles", "Bubbles"),
    (r"Effects/CarPassing", "Car"),
    (r"Effects/DoorClose", "Closing door"),
    (r"Effects/DoorCreak", "Creaking door"),
    (r"Effects/MotorcyclePassing", "Motorcycle"),
    (r"Effects/Plunge", "Splash"),
    (r"Effects/Rattle", "Rattle"),
    (r"Effects/Ripples", "Ripples"),
    (r"Effects/SewingMachine", "Sewing machine"),
    (r"Effects/Typing", "Typing"),
    (r"Effects/WaterDrop", "Dripping water"),
    (r"Effects/WaterRunning", "Running water"),
    (r"Electronic/ComputerBeeps\d", "Computer"),
    (r"Electronic/Laser\d", "Laser"),
    (r"Human/BabyCry", "Crying baby"),
    (r"Human/Cough-.*", "Cough"),
    (r"Human/FingerSnap", "Finger snap"),
    (r"Human/Footsteps-\d", "Footsteps"),
    (r"Human/Laugh-.*", "Laughter"),
    (r"Human/PartyNoise", "Party"),
    (r"Human/Scream-.*", "Scream"),
    (r"Human/Slurp", "Slurp"),
    (r"Human/Sneeze-.*", "Sneeze"),
    (r"Percussion/HandClap", "Hand clap"),
)
_SCRATCH_INSTRUMENTS = (
    (r"Instruments/Dijjeridoo", "Didgeridoo"),
    (r"Instruments/GuitarStrum|Music Loops/GuitarChords\d", "Guitar"),
    (r"Instruments/Tambura", "Tambura"),
    (r"Instruments/Trumpet\d", "Trumpet"),
    (r"Music Loops/Drum", "Drum"),
    (r"Music Loops/DrumMachine", "Drum machine"),
    (r"Music Loops/DrumSet\d", "Drum kit"),
    (r"Music Loops/[Xx]ylo\d", "Xylophone"),
    (r"Percussion/(CymbalCrash|RideCymbal)", "Cymbal"),
    (r"Percussion/Gong", "Gong"),
    (r"Percussion/Shaker", "Shaker"),
    (r"(Music Loops/Human|Vocals/)Beat[Bb]ox\d", "Beatbox"),
)

_GCOMPRIS_SOUNDS = (
    (r"explore_farm_animals/animals/cat", "Cat"),
    (r"explore_farm_animals/animals/chickens", "Chicken"),
    (r"explore_farm_animals/animals/cow", "Cow"),
    (r"explore_farm_animals/animals/dog|memory-sound/LRBark_\d.*", "Dog"),
    (r"explore_farm_animals/animals/duck", "Duck"),
    (r"explore_farm_animals/animals/horse", "Horse"),
    (r"explore_farm_animals/animals/owl", "Owl"),
    (r"explore_farm_animals/animals/pig", "Pig"),
    (r"explore_farm_animals/animals/sheep", "Sheep"),
    (r"canal_lock/door_(close|open)|memory-sound/LRDoor_.*", "Door"),
    (r"canal_lock/water_fill|core/sounds/water", "Water"),
    (r"clickgame/drip", "Dripping water"),
    (r"(clickgame|watercycle)/bubble", "Bubbles"),
    (r"core/sounds/bleep", "Beep"),
    (r"core/sounds/crash", "Crash"),
    (r"gnumch-equality/eat", "Eating"),
    (r"guessnumber/helicopter", "Helicopter"),
    (r"memory-sound/LRApplauses_.*", "Applause"),
    (r"memory-sound/LRFactory_noise_.*", "Factory"),
    (r"memory-sound/LRFrogsInPond.*", "Frog"),
    (r"memory-sound/LRHeart_beat_.*", "Heartbeat"),
    (r"memory-sound/LRObject_falling_.*", "Falling object"),
    (r"memory-sound/LRRain_in_garden_.*", "Rain"),
    (r"memory-sound/LRStartAndStopCarEngine.*|traffic/car", "Car"),
    (r"memory-sound/LRTrain_.*|railroad/sounds/train", "Train"),
    (r"mining/pickaxe", "Pickaxe"),
    (r"money/money\d", "Coins"),
    (r"morse_code/(dash|dot)", "Morse code"),
    (r"reversecount/icy_walk", "Footsteps"),
    (r"target/arrow", "Arrow"),
)
_GCOMPRIS_INSTRUMENTS = (
    (r"instruments/drum_kit", "Drum kit"),
    (r"instruments/electric_guitar", "Electric guitar"),
    (r"instruments/flute_traversiere", "Flute"),
    (r"instruments/horn", "Horn"),
    (r"instruments/snare_drum", "Snare drum"),
    *(
        (rf"instruments/{name}", name.capitalize())
        for name in (
            *("accordion", "banjo", "bongo", "castanets", "cello", "clarinet", "cymbal", "guitar"),
            *("harmonica", "harp", "maracas", "organ", "piano", "saxophone", "tambourine"),
            *("timpani", "triangle", "trombone", "trumpet", "tuba", "violin"),
        )
    ),
    (r"melody/xylofon_son\d", "Xylophone"),
    (r"memory-sound/guitar_.*", "Guitar"),
    (r"memory-sound/LRBuddhist_gong_.*", "Gong"),
)


def read_scratch(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield animals, humans, things and instruments: `Human/Laugh-male1.wav`.

    Folder and name tell what is heard, of some humans also the sex.
    """
    bring = "`desta sources fetch scratch` fetches it"
    for path in list_files(root, _SCRATCH, "*/*.*", source="scratch", bring=bring):
        id = relative_id(path, root / _SCRATCH)
        audio = path.relative_to(root).as_posix()
        if heard := find_name(_SCRATCH_SOUNDS, id):
            yield named_sound("scratch", id, audio, heard)
        elif instrument := find_name(_SCRATCH_INSTRUMENTS, id):
            yield _played("scratch", id, audio, instrument)
        else:
            yield Skipped(id=id, reason=UNTOLD)


def read_gcompris(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield farm animals, instruments, and sounds to remember, out of the files of its activities.

    `rcc/instruments.rcc` is a resource file of Qt; recordings in it are kept as they are. Pieces
    of world music are left out: their names are of regions.
    """
    bring = "`desta sources fetch gcompris` fetches it"
    for path in list_files(root, _GCOMPRIS, "*.rcc", source="gcompris", bring=bring):
        try:
            for name, content in read_resources(path.read_bytes()):
                if Path(name).suffix in _RECORDINGS:
                    yield _resource(root, name, content)
        except Damaged as error:
            raise DataError(
                f"gcompris: {path} is damaged: {error}",
                fix=f"{bring} again, or describe a corpus of your own with `desta describe custom`",
            ) from error


def _resource(root: Path, name: str, content: bytes) -> Metadata | Skipped:
    """Return one recording; `gcompris/src/activities/traffic/resource/car.wav` is `traffic/car`."""
    path = Path(name)
    id = "/".join(
        part
        for part in path.with_suffix("").parts
        if part not in ("gcompris", "src", "activities", "resource")
    )
    heard, instrument = find_name(_GCOMPRIS_SOUNDS, id), find_name(_GCOMPRIS_INSTRUMENTS, id)
    if heard is None and instrument is None:
        return Skipped(id=id, reason=UNTOLD)
    audio = keep(root, f"gcompris/{id.replace('/', '-')}-", path.suffix, content)
    if heard:
        return named_sound("gcompris", id, audio, heard)
    return _played("gcompris", id, audio, str(instrument))


def _played(source: str, id: str, audio: str, instrument: str) -> Metadata:
    return Metadata(
        id=id,
        audio=audio,
        domain="music",
        attributes={"Instrument": instrument},
        group=f"{source}/{instrument}",
    )


LEARNING_SOURCES = (
    Source(
        name="gcompris",
        title="GCompris, farm animals, instruments and sounds to remember",
        domains=("sound", "music"),
        licence="GPL-3.0 or later as a whole; sounds CC0, CC-BY, CC-BY-SA or public domain",
        obtain="a Debian package; `desta sources fetch` unpacks it",
        layout="confirmed",
        cited="the files of the package",
        read=read_gcompris,
        packages=("gcompris-qt-data",),
    ),
    Source(
        name="scratch",
        title="Scratch 1.4, animals, humans, things and instruments",
        domains=("sound", "music"),
        licence="CC-BY-SA-3.0",
        obtain="a Debian package; `desta sources fetch` unpacks it",
        layout="confirmed",
        cited="the files of the package",
        read=read_scratch,
        packages=("scratch",),
    ),
)
