"""From clips.jsonl to clips.jsonl with more attributes."""

import os
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import soundfile

from desta.attributes.measure import measure
from desta.attributes.raw import Raw, measure_clip
from desta.attributes.thresholds import Thresholds, fit
from desta.errors import ConfigError, DataError
from desta.records import Clip, Segment, read_clips, stream_clips
from support.voices import HERTZ, make_clip, make_voices, run, sound, write, written


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_voices(tmp_path)


def test_words_are_by_percentiles_of_each_sex_and_say_that_they_are_measured(corpus: Path) -> None:
    tally = run(corpus)

    clips = written(corpus)
    for sex, all_hertz in HERTZ.items():
        words = [clips[f"s/{hertz}"].attributes["Pitch"] for hertz in all_hertz]
        assert Counter(words) == {"Very low": 3, "Low": 5, "Normal": 9, "High": 5, "Very high": 3}
        assert list(dict.fromkeys(words)) == ["Very low", "Low", "Normal", "High", "Very high"]
        assert clips[f"s/{all_hertz[0]}"].attributes["Gender"] == sex
    clip = clips["s/90"]
    assert list(clip.attributes) == ["Gender", "Pitch", "Volume"]
    assert [clip.origin(name) for name in clip.attributes] == ["corpus", "measured", "measured"]
    assert tally.summary()["measured"]["pitch"]["unit"] == "Hz"
    assert tally.summary()["measured"]["pitch"]["lowest"] == pytest.approx(90, rel=0.01)


def test_thresholds_of_a_corpus_mean_the_same_in_another(corpus: Path, tmp_path: Path) -> None:
    run(corpus)
    other = tmp_path / "other"
    other.mkdir()
    alone = make_clip(other, 136.5, domain="speech", attributes={"Gender": "Male"})
    write(other, [alone, replace(alone, id="s/unknown", attributes={})])

    with pytest.raises(DataError, match="2 clips have a value of pitch") as caught:
        run(other)
    assert "--thresholds" in caught.value.fix
    run(other, thresholds=corpus / "out" / "thresholds.json")

    assert written(other)["s/136.5"].attributes["Pitch"] == "Very high"
    assert written(other)["s/unknown"].attributes["Pitch"] == "Normal"  # among all speakers
    stored = [(root / "out" / "thresholds.json").read_bytes() for root in (corpus, other)]
    assert stored[0] == stored[1]


def test_measuring_again_gives_the_same_bytes_and_does_nothing_twice(corpus: Path) -> None:
    run(corpus, measures=("pitch",))
    journal = corpus / "out" / "measured.ndjson"
    first = (corpus / "out" / "clips.jsonl").read_bytes()
    size = journal.stat().st_size
    run(corpus, measures=("pitch",))
    assert journal.stat().st_size == size
    assert (corpus / "out" / "clips.jsonl").read_bytes() == first

    run(corpus, measures=("pitch", "loudness"))
    added = journal.read_bytes()[size:]
    assert b"loudness" in added
    assert b"pitch" not in added

    # in place: what was measured is taken away and measured anew, from other clips
    clips = corpus / "out" / "clips.jsonl"
    before = clips.read_bytes()
    measure(clips, corpus, corpus / "out", measures=("pitch", "loudness"), workers=1)
    assert clips.read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_journal_cut_anywhere_ends_in_the_same_bytes(
    corpus: Path, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desta.attributes.collect._BATCH", 8)
    run(corpus)
    whole = (corpus / "out" / "clips.jsonl").read_bytes()
    journal = (corpus / "out" / "measured.ndjson").read_bytes()

    (corpus / "cut").mkdir()
    (corpus / "cut" / "measured.ndjson").write_bytes(journal[: round(share * len(journal))])
    run(corpus, out="cut")

    assert (corpus / "cut" / "clips.jsonl").read_bytes() == whole
    assert (corpus / "cut" / "measured.ndjson").read_bytes() == journal


def test_another_recording_of_the_same_size_is_measured_again(corpus: Path) -> None:
    before = run(corpus, measures=("pitch",)).summary()["measured"]["pitch"]["lowest"]
    soundfile.write(corpus / "90.wav", sound(80), 16_000)
    state = (corpus / "90.wav").stat()
    os.utime(corpus / "90.wav", ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000_000))
    after = run(corpus, measures=("pitch",)).summary()["measured"]["pitch"]["lowest"]

    assert (round(before), round(after)) == (90, 80)


def test_what_the_corpus_says_stays_and_differences_are_counted(corpus: Path) -> None:
    clips = read_clips(corpus / "clips.jsonl")
    clips[0] = replace(clips[0], attributes={"Gender": "Male", "Pitch": "Very high"})
    clips[-1] = replace(clips[-1], attributes={"Gender": "Female", "Pitch": "very high"})
    write(corpus, clips)

    summary = run(corpus).summary()

    kept = written(corpus)["s/90"]
    assert kept.attributes["Pitch"] == "Very high"
    assert kept.origin("Pitch") == "corpus"
    assert summary["compared"] == {"Pitch": 2}
    assert summary["differing"] == [
        {
            "attribute": "Pitch",
            "kept": "Very high",
            "found": "Very low",
            "count": 1,
            "example": "s/90",
        }
    ]


