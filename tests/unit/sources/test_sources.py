"""The list of corpora, and those that come as packages."""

import gzip
from pathlib import Path

import pytest

from desta.errors import DataError
from desta.sources import SOURCES, find_source
from desta.sources.base import Metadata
from desta.sources.describe import describe
from support.recordings import record
from support.sources import STAMPS, by_id, make_stamps, reasons


def test_every_source_states_what_a_user_must_know() -> None:
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.title
        assert source.licence
        assert source.domains
        assert source.obtain
        assert source.cited


def test_an_unknown_source_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(DataError) as caught:
        find_source("tuxpant")
    assert 'did you mean "tuxpaint"?' in caught.value.fix


@pytest.mark.parametrize("name", SOURCES)
def test_a_root_without_the_corpus_is_an_error_with_a_fix(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        describe(find_source(name), tmp_path)
    assert "desta describe custom" in caught.value.fix
    with pytest.raises(DataError, match="is not a folder"):
        describe(find_source(name), tmp_path / "missing")


def test_asterisk_gives_language_sex_and_words(tmp_path: Path) -> None:
    voice = tmp_path / "usr/share/asterisk/sounds/it_IT_m_Carlo"
    texts = {
        "hello": "Buongiorno: a tutti.",
        "beep": "[tono semplice]",
        "letters/at": "a [@]",
        "pause": "Il [suo] messaggio",
        "silence/1": "(1 secondo di silenzio)",
        "unwritten": "",
    }
    for seed, prompt in enumerate((*texts, "unlisted")):
        record(voice / f"{prompt}.wav", seed=seed)
    document = tmp_path / "usr/share/doc/asterisk-core-sounds-it/core-sounds-it.txt.gz"
    document.parent.mkdir(parents=True)
    lines = ["; a remark: not a text", "", *(f"{name}: {text}" for name, text in texts.items())]
    document.write_bytes(gzip.compress("\n".join(lines).encode("utf-8-sig")))

    description = describe(find_source("asterisk"), tmp_path)

    clips = by_id(description)
    assert {id: clip.transcription for id, clip in clips.items()} == {
        "asterisk/it_IT_m_Carlo/hello": "Buongiorno: a tutti.",
        "asterisk/it_IT_m_Carlo/letters/at": "a",
    }
    hello = clips["asterisk/it_IT_m_Carlo/hello"]
    assert hello.attributes == {"Language": "Italian", "Gender": "Male"}
    assert (hello.duration, hello.segments[0].start, hello.segments[0].end) == (0.5, 0.0, 0.5)
    assert (tmp_path / hello.audio).is_file()
    assert reasons(description) == {
        "a sound, not words": 1,
        "a note within the text leaves the words uncertain": 1,
        "silence on purpose": 1,
        "no text for it": 2,
    }


def test_asterisk_without_its_texts_names_the_package(tmp_path: Path) -> None:
    record(tmp_path / "usr/share/asterisk/sounds/fr_CA_f_June/activated.wav")

    with pytest.raises(DataError) as caught:
        describe(find_source("asterisk"), tmp_path)
    assert "asterisk-core-sounds-fr" in caught.value.fix


def test_a_speaker_of_two_languages_is_one_voice(tmp_path: Path) -> None:
    for code, voice in (
        ("en", "en_US_f_Allison"),
        ("es", "es_MX_f_Allison"),
        ("fr", "fr_CA_f_June"),
    ):
        for seed in range(3):
            path = tmp_path / f"usr/share/asterisk/sounds/{voice}/{seed}.wav"
            record(path, seed=10 * "enesfr".index(code) + seed)
        document = tmp_path / f"usr/share/doc/asterisk-core-sounds-{code}/core-sounds-{code}.txt.gz"
        document.parent.mkdir(parents=True)
        document.write_bytes(
            gzip.compress("".join(f"{n}: {code} {n}\n" for n in range(3)).encode())
        )

    for seed in range(5):
        clips = describe(find_source("asterisk"), tmp_path, seed=seed).clips
        splits = {c.split for c in clips if "Allison" in c.id}
        assert len(clips) == 9
        assert len(splits) == 1


def test_prompts_of_a_further_voice_do_not_get_the_words_of_another(tmp_path: Path) -> None:
    for seed, voice in enumerate(("it_IT_m_Carlo", "it_IT_f_Menardi")):
        record(tmp_path / f"usr/share/asterisk/sounds/{voice}/hello.wav", seed=seed)
    document = tmp_path / "usr/share/doc/asterisk-core-sounds-it/core-sounds-it.txt.gz"
    document.parent.mkdir(parents=True)
    document.write_bytes(gzip.compress(b"hello: Buongiorno"))

    (carlo,) = describe(find_source("asterisk"), tmp_path).clips
    (paola,) = describe(find_source("asterisk-prompts"), tmp_path).clips

    assert (carlo.transcription, carlo.attributes["Gender"]) == ("Buongiorno", "Male")
    assert (paola.transcription, paola.attributes["Gender"]) == (" ", "Female")


def test_tuxpaint_gives_every_narrator_the_text_of_its_language(tmp_path: Path) -> None:
    make_stamps(tmp_path)

    description = describe(find_source("tuxpaint"), tmp_path)

    assert {
        id.removeprefix("tuxpaint/"): (clip.attributes["Language"], clip.transcription)
        for id, clip in by_id(description).items()
    } == {
        "animals/amphibians/frog_desc": ("English", "A frog."),
        "animals/amphibians/frog_desc_be": ("Belarusian", "Жаба."),
        "animals/amphibians/frog_desc_fr": ("French", "Une grenouille."),
        "symbols/math/1": ("English", "One."),
        "symbols/math/1_fr": ("French", "Un."),
        "symbols/math/1_zh_tw": ("Chinese", "一"),
    }
    assert reasons(description) == {
        "no text in the language of its narrator": 1,
        "a letter or a face: its words are not stated": 1,
    }


def test_the_two_readers_of_tuxpaint_account_for_every_recording_once(tmp_path: Path) -> None:
    make_stamps(tmp_path)

    items = [
        item.id
        for name in ("tuxpaint", "tuxpaint-sounds")
        for item in find_source(name).read(tmp_path)
    ]

    files = (tmp_path / STAMPS).rglob("*.ogg")
    assert sorted(items) == sorted(
        path.relative_to(tmp_path / STAMPS).with_suffix("").as_posix() for path in files
    )


def test_tuxpaint_sounds_are_named_by_their_picture(tmp_path: Path) -> None:
    make_stamps(tmp_path)

    description = describe(find_source("tuxpaint-sounds"), tmp_path)

    assert [clip.attributes for clip in description.clips] == [
        {"Sound": "Frog", "Sound class": "Frog"},
        {"Sound": "Saw", "Sound class": "Saw"},
    ]
    assert all(clip.segments == () for clip in description.clips)
    assert reasons(description) == {"the picture does not tell what is heard": 1}


def test_sonic_pi_names_instruments_by_the_file_name(tmp_path: Path) -> None:
    names = ("bd_808", "drum_snare_hard", "elec_blip2", "guit_em9", "loop_mika", "misc_burp")
    for seed, name in enumerate(names):
        record(tmp_path / f"usr/share/sonic-pi/samples/{name}.flac", seed=seed)

    description = describe(find_source("sonic-pi"), tmp_path)

    assert [clip.attributes for clip in description.clips] == [
        {"Instrument": "Bass drum", "Category": "Drum hit"},
        {"Instrument": "Snare drum", "Category": "Drum hit"},
        {"Instrument": "Synthesizer", "Category": "Electronic sound"},
        {"Instrument": "Guitar", "Category": "Guitar phrase"},
        {"Category": "Loop"},
    ]
    assert reasons(description) == {"the file name does not tell what is heard": 1}


def test_what_one_person_recorded_for_sonic_pi_is_in_one_split(tmp_path: Path) -> None:
    folder = tmp_path / "usr/share/sonic-pi/samples"
    names = [f"drum_tom_{n}" for n in range(20)] + ["bd_haus"]
    for seed, name in enumerate(names):
        record(folder / f"{name}.flac", seed=seed)
    page = "http://freesound.org/people/{}/sounds/1/"
    lines = [f"* `:{name}` - {page.format('menegass')}" for name in names[:-1]]
    (folder / "README.md").write_text("\n".join([*lines, "* `:bd_haus` - unknown"]))

    items = list(find_source("sonic-pi").read(tmp_path))

    assert {item.group for item in items if isinstance(item, Metadata)} == {
        "freesound/menegass",
        None,
    }
    assert len({c.split for c in describe(find_source("sonic-pi"), tmp_path).clips[1:]}) == 1
