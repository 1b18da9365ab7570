"""Corpora of speech: Asterisk's telephone prompts and Tux Paint's narrators."""

import gzip
import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import soundfile

from desta.errors import DataError
from desta.sources.base import Metadata, Skipped, Source, find_folder, relative_id, spoken
from desta.sources.files import keep, visible
from desta.sources.glossary import gender_name
from desta.sources.languages import language_name
from desta.sources.stamps import LICENCE, PACKAGE, STAMPS, stamp_texts

_PROMPTS = "usr/share/asterisk/sounds"
_PROMPT_TEXTS = "usr/share/doc/asterisk-core-sounds-{0}/core-sounds-{0}.txt.gz"
_PROMPT_LANGUAGES = ("en", "es", "fr", "it", "ru")

_VOICE = re.compile(
    r"(?P<language>[a-z]{2})_[A-Z]{2}_(?P<gender>[fm])_(?P<name>\w+)"
)  # fr_CA_f_June
_FURTHER = {
    "es": ("es", None, "July E. Jiménez"),
    "fr": ("fr", None, "Armelle Desjardins"),
    "it_IT_f_Menardi": ("it", "f", "Paola Dal Zot"),
}
"""Folder of a voice of another package -> language, sex if it is stated, who speaks."""
_TONES = frozenset(
    {
        *("ascending-2tone", "beep", "beeperr", "confbridge-join", "confbridge-leave"),
        *("descending-2tone", "tt-monkeys"),
    }
)
"""Prompts that are no words, as core-sounds-en.txt says of them."""
_GSM_RATE = 8000  # Hz; GSM 06.10 has no other
_NOTE = re.compile(r"\[[^]]*\]|\([^)]*\)|<[^>]*>")  # what the texts say about the recording

_LOCALE = r"(?P<language>[a-z]{2,3}(?:_[A-Za-z]{2})?)"
_DESCRIPTION = re.compile(rf"(?P<stamp>.+)_desc(?:_{_LOCALE})?")  # no locale: English
_DIGIT = re.compile(rf"(?P<stamp>\d)(?:_{_LOCALE})?")


