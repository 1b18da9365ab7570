"""Sounds of games: Hedgewars, LinCity-NG, OpenTTD, Battle for Wesnoth, Widelands."""

import re
from collections.abc import Iterator
from pathlib import Path

from desta.errors import DataError
from desta.sources.base import Metadata, Skipped, Source, find_folder, relative_id, spoken
from desta.sources.containers import Damaged, read_catalogue
from desta.sources.files import keep, list_files, visible
from desta.sources.languages import language_name
from desta.sources.sound.named import find_name, named_sound, read_named

_GAMES = "usr/share/games"
_OBTAIN = "a Debian package; `desta sources fetch` unpacks it"
_CITED = "the files of the package"

_WESNOTH = (
    (r"ambient/birds\d", "Bird"),
    (r"ambient/campfire", "Campfire"),
    (r"ambient/wardrums", "War drums"),
    (r"horn-signals/.*", "Signal horn"),
    (r"(axe|hatchet(-miss)?)", "Axe"),
    (r"bat-flapping", "Flapping wings"),
    (r"bow(-.*)?", "Bow"),
    (r"cave-in", "Rockfall"),
    (r"crossbow(-.*)?", "Crossbow"),
    (r"(dagger-swish|(throwing-)?knife(-miss)?)", "Knife"),
    (r"explosion", "Explosion"),
    (r"(fire|flame-big(-miss)?)", "Fire"),
    (r"gold", "Coins"),
    (r"gunshot", "Gun"),
    (r"horse-(elf-)?canter", "Galloping horse"),
    (r"horse-(die|hit).*", "Horse"),
    (r"human-.*", "Cry of pain"),
    (r"sword-\d", "Sword"),
    (r"wolf-.*", "Wolf"),
    (r"(dwarf|witches)-laugh", "Laughter"),
    (r"bell", "Bell"),
)

_WIDELANDS = (
    (r"sound/animals/bird.*", "Bird"),
    (r"sound/animals/boar", "Wild boar"),
    (r"sound/animals/coyote_\d+", "Coyote"),
    (r"sound/animals/crickets.*", "Cricket"),
    (r"sound/animals/frog", "Frog"),
    (r"sound/animals/moose_\d+", "Moose"),
    (r"sound/animals/stag_\d+", "Stag"),
    (r"sound/animals/wolf_\d+", "Wolf"),
    (r"world/critters/duck/.*", "Duck"),
    (r"sound/farm/donkey", "Donkey"),
    (r"sound/farm/horse_\d+", "Horse"),
    (r"sound/farm/ox_\d+", "Ox"),
    (r"sound/farm/scythe_\d+", "Scythe"),
    (r"sound/farm/sheep_\d+", "Sheep"),
    (r"sound/atlanteans/saw/.*|sound/sawmill/.*", "Saw"),
    (r"sound/(atlanteans/cutting|stonecutting)/.*", "Stonecutting"),
    (r"sound/barbarians/weaver|sound/mill/weaving", "Loom"),
    (r"sound/empire/(beer|wine)bubble_\d+", "Bubbles"),
    (r"sound/hammering/.*", "Hammer"),
    (r"sound/metal/furnace", "Furnace"),
    (r"sound/mill/mill_turning_\d+", "Mill"),
    (r"sound/other/falling_tools_\d+", "Falling tools"),
    (r"sound/smiths/sharpening", "Sharpening"),
    (r"sound/smiths/(tool)?smith_\d+", "Smithy"),
    (r"sound/woodcutting/(fast_)?woodcutting(_\d+)?", "Woodcutting"),
    (r"sound/woodcutting/tree_falling_\d+", "Falling tree"),
)

_LINCITY = (
    (r"Blacksmith\d", "Smithy"),
    (r"Fire\d", "Fire"),
    (r"Industry(High|Light)\d", "Factory"),
    (r"(Wind)?Mill\d", "Mill"),
    (r"RailTrain\d", "Train"),
    (r"RocketExplosion\d", "Explosion"),
    (r"RocketTakeoff\d", "Rocket"),
    (r"SportsCroud\d", "Sports crowd"),
    (r"Trafic(High|Low)\d", "Traffic"),
    (r"Water\d", "Water"),
)
"""Most names are of buildings (a school, a market), which sound like many things."""

