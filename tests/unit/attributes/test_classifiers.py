"""Attributes that a model hears."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    HubertConfig,
    HubertForSequenceClassification,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
)

from desta.attributes.classifiers import Classifier
from desta.attributes.labels import LABEL_KINDS, Label
from desta.attributes.signal import Unmeasured
from desta.errors import CheckpointError, ConfigError
from desta.records import read_clips
from support.voices import make_voices, run, sound, write, written

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


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_voices(tmp_path)


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
    assert missing["reason"] == 'the label "calm" is not a value of Emotion'
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
    assert Label.parse("sex").model == LABEL_KINDS["sex"].model
    assert all(kind.licence and kind.source for kind in LABEL_KINDS.values() if kind.model)