def read_asterisk(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield the prompts of a telephone exchange: one voice a language, recorded at 8 kHz.

    The folder of a voice states language, sex and name (en_US_f_Allison and es_MX_f_Allison are one
    speaker); the words lie in a text file of the package.
    """
    folder = find_folder(root, _PROMPTS, source="asterisk")
    voices = [
        path
        for path in sorted(folder.iterdir())
        if _VOICE.fullmatch(path.name) and path.name not in _FURTHER
    ]
    if not voices:
        raise DataError(
            f"asterisk: {folder} holds no folder of a voice, such as fr_CA_f_June",
            fix="install asterisk-core-sounds-fr-wav",
        )
    for voice in voices:
        match = _VOICE.fullmatch(voice.name)
        assert match
        texts = _read_prompt_texts(root / _PROMPT_TEXTS.format(match["language"]))
        attributes = {
            "Language": language_name(match["language"]),
            "Gender": gender_name(match["gender"]),
        }
        for path in visible(voice, "**/*.wav"):
            id, prompt = relative_id(path, folder), relative_id(path, voice)
            text = texts.get(prompt)
            words = _words(text or "")
            if prompt.startswith("silence/"):
                yield Skipped(id=id, reason="silence on purpose")
            elif not text:
                yield Skipped(id=id, reason="no text for it")
            elif words is None:
                yield Skipped(id=id, reason="a note within the text leaves the words uncertain")
            elif not words:
                yield Skipped(id=id, reason="a sound, not words")
            else:
                yield Metadata(
                    id=id,
                    audio=path.relative_to(root).as_posix(),
                    segments=spoken(words),
                    attributes=attributes,
                    group=f"voice/{match['name']}",
                )


def read_asterisk_prompts(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield the prompts of further voices: language and voice are stated, the words are not.

    Armelle's and July's prompts are bare GSM frames without a header; they are kept as WAV.
    """
    folder = find_folder(root, _PROMPTS, source="asterisk-prompts")
    paths = [
        path
        for name in _FURTHER
        for pattern in ("**/*.gsm", "**/*.wav")
        for path in visible(folder / name, pattern)
    ]
    if not paths:
        raise DataError(
            f"asterisk-prompts: {folder} holds none of the voices {', '.join(_FURTHER)}",
            fix="`desta sources fetch asterisk-prompts` fetches them, or describe a corpus of your "
            "own with `desta describe custom`",
        )
    for path in paths:
        id = relative_id(path, folder)
        voice, _, prompt = id.partition("/")
        language, gender, name = _FURTHER[voice]
        if prompt.startswith("silence/"):
            yield Skipped(id=id, reason="silence on purpose")
        elif prompt in _TONES:
            yield Skipped(id=id, reason="a sound, not words")
        elif (audio := _readable(root, path, id)) is None:
            yield Skipped(id=id, reason="its GSM frames cannot be decoded", broken=True)
        else:
            yield Metadata(
                id=id,
                audio=audio,
                segments=spoken(None),
                attributes={"Language": language_name(language), "Gender": gender_name(gender)},
                group=f"voice/{name}",
            )


def _readable(root: Path, path: Path, id: str) -> str | None:
    """Return a recording that can be read, relative to the root; None where GSM is damaged."""
    if path.suffix != ".gsm":
        return path.relative_to(root).as_posix()
    frames, wav = io.BytesIO(path.read_bytes()), io.BytesIO()
    try:
        samples, rate = soundfile.read(
            frames,
            dtype="int16",
            format="RAW",
            subtype="GSM610",
            samplerate=_GSM_RATE,
            channels=1,
        )
    except soundfile.LibsndfileError:
        return None
    soundfile.write(wav, samples, rate, format="WAV")
    return keep(root, f"asterisk-prompts/{id.replace('/', '-')}-", ".wav", wav.getvalue())


def read_tuxpaint(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield the pictures of a drawing program as narrators name them, in many languages.

    Beside the picture `X` lie `X_desc_LANG.ogg` (without LANG: English), digits also as
    `N_LANG.ogg`, and the texts in `X.txt`: the first line English, then `LANG.utf8=...`.
    """
    stamps = find_folder(root, STAMPS, source="tuxpaint")
    texts = cache(stamp_texts)  # a picture has up to a dozen narrators
    for path in visible(stamps, "**/*.ogg"):
        id = relative_id(path, stamps)
        match = _DESCRIPTION.fullmatch(path.stem)
        if match is None and id.startswith("symbols/"):
            match = _DIGIT.fullmatch(path.stem)
            if match is None:  # the stamp's text is "The letter a.", the narrator says "a"
                yield Skipped(id=id, reason="a letter or a face: its words are not stated")
                continue
        if match is None:
            continue  # a sound: `read_tuxpaint_sounds` accounts for it
        language = match["language"] or "en"
        text = texts(path.with_name(f"{match['stamp']}.txt")).get(language.lower())
        if not text:
            yield Skipped(id=id, reason="no text in the language of its narrator")
            continue
        yield Metadata(
            id=id,
            audio=path.relative_to(root).as_posix(),
            segments=spoken(text),
            attributes={"Language": language_name(language)},
        )


def _read_prompt_texts(path: Path) -> dict[str, str]:
    """Return prompt -> text; the first line about a prompt counts."""
    if not path.is_file():
        raise DataError(
            f"asterisk: the texts are missing, {path} is not a file",
            fix=f"install {path.parent.name}, with its documentation",
        )
    texts: dict[str, str] = {}
    with gzip.open(path, "rt", encoding="utf-8-sig") as file:
        for line in file:
            prompt, colon, text = line.partition(":")
            if colon and not line.startswith(";"):
                texts.setdefault(prompt.strip(), text.strip())
    return texts


def _words(text: str) -> str | None:
    """Return the spoken words, without notes around them; None if there is a note among them."""
    runs = [run.strip() for run in _NOTE.split(text)]
    runs = [run for run in runs if any(letter.isalnum() for letter in run)]
    return None if len(runs) > 1 else "".join(runs)


DEBIAN_SOURCES = (
    Source(
        name="asterisk",
        title="Asterisk telephone prompts in five languages",
        domains=("speech",),
        licence="CC-BY-SA-3.0 (English, Spanish, French), CC-BY-3.0 (Italian, Russian)",
        obtain="Debian packages; `desta sources fetch` unpacks them",
        layout="confirmed",
        cited="the files of the packages",
        read=read_asterisk,
        packages=tuple(
            f"asterisk-core-sounds-{language}{suffix}"
            for language in _PROMPT_LANGUAGES
            for suffix in ("", "-wav")
        ),
    ),
    Source(
        name="asterisk-prompts",
        title="Asterisk telephone prompts of three further voices: Italian, French, Spanish",
        domains=("speech",),
        licence="CC-BY-SA-3.0 (Italian), BSD-like (French), GPL-2.0 (Spanish)",
        obtain="Debian packages; `desta sources fetch` unpacks them",
        layout="confirmed",
        cited="the files of the packages",
        read=read_asterisk_prompts,
        packages=(
            "asterisk-prompt-es-co",
            "asterisk-prompt-fr-armelle",
            "asterisk-prompt-it-menardi-wav",
        ),
    ),
    Source(
        name="tuxpaint",
        title="Tux Paint stamps, named aloud in some twenty languages",
        domains=("speech",),
        licence=LICENCE,
        obtain="Debian packages; `desta sources fetch` unpacks them",
        layout="confirmed",
        cited="the files of the packages",
        read=read_tuxpaint,
        packages=(PACKAGE,),
    ),
)
