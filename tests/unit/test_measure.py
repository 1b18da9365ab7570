"""From clips.jsonl to clips.jsonl with more attributes."""

import json
import os
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    HubertConfig,
    HubertForSequenceClassification,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
)

from desta.attributes.classifiers import Classifier
from desta.attributes.labels import KINDS, Label
from desta.attributes.measure import measure
from desta.attributes.raw import Raw, measure_clip
from desta.attributes.signal import Unmeasured
from desta.attributes.thresholds import MIN_CLIPS, Thresholds, fit
from desta.audio import SAMPLE_RATE
from desta.errors import CheckpointError, ConfigError, DataError
from desta.records import Clip, Segment, read_clips, stream_clips

HERTZ = {"Male": range(90, 140, 2), "Female": range(180, 280, 4)}  # 25 voices each


def sound(hertz: float, *, seconds: float = 0.6, level: float = 0.1) -> np.ndarray[Any, Any]:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return level * sum(np.sin(2 * np.pi * hertz * n * t) / n for n in range(1, 6))


def make_clip(root: Path, hertz: float, **fields: Any) -> Clip:
    name = f"{hertz:g}.wav"
    soundfile.write(root / name, sound(hertz, level=hertz / 1000), SAMPLE_RATE)
    return Clip(id=f"s/{hertz:g}", source="s", audio=name, duration=0.6, **fields)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of 50 voices, 25 of each sex, and their clips.jsonl."""
    write(
        tmp_path,
        [
            make_clip(tmp_path, hertz, domain="speech", attributes={"Gender": sex})
            for sex, all_hertz in HERTZ.items()
            for hertz in all_hertz
        ],
    )
    return tmp_path


def write(root: Path, clips: list[Clip]) -> None:
    lines = (json.dumps(clip.to_json()) for clip in clips)
    (root / "clips.jsonl").write_text("".join(f"{line}\n" for line in lines))


def run(root: Path, *, out: str = "out", **options: Any) -> Any:
    options = {"measures": ("pitch", "loudness"), "workers": 1} | options
    return measure(root / "clips.jsonl", root, root / out, **options)


def written(root: Path, out: str = "out") -> dict[str, Clip]:
    return {clip.id: clip for clip in read_clips(root / out / "clips.jsonl")}


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
        "reason": "nobody is meant to speak in it",
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
        'times "nobody is meant to speak in it", 1 times "does not exist"',
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
        "is a name that no file can have": "s/98",
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


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update(format=2),
        lambda tree: tree.pop("measures"),
        lambda tree: tree["measures"]["pitch"]["groups"].pop("any"),
        lambda tree: tree["measures"]["pitch"]["groups"]["any"]["borders"].reverse(),
        lambda tree: tree["measures"]["pitch"].update(words=["Low", "High"]),
    ],
)
def test_a_broken_file_of_thresholds_is_refused(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "thresholds.json"
    fit({"pitch": {"Male": [float(n) for n in range(MIN_CLIPS)]}}, {"pitch": {}}).write(path)
    Thresholds.read(path)
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))

    with pytest.raises(DataError, match="holds no thresholds"):
        Thresholds.read(path)


def test_thresholds_without_a_measure_say_so(corpus: Path) -> None:
    run(corpus, measures=("pitch",))

    with pytest.raises(DataError, match="no thresholds of loudness"):
        run(corpus, thresholds=corpus / "out" / "thresholds.json")


finite = st.floats(50, 500).map(lambda x: round(x, 3))


@settings(deadline=None)
@given(st.lists(finite, min_size=MIN_CLIPS, max_size=60), finite, finite)
def test_a_higher_value_never_gets_a_lower_word(
    values: list[float], one: float, two: float
) -> None:
    thresholds = fit({"pitch": {None: values}}, {"pitch": {}})
    order = ["Very low", "Low", "Normal", "High", "Very high"]

    low, high = (order.index(thresholds.word("pitch", v, None)) for v in sorted((one, two)))

    assert low <= high


def test_a_sex_that_is_heard_too_rarely_is_judged_among_all() -> None:
    values = {"Male": [float(n) for n in range(100)], "Female": [1000.0]}
    thresholds = fit({"pitch": values}, {"pitch": {}})

    assert thresholds.groups["pitch"].keys() == {"any", "Male"}
    assert thresholds.word("pitch", 1000.0, "Female") == "Very high"


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


SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 64),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
}


def make_classifier(
    path: Path, labels: list[str], *, kind: str = "wav2vec2", says: int | None = None
) -> Path:
    """Save a tiny random classifier, one that always says the same where `says` is given."""
    torch.manual_seed(0)
    config_class, model_class = {
        "wav2vec2": (Wav2Vec2Config, Wav2Vec2ForSequenceClassification),
        "hubert": (HubertConfig, HubertForSequenceClassification),
    }[kind]
    config = config_class(
        **SMALL,
        id2label=dict(enumerate(labels)),
        label2id={name: number for number, name in enumerate(labels)},
    )
    model = model_class(config)
    if says is not None:
        torch.nn.init.zeros_(model.classifier.weight)
        model.classifier.bias.data = torch.eye(len(labels))[says] * 9
    else:
        torch.nn.init.normal_(model.classifier.weight, std=20)
    model.save_pretrained(path)
    Wav2Vec2FeatureExtractor().save_pretrained(path)
    return path


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
def test_a_label_is_what_the_model_finds_likeliest(tmp_path: Path, kind: str) -> None:
    folder = make_classifier(tmp_path / "model", ["neu", "hap", "ang"], kind=kind)
    classifier = Classifier(Label.parse(f"emotion={folder}"))
    names = {"neu": "Neutral", "hap": "Happy", "ang": "Angry"}
    rng = np.random.default_rng(0)
    clips = [(0.1 * rng.standard_normal(9_600)).astype(np.float32), sound(150).astype(np.float32)]

    for samples in clips:
        inputs = Wav2Vec2FeatureExtractor()(samples, sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            expected = classifier.model(**inputs).logits[0].softmax(-1)
        value, score = classifier(samples)

        assert value == names[["neu", "hap", "ang"][int(expected.argmax())]]
        assert score == pytest.approx(float(expected.max()), abs=1e-5)


def test_labels_fill_what_the_corpus_leaves_open_and_decide_the_sex_for_pitch(
    corpus: Path,
) -> None:
    clips = [replace(c, attributes={}) for c in read_clips(corpus / "clips.jsonl")]
    clips[-1] = replace(clips[-1], attributes={"Gender": "Female"})
    write(corpus, clips)
    model = make_classifier(corpus / "model", ["female", "male"], says=1)

    tally = run(corpus, classifiers=[Classifier(Label.parse(f"sex={model}"))], measures=("pitch",))

    found = written(corpus)
    assert found["s/90"].attributes["Gender"] == "Male"
    assert found["s/90"].origin("Gender") == f"model:{model}"
    assert list(found["s/90"].attributes) == ["Gender", "Pitch"]
    assert found["s/276"].attributes["Gender"] == "Female"
    assert found["s/276"].origin("Gender") == "corpus"
    summary = tally.summary()
    assert [(d["kept"], d["found"], d["count"]) for d in summary["differing"]] == [
        ("Female", "Male", 1)
    ]
    thresholds = json.loads((corpus / "out" / "thresholds.json").read_text())
    assert thresholds["measures"]["pitch"]["groups"].keys() == {"any", "Male"}

    # other weights under the same name are asked anew, and replace what the first ones said
    make_classifier(model, ["female", "male"], says=0)
    run(corpus, classifiers=[Classifier(Label.parse(f"sex={model}"))], measures=("pitch",))
    assert written(corpus)["s/90"].attributes["Gender"] == "Female"


def test_a_label_without_a_meaning_is_counted(corpus: Path) -> None:
    model = make_classifier(corpus / "model", ["hap", "calm"], says=1)

    tally = run(corpus, classifiers=[Classifier(Label.parse(f"emotion={model}"))], measures=())

    assert all("Emotion" not in clip.attributes for clip in written(corpus).values())
    (missing,) = tally.summary()["missing"]
    assert missing["reason"] == 'the label "calm" is no value of Emotion'
    assert missing["count"] == 50


def test_classifiers_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    nameless = make_classifier(tmp_path / "nameless", ["LABEL_0", "LABEL_1"])
    with pytest.raises(ConfigError, match="none of the labels") as caught:
        Classifier(Label.parse(f"sex={nameless}"))
    assert "id2label" in caught.value.fix

    telephone = make_classifier(tmp_path / "telephone", ["female", "male"])
    Wav2Vec2FeatureExtractor(sampling_rate=8_000).save_pretrained(telephone)
    with pytest.raises(ConfigError, match="8000 Hz"):
        Classifier(Label.parse(f"sex={telephone}"))

    pickled = make_classifier(tmp_path / "pickled", ["female", "male"])
    weights = pickled / "model.safetensors"
    torch.save({}, pickled / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Classifier(Label.parse(f"sex={pickled}"))

    encoder = make_classifier(tmp_path / "encoder", ["female", "male"])
    Wav2Vec2ForSequenceClassification.from_pretrained(encoder).wav2vec2.save_pretrained(encoder)
    with pytest.raises(CheckpointError, match="lacks classifier"):
        Classifier(Label.parse(f"sex={encoder}"))


def test_a_clip_too_short_for_a_classifier_has_no_label(tmp_path: Path) -> None:
    classifier = Classifier(
        Label.parse(f"sex={make_classifier(tmp_path / 'model', ['female', 'male'])}")
    )

    with pytest.raises(Unmeasured, match="too short"):
        classifier(np.zeros(8, np.float32))


def test_what_labels_are_called() -> None:
    with pytest.raises(ConfigError) as caught:
        Label.parse("emotoin")
    assert 'did you mean "emotion"?' in caught.value.fix
    with pytest.raises(ConfigError, match="no classifier is known for age"):
        Label.parse("age")
    assert Label.parse("sex").model == KINDS["sex"].model
    assert all(kind.licence and kind.source for kind in KINDS.values() if kind.model)


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
        lambda root, clip, names: Raw(values=dict.fromkeys(names, float(hash(clip.id) % 100))),
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
