"""Corpora of music as it is played and sung: FMA, GTZAN, OpenSinger."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from desta.errors import DataError
from desta.sources.base import (
    Metadata,
    Skipped,
    Source,
    find_file,
    find_folder,
    of_split,
    readable,
    spoken,
)
from desta.sources.tables import read_table

_FMA_SUBSETS = {"fma_full": 3, "fma_large": 3, "fma_medium": 2, "fma_small": 1}
"""Folder -> how many of the subsets small, medium and large it holds; the first that is there
counts."""
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
    for id, track in _fma_tracks(table):
        if track["set", "split"] != "training":
            yield of_split(id, track["set", "split"])
        elif _FMA_RANKS.get(track["set", "subset"], 3) > _FMA_SUBSETS[folder]:
            yield Skipped(id=id, reason=f"not in the subset {folder}")
        elif not (genres := _genres_of(track, names)):
            yield Skipped(id=id, reason="no genre is stated")
        else:
            yield Metadata(
                id=id,
                audio=f"{folder}/{id[:3]}/{id}.mp3",
                domain="music",
                attributes={"Genre": genres},
                split="train",
            )


def _fma_tracks(path: Path) -> Iterator[tuple[str, Mapping[tuple[str, str], str]]]:
    """Yield the number of each track, in six digits, and its row."""
    csv.field_size_limit(1 << 24)  # biographies of artists may be longer than the default
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        try:
            columns = list(zip(next(rows), next(rows), strict=True))
            next(rows)
            for row in rows:
                track = dict(zip(columns, row, strict=True))
                yield f"{int(row[0]):06}", {column: track[column] for column in _FMA_COLUMNS}
        except (StopIteration, ValueError, KeyError, csv.Error) as error:
            raise DataError(f"fma: {path} is not its table of tracks", fix=_FMA_TABLES) from error


def _fma_genres(root: Path) -> Mapping[int, str]:
    path = find_file(root, "fma_metadata/genres.csv", source="fma", bring=_FMA_TABLES)
    return {
        int(row["genre_id"]): row["title"]
        for row in read_table(path, columns=("genre_id", "title"))
    }


def _genres_of(track: Mapping[tuple[str, str], str], names: Mapping[int, str]) -> str:
    """Return the genre at the root of the taxonomy; where there are several, the stated ones."""
    if top := track["track", "genre_top"]:
        return top
    stated = json.loads(track["track", "genres"] or "[]")  # [1, 17]
    return " / ".join(names[number] for number in stated if number in names)


def read_gtzan(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield excerpts of 30 seconds of ten genres: `genres/blues/blues.00000.wav`.

    There is no official split.
    """
    folder = next((name for name in _GTZAN_FOLDERS if (root / name).is_dir()), "genres")
    genres = find_folder(root, folder, source="gtzan", bring="unpack genres.tar.gz")
    for path in sorted(genres.glob("*/*")):
        if path.suffix in (".wav", ".au"):
            genre = path.parent.name
            yield Metadata(
                id=path.stem,
                audio=path.relative_to(root).as_posix(),
                domain="music",
                attributes={"Genre": _GENRES.get(genre, readable(genre))},
            )


def read_opensinger(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield phrases of Chinese songs: `WomanRaw/0_SONG/0_SONG_0.wav`, words in the .txt beside it.

    The outer folder states the singer's sex, the inner one the song.
    """
    if not any((root / name).is_dir() for name in _SINGERS):
        find_folder(root, "ManRaw", source="opensinger", bring="unpack OpenSinger.tar.gz")
    for name, sex in _SINGERS.items():
        for path in sorted((root / name).glob("*/*.wav")):
            words = path.with_suffix(".txt")
            yield Metadata(
                id=path.relative_to(root).with_suffix("").as_posix(),
                audio=path.relative_to(root).as_posix(),
                domain="music",
                segments=spoken(_text(words)) if words.is_file() else (),
                attributes={
                    "Language": "Chinese",
                    "Gender": sex,
                    "Song": path.parent.name.partition("_")[2],
                },
            )


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace").strip() or None


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