_OPENSFX = (
    (r"Factory Whistle", "Factory whistle"),
    (r"Steam train station departure|Steam engine going in tunnel", "Steam train"),
    (r"Ship horn", "Ship horn"),
    (r"Ferry horn", "Ferry horn"),
    (r"Propeller plane start", "Propeller plane"),
    (r"(Early|Mach 1\+|Modern) [Jj]et take off", "Jet plane"),
    (r"(Diesel/electric|Maglev|Monorail) train station departure", "Electric train"),
    (r"Mining machinery", "Mining machinery"),
    (r"Electric sparking", "Electric sparks"),
    (r"Steam \(of steam engine\)", "Steam"),
    (r"Level crossing", "Level crossing"),
    (r"(Big c|C)rash", "Crash"),
    (r"Explosion", "Explosion"),
    (r"Cash till", "Cash till"),
    (r"Beep", "Beep"),
    (r"Morse", "Morse code"),
    (r"Helicopter", "Helicopter"),
    (r"Truck/old bus start, pull away", "Truck"),
    (r"(Modern|Old) bus start", "Bus"),
    (r"Applause", "Applause"),
    (r"Jackhammer", "Jackhammer"),
    (r"Modern car horn", "Car horn"),
    (r"Sheep", "Sheep"),
    (r"Cow", "Cow"),
    (r"Horse", "Horse"),
    (r"Sawmill", "Sawmill"),
    (r"(Heavy wind|Wind)", "Wind"),
    (r"Lumber mill: (Crashing|Falling) tree", "Falling tree"),
    (r"Lumber mill: Chainsaw", "Chainsaw"),
    (r"Tropical: Bird \(\d\)", "Bird"),
    (r"Tropical: Monkeys", "Monkey"),
    (r"Toyland: Bubble generated", "Bubbles"),
)
"""Title -> what is heard. The lion's roar is a woman's growl, says its credit; most toys are
mixtures."""
_TITLE = re.compile(r'"(?P<title>[^"]*)"\W*(Original "(?P<original>[^"]*)")?.*', re.DOTALL)

_HEDGEWARS = (
    (r"Droplet\d", "Dripping water"),
    (r"beep", "Beep"),
    (r"baseballbat", "Baseball bat"),
    (r"blowtorch", "Blowtorch"),
    (r"explosion", "Explosion"),
    (r"flamethrower", "Flamethrower"),
    (r"gun", "Gun"),
    (r"hammer", "Hammer"),
    (r"knife_impact", "Knife"),
    (r"minigun", "Machine gun"),
    (r"pickhammer", "Jackhammer"),
    (r"plane|rcplane", "Plane"),
    (r"rubberduck_(drop|die)", "Rubber duck"),
    (r"shotgunfire", "Shotgun"),
    (r"shutterclick", "Camera shutter"),
    (r"splash", "Splash"),
    (r"steam", "Steam"),
    (r"steps", "Footsteps"),
    (r"whipcrack", "Whip"),
    (r"Whistle", "Whistle"),
)
_CRIES = (
    (r"Laugh", "Laughter"),
    (r"Ooff\d|Ouch|Ow\d", "Cry of pain"),
    (r"PoisonCough", "Cough"),
    (r"PoisonMoan", "Moan"),
)
_NO_WORDS = r"Firepunch\d|Hmm|Jump\d|Nooo|Oops|Uh-oh"
_PACK_LANGUAGE = re.compile(r"Default_(?P<language>[a-z]{2})")


