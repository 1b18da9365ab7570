"""Corpora of played and sung music: FMA, GTZAN, OpenSinger."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from desta.errors import DataError
from desta.sources.base import (
    NOT_WHOLE,
    Metadata,
    Skipped,
    Source,
    find_file,
    find_folder,
    of_split,
    readable,
    relative_id,
    spoken,
)
from desta.sources.files import read_words, visible
from desta.sources.glossary import JOINED
from desta.sources.tables import read_cells, read_rows

_FMA_SUBSETS = {"fma_full": 3, "fma_large": 3, "fma_medium": 2, "fma_small": 1}
"""Folder -> number of the subsets small, medium and large in it; the first existing one counts."""
_FMA_RANKS = {"small": 1, "medium": 2, "large": 3}
_FMA_COLUMNS = (
    ("set", "split"),
    ("set", "subset"),
    ("track", "genre_top"),
    ("track", "genres"),
)
_FMA_TABLES = "unpack fma_metadata.zip"

_GTZAN_FOLDERS = ("genres", "genres_original")
_GENRES = {"hiphop": "Hip-Hop"}  # as FMA writes it

_SINGERS = {"ManRaw": "Male", "WomanRaw": "Female"}


def read_fma(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield tracks of the Free Music Archive with their genres: `fma_large/000/000002.mp3`.

    `fma_metadata/tracks.csv` has two lines of column names and a third with that of the index.
    """
    folder = next((name for name in _FMA_SUBSETS if (root / name).is_dir()), None)
    if folder is None:
        folder = find_folder(root, "fma_large", source="fma", bring="unpack fma_large.zip").name
    table = find_file(root, "fma_metadata/tracks.csv", source="fma", bring=_FMA_TABLES)
    names = _fma_genres(root)
    for number, track in _fma_tracks(table):
        id = f"{number:0>6}"
        if track is None or not number.isdecimal():
            yield Skipped(id=id, reason=NOT_WHOLE, broken=True)
        elif track["set", "split"] != "training":
            yield of_split(id, track["set", "split"])
        elif _FMA_RANKS.get(track["set", "subset"], 3) > _FMA_SUBSETS[folder]:
            yield Skipped(id=id, reason=f"not in the subset {folder}")
        elif not (genres := _genres_of(track, names)):
            yield Skipped(id=id, reason="no genre is stated")
        else:
            yield Metadata(
                id=id,
                audio=f"{folder}/{id[:3]}/{id}.mp3",
                attributes={"Genre": genres},
                split="train",
            )


def _fma_tracks(path: Path) -> Iterator[tuple[str, Mapping[tuple[str, str], str] | None]]:
    """Yield the number of each track and its row; None if the row is incomplete."""
    rows = read_cells(path)
    columns = list(zip(next(rows, []), next(rows, []), strict=False))
    next(rows, [])
    if missing := [column for column in _FMA_COLUMNS if column not in columns]:
        raise DataError(
            f"fma: {path} is not its table of tracks: it lacks {'/'.join(missing[0])}",
            fix=_FMA_TABLES,
        )
    for row in rows:
        track = dict(zip(columns, row, strict=False))
        yield row[0], track if len(row) == len(columns) else None


def _fma_genres(root: Path) -> Mapping[str, str]:
    path = find_file(root, "fma_metadata/genres.csv", source="fma", bring=_FMA_TABLES)
    return {row["genre_id"]: row["title"] for row in read_rows(path, "genre_id", "title")}


def _genres_of(track: Mapping[tuple[str, str], str], names: Mapping[str, str]) -> str:
    """Return the genre at the root of the taxonomy; where there are several, the stated ones."""
    if top := track["track", "genre_top"]:
        return top
    numbers = re.findall(r"\d+", track["track", "genres"])  # [1, 17]
    return JOINED.join(names[number] for number in numbers if number in names)


def read_gtzan(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield excerpts of 30 seconds of ten genres: `genres/blues/blues.00000.wav`.

    There is no official split.
    """
    folder = next((name for name in _GTZAN_FOLDERS if (root / name).is_dir()), "genres")
    genres = find_folder(root, folder, source="gtzan", bring="unpack genres.tar.gz")
    for path in visible(genres, "*/*"):
        if path.suffix in (".wav", ".au"):
            genre = path.parent.name
            yield Metadata(
                id=path.stem,
                audio=path.relative_to(root).as_posix(),
                attributes={"Genre": _GENRES.get(genre, readable(genre))},
            )


def read_opensinger(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield phrases of Chinese songs: `WomanRaw/0_SONG/0_SONG_0.wav`, words in the .txt beside it.

    The outer folder states the singer's sex, the inner one the song.
    """
    if not any((root / name).is_dir() for name in _SINGERS):
        find_folder(root, "ManRaw", source="opensinger", bring="unpack OpenSinger.tar.gz")
    for name, sex in _SINGERS.items():
        for path in visible(root / name, "*/*.wav"):
            words = read_words(path.with_suffix(".txt"))
            yield Metadata(
                id=relative_id(path, root),
                audio=path.relative_to(root).as_posix(),
                segments=spoken(words) if words else (),
                attributes={
                    "Language": "Chinese",
                    "Gender": sex,
                    "Song": path.parent.name.partition("_")[2],
                },
            )


PIECE_SOURCES = (
    Source(
        name="fma",
        title="FMA, tracks of the Free Music Archive in 161 genres",
        domains=("music",),
        licence="metadata CC-BY-4.0; each track has the licence its artist chose",
        obtain="archives linked from mdeff/fma on GitHub: fma_metadata.zip, and fma_small.zip, "
        "fma_medium.zip, fma_large.zip or fma_full.zip",
        layout="confirmed",
        cited="mdeff/fma, README.md and utils.py",
        read=read_fma,
    ),
    Source(
        name="gtzan",
        title="GTZAN, a thousand excerpts of ten genres",
        domains=("music",),
        licence="none found stated",
        obtain="copies by third parties, such as marsyas/gtzan on the Hugging Face Hub",
        layout="confirmed",
        cited="pytorch/audio, torchaudio/datasets/gtzan.py",
        read=read_gtzan,
    ),
    Source(
        name="opensinger",
        title="OpenSinger, Chinese songs phrase by phrase",
        domains=("music",),
        licence="CC-BY-NC-SA",
        obtain="link on multi-singer.github.io; whoever downloads it agrees to the licence",
        layout="confirmed",
        cited="open-mmlab/Amphion, preprocessors/opensinger.py (folders); that the .txt holds the "
        "words is believed",
        read=read_opensinger,
    ),
)