def test_clips_without_a_value_stay_and_are_counted_with_a_reason(corpus: Path) -> None:
    clips = read_clips(corpus / "clips.jsonl")
    (corpus / "92.wav").write_bytes(b"RIFF")
    (corpus / "94.wav").unlink()
    clips[3] = replace(clips[3], domain="sound")
    clips[4] = replace(clips[4], audio="../98.wav")
    write(corpus, clips)

    with pytest.raises(DataError, match="3 of 50 recordings cannot be read, more than 5%"):
        run(corpus)
    summary = run(corpus, max_broken_share=0.1).summary()

    found = written(corpus)
    assert list(found) == [clip.id for clip in clips]
    assert all(found[f"s/{n}"].attributes == {"Gender": "Male"} for n in (92, 94, 96, 98))
    reasons = {item["reason"]: item["example"] for item in summary["broken"]}
    assert reasons["does not exist"] == "s/94"
    assert reasons["lies outside the root"] == "s/98"
    assert len(reasons) == 3
    assert {
        "attribute": "Pitch",
        "reason": "it is not a speech clip",
        "count": 1,
        "example": "s/96",
    } in summary["missing"]


def test_too_few_values_for_percentiles_say_why_the_others_have_none(corpus: Path) -> None:
    clips = read_clips(corpus / "clips.jsonl")[:22]
    clips = [replace(clip, domain="sound") for clip in clips[:20]] + clips[20:]
    (corpus / clips[21].audio).unlink()
    write(corpus, clips)

    with pytest.raises(
        DataError,
        match="1 clips have a value of pitch, too few .* the others: 20 "
        'times "it is not a speech clip", 1 times "does not exist"',
    ):
        run(corpus, max_broken_share=0.1)


def test_a_path_that_no_file_can_have_costs_its_clip_alone(corpus: Path) -> None:
    clips = read_clips(corpus / "clips.jsonl")
    clips[3] = replace(clips[3], audio=f"{300 * 'x'}.wav")
    clips[4] = replace(clips[4], audio="98\0.wav")
    write(corpus, clips)

    summary = run(corpus, max_broken_share=0.1).summary()

    assert {item["reason"]: item["example"] for item in summary["broken"]} == {
        "cannot be opened (File name too long)": "s/96",
        "is not a possible file name": "s/98",
    }


@pytest.mark.parametrize(
    ("options", "message", "fix"),
    [
        ({"measures": ("pich",)}, "cannot be measured", 'did you mean "pitch"?'),
        ({"measures": ("pitch", "pitch")}, "asked for twice", "once"),
        ({"measures": ()}, "nothing is to be measured", "--attributes"),
        ({"thresholds": Path("missing.json")}, "is not a file", "thresholds.json"),
    ],
)
def test_wrong_options_are_told_before_the_work(
    corpus: Path, options: dict[str, Any], message: str, fix: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        run(corpus, **options)
    assert fix in caught.value.fix
    assert not (corpus / "out").exists()


def test_thresholds_without_a_measure_say_so(corpus: Path) -> None:
    run(corpus, measures=("pitch",))

    with pytest.raises(DataError, match="no thresholds of loudness"):
        run(corpus, thresholds=corpus / "out" / "thresholds.json")


def test_origins_are_read_back_and_old_files_need_none() -> None:
    clip = Clip(
        id="a",
        source="s",
        audio="a.wav",
        duration=1.0,
        domain="speech",
        segments=(Segment(start=0, end=1, text="Hi"),),
        attributes={"Gender": "Male", "Pitch": "Low"},
        origins={"Pitch": "measured"},
    )

    assert Clip.from_json(clip.to_json()) == clip
    assert (clip.origin("Gender"), clip.origin("Pitch")) == ("corpus", "measured")
    with pytest.raises(KeyError):
        clip.origin("Age")
    old = replace(clip, origins={}).to_json()
    assert "origins" not in old
    assert Clip.from_json(old).origins == {}
    with pytest.raises(TypeError, match="Age"):
        Clip.from_json({**old, "origins": {"Age": "measured"}})


def test_clips_are_read_from_the_disk_again_and_never_held(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = read_clips(corpus / "clips.jsonl")
    write(corpus, [replace(clip, id=f"{clip.id}/{n}") for n in range(8) for clip in clips])
    alive = most = read = 0

    def forget() -> None:
        nonlocal alive
        alive -= 1

    def counted(path: Path) -> Iterator[Clip]:
        nonlocal alive, most, read
        for clip in stream_clips(path):
            weakref.finalize(clip, forget)
            read, alive = read + 1, alive + 1
            most = max(most, alive)
            yield clip

    monkeypatch.setattr("desta.attributes.corpus.stream_clips", counted)
    monkeypatch.setattr(
        "desta.attributes.collect.measure_clip",
        lambda root, clip, names: Raw(
            values=dict.fromkeys(names, float(crc32(clip.id.encode()) % 100))
        ),
    )
    run(corpus)

    assert read == 4 * 400  # for keys, measures, percentiles, words
    assert most < 5


def test_clips_that_change_while_they_are_measured_are_an_error(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = (corpus / "clips.jsonl").read_text().splitlines()[0]

    def measured(root: Path, clip: Clip, names: Sequence[str]) -> Raw:
        with (root / "clips.jsonl").open("a") as file:
            file.write(f"{line}\n")
        return measure_clip(root, clip, names)

    monkeypatch.setattr("desta.attributes.collect.measure_clip", measured)
    with pytest.raises(DataError, match="was changed while it was measured"):
        run(corpus)
    monkeypatch.undo()

    assert not (corpus / "out" / "clips.jsonl").exists()
    assert run(corpus).clips == 100


def test_nobody_else_works_in_a_folder_until_all_is_written(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []

    def meanwhile(*_: Any) -> Thresholds:
        monkeypatch.undo()
        with pytest.raises(DataError, match="another process is at work") as caught:
            run(corpus)
        refused.append(caught.value)
        return fit(*_)

    monkeypatch.setattr("desta.attributes.measure.fit", meanwhile)
    run(corpus)
    assert len(refused) == 1
    assert (corpus / "out" / "clips.jsonl").is_file()