def read_wesnoth(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield weapons, animals, cries and places of a game of battles, by the names of the files.

    What goblins, ghosts and spells sound like nobody can say; they are left out.
    """
    names = [(rf".*\bsounds/{pattern}", heard) for pattern, heard in _WESNOTH]
    pattern = "*/**/sounds/**/*.*"
    yield from read_named(root, "wesnoth", f"{_GAMES}/wesnoth", pattern, names)


def read_widelands(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield animals and trades of a game of settlers, by the names of the files."""
    folder = f"{_GAMES}/widelands/data"
    yield from read_named(root, "widelands", folder, "**/*.ogg", _WIDELANDS)


def read_lincity(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield what a city sounds like: traffic, trains, trades; by the names of the files."""
    yield from read_named(root, "lincity", f"{_GAMES}/lincity-ng/sounds", "*.wav", _LINCITY)


def read_openttd(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield vehicles, animals and trades of a game of transport.

    `opensfx.cat` holds 73 sounds with title, author and licence, kept as WAV. Those that were cut
    from one original are one group.
    """
    folder = f"{_GAMES}/openttd/baseset/opensfx"
    bring = "`desta sources fetch openttd` fetches it"
    (path, *_) = list_files(root, folder, "*.cat", source="openttd", bring=bring)
    try:
        for number, (credit, sound) in enumerate(read_catalogue(path.read_bytes())):
            match = _TITLE.match(credit)
            title = match["title"] if match else credit
            heard = find_name(_OPENSFX, title)
            id = f"{number:02}"
            if heard is None:
                yield Skipped(id=id, reason="its title does not tell what is heard")
                continue
            original = match["original"] if match else None
            yield named_sound(
                "openttd",
                id,
                keep(root, f"openttd/{id}-", ".wav", sound),
                heard,
                group=f"openttd/{original or heard}",
            )
    except Damaged as error:
        raise DataError(
            f"openttd: {path} is damaged: {error}",
            fix=f"{bring} again, or describe a corpus of your own with `desta describe custom`",
        ) from error


def read_hedgewars(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield effects of a game of battles, and cries, coughs and laughs of its voices.

    `Sounds/voices/PACK/ACT.ogg`: 15 voices, each one group. Only four packs (`Default_es`) state
    their language; no words and no sexes are stated. `Sounds/*.ogg` are effects.
    """
    folder = f"{_GAMES}/hedgewars/Data/Sounds"
    yield from read_named(root, "hedgewars", folder, "*.ogg", _HEDGEWARS)
    voices = find_folder(root, f"{folder}/voices", source="hedgewars")
    for path in visible(voices, "*/*.ogg"):
        id = relative_id(path, root / folder)
        audio, pack = path.relative_to(root).as_posix(), path.parent.name
        group = f"voice/hedgewars/{pack}"
        if heard := find_name(_CRIES, path.stem):
            yield named_sound("hedgewars", id, audio, heard, group=group)
        elif re.fullmatch(_NO_WORDS, path.stem):
            yield Skipped(id=id, reason="a cry that may mean anything")
        elif match := _PACK_LANGUAGE.fullmatch(pack):
            yield Metadata(
                id=id,
                audio=audio,
                domain="speech",
                segments=spoken(None),
                attributes={"Language": language_name(match["language"])},
                group=group,
            )
        else:
            yield Skipped(id=id, reason="neither its language nor its words are stated")


GAME_SOURCES = (
    Source(
        name="hedgewars",
        title="Hedgewars, effects and the cries of 15 cartoon voices",
        domains=("sound", "speech"),
        licence="GFDL-1.3 (three drops of water CC-BY-SA-3.0)",
        obtain=_OBTAIN,
        layout="confirmed",
        cited=_CITED,
        read=read_hedgewars,
        packages=("hedgewars-data",),
    ),
    Source(
        name="lincity",
        title="LinCity-NG, sounds of a city",
        domains=("sound",),
        licence="GPL-2.0 or later, or CC-BY-SA-2.0",
        obtain=_OBTAIN,
        layout="confirmed",
        cited=_CITED,
        read=read_lincity,
        packages=("lincity-ng-data",),
    ),
    Source(
        name="openttd",
        title="OpenSFX, vehicles, animals and trades of OpenTTD",
        domains=("sound",),
        licence="CC-BY-SA-3.0 as a whole; each sound CC0, CC-BY or CC-BY-SA",
        obtain=_OBTAIN,
        layout="confirmed",
        cited=_CITED,
        read=read_openttd,
        packages=("openttd-opensfx",),
    ),
    Source(
        name="wesnoth",
        title="Battle for Wesnoth, weapons, animals and cries",
        domains=("sound",),
        licence="GPL-2.0",
        obtain=_OBTAIN,
        layout="confirmed",
        cited=_CITED,
        read=read_wesnoth,
        packages=("wesnoth-1.16-data",),
    ),
    Source(
        name="widelands",
        title="Widelands, animals and trades of settlers",
        domains=("sound",),
        licence="GPL-2.0 or later",
        obtain=_OBTAIN,
        layout="confirmed",
        cited=_CITED,
        read=read_widelands,
        packages=("widelands-data",),
    ),
)
