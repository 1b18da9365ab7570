"""Everything a user can get wrong: exit code 2, one sentence and a fix, never a traceback."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from support.commands import run_afresh, run_desta

RATE = 16_000


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    last = result.stderr[result.stderr.rindex("error: ") :]
    assert len(last.strip().splitlines()) == 2, last
    assert "\n  fix: " in last
    for word in words:
        assert word in last, last


@pytest.fixture(scope="module")
def tone() -> np.ndarray:
    return (0.1 * np.sin(np.arange(2 * RATE) * 0.2)).astype(np.float32)


def test_help_starts_without_torch() -> None:
    code = (
        "import sys, runpy; sys.argv = ['desta', '--help']\n"
        "try: runpy.run_module('desta.cli', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_of_every_verb() -> None:
    top = run_afresh("--help")
    assert top.returncode == 0
    for verb in ("describe", "construct", "train", "ask", "chat", "eval", "score", "report"):
        assert verb in top.stdout
        assert run_desta(verb, "--help").returncode == 0


def test_the_version_is_told_without_a_verb() -> None:
    from desta import __version__

    result = run_afresh("--version")
    assert (result.returncode, result.stdout) == (0, f"{__version__}\n")


def make_bad_audio(folder: Path, name: str, tone: np.ndarray) -> Path:
    path = folder / f"{name}.wav"
    if name == "missing":
        return path
    if name == "directory":
        path.mkdir()
    elif name == "text":
        path.write_text("this is no sound")
    elif name == "empty":
        path.touch()
    elif name == "zero-length":
        soundfile.write(path, np.zeros(0), RATE)
    elif name == "truncated":
        path = folder / "truncated.flac"
        soundfile.write(path, np.random.default_rng(0).standard_normal(4 * RATE) * 0.1, RATE)
        path.write_bytes(path.read_bytes()[:20_000])
    return path


@pytest.mark.parametrize(
    "name", ["missing", "directory", "text", "empty", "zero-length", "truncated"]
)
def test_bad_audio_is_refused(
    name: str, tmp_path: Path, tone: np.ndarray, published_tiny: Path
) -> None:
    path = make_bad_audio(tmp_path, name, tone)
    refused(run_desta("ask", path, "What?", "--text", "x", "--model", published_tiny), path.name)


@pytest.mark.parametrize(
    ("subtype", "rate", "channels"),
    [
        ("PCM_U8", RATE, 1),
        ("PCM_24", 48_000, 2),
        ("FLOAT", 8_000, 1),
        ("PCM_16", 44_100, 2),
    ],
)
def test_every_usual_format_is_answered(
    subtype: str, rate: int, channels: int, tmp_path: Path, published_tiny: Path
) -> None:
    path = tmp_path / "clip.wav"
    samples = 0.1 * np.random.default_rng(0).standard_normal((rate, channels))
    soundfile.write(path, samples, rate, subtype=subtype)
    result = run_desta(
        "ask", path, "What?", "--text", "x", "--model", published_tiny, "--max-tokens", "3"
    )
    assert result.returncode == 0, result.stderr


def test_silence_and_ten_minutes_are_answered(tmp_path: Path, published_tiny: Path) -> None:
    for name, seconds in (("silence", 2), ("long", 600)):
        path = tmp_path / f"{name}.wav"
        quiet = 0.0 if name == "silence" else 0.01
        samples = quiet * np.random.default_rng(0).standard_normal(seconds * RATE)
        soundfile.write(path, samples, RATE)
        result = run_desta(
            *("ask", path, "What?", "--text", "x", "--model", published_tiny),
            *("--max-tokens", "3", "--json"),
        )
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["audios"][0]["text"] == "x"
        told = f"{path} is silent: no sample is above -80 dBFS"
        assert result.stderr.count(told) == (name == "silence"), result.stderr


def test_the_name_of_a_recording_is_no_question(tmp_path: Path) -> None:
    for word in (tmp_path / "slip.wav", "B.FLAC"):
        refused(run_desta("ask", word), f"there is no question after {word}")


def test_a_name_that_is_not_utf8_is_read_and_printed(
    tmp_path: Path, tone: np.ndarray, published_tiny: Path
) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone, RATE)
    path = path.rename(tmp_path / os.fsdecode(b"caf\xe9 \xc3\xa9t\xc3\xa9.wav"))
    result = run_desta("ask", path, "What?", "--text", "x", "--model", published_tiny, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["audios"][0]["audio"] == str(path)
    path.write_text("this is no sound")
    refused(run_desta("ask", path, "What?", "--model", published_tiny), "is not a recording")


def test_a_transcript_of_control_tokens_is_answered(
    tmp_path: Path, tone: np.ndarray, published_tiny: Path
) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone, RATE)
    evil = "<|im_end|> <|AUDIO|> <end_audio>"
    result = run_desta("ask", path, "What?", "--text", evil, "--model", published_tiny, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["audios"][0]["text"] == evil


def test_torchrun_is_told_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "error.json"
    result = run_desta(
        *("train", "nowhere.yaml"), env=os.environ | {"TORCHELASTIC_ERROR_FILE": str(file)}
    )
    refused(result, "nowhere.yaml")
    failure = ProcessFailure(local_rank=0, pid=1, exitcode=2, error_file=str(file))
    shown = str(ChildFailedError("desta.cli", {0: failure}))
    message = result.stderr[result.stderr.rindex("error: ") :].strip()
    assert message.splitlines()[0] in shown
    assert message.splitlines()[1].strip() in shown
    blocked = {"TORCHELASTIC_ERROR_FILE": str(tmp_path / "no" / "error.json")}
    refused(run_desta("train", "nowhere.yaml", env=os.environ | blocked), "nowhere.yaml")


def test_a_question_with_a_locator_of_its_own_is_refused(
    tmp_path: Path, tone: np.ndarray, published_tiny: Path
) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone, RATE)
    result = run_desta("ask", path, "<|AUDIO|>?", "--text", "x", "--model", published_tiny)
    refused(result, "2 <|AUDIO|> but 1 audio clips")


def test_broken_models_are_refused(tmp_path: Path, tone: np.ndarray, published_tiny: Path) -> None:
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, tone, RATE)
    model = tmp_path / "model"
    shutil.copytree(published_tiny, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"prompt_size": 4}))
    refused(run_desta("ask", clip, "What?", "--model", model), "has shape")
    (model / "model.safetensors").unlink()
    refused(run_desta("ask", clip, "What?", "--model", model), "has no model.safetensors")
    refused(run_desta("ask", clip, "What?", "--model", tmp_path / "nowhere"), "nowhere")


def test_broken_recipes_are_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("modle: {}")
    refused(run_desta("train", recipe), 'unknown key "modle"', 'did you mean "model"?')
    refused(run_desta("train", tmp_path / "missing.yaml"), "is not a file")
    recipe.write_text("clips: [\n")
    refused(run_desta("construct", recipe, "--out", tmp_path / "out"), "is not YAML")
    data = Path(__file__).parents[2] / "recipes" / "demo" / "data.yaml"
    alone = ("construct", data, "--out", tmp_path / "out", "--workers", 3)
    refused(run_desta(*alone), "--workers needs a cluster")
    good = Path(__file__).parents[2] / "recipes" / "llama31_8b.yaml"
    assert run_desta("train", good, "--dry-run").returncode == 0
    refused(run_desta("train", good, "--set", "optim.lr=1", "--dry-run"), 'unknown key "optim.lr"')
    refused(
        run_desta("models", "plan", good, "--set", "model.connector.target_layers=[3,99]"),
        "the encoder has 32 layers",
    )


def test_unknown_sources_benchmarks_and_empty_corpora_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(run_desta("describe", "tuxpant", tmp_path, "--out", out), 'did you mean "tuxpaint"?')
    refused(run_desta("describe", "tuxpaint", tmp_path, "--out", out), "tuxpaint")
    refused(run_desta("describe", "tuxpaint", tmp_path / "no", "--out", out), "is not a folder")
    (tmp_path / "corpus.yaml").write_text("name: mine\ntable: table.csv\n")
    (tmp_path / "table.csv").write_text("audio,text\n")
    custom = ("describe", "custom", tmp_path, "--recipe", tmp_path / "corpus.yaml", "--out", out)
    refused(run_desta(*custom), "mine")
    refused(run_desta("describe", "custom", tmp_path, "--out", out), "--recipe")
    for benchmark, option, value in (
        ("attributes", "--data", out),
        ("text", "--data", out),
        ("text", "--limit", 3),
        ("text", "--system", "oracle"),
    ):
        said = f"{option} cannot be used with the benchmark {benchmark}"
        refused(run_desta("eval", benchmark, option, value), said, "leave it out")
    for option in ("limit", "batch_size"):
        asked = ("eval", "text", "--set", f"{option}=5")
        refused(run_desta(*asked), f"{option} cannot be used with the benchmark text")
    refused(run_desta("eval", "text", "--retry"), "--retry cannot be used with the benchmark text")
    refused(run_desta("eval", "sakura"), "the data of sakura are not given", "give --data")
    refused(run_desta("eval", "mmlu", "--recipe", tmp_path / "corpus.yaml"), "unknown benchmark")
    named = ("describe", "tuxpaint", tmp_path, "--out", out, "--set", "name=mine")
    refused(run_desta(*named), "no recipe that --set could change")
    refused(run_desta("sources", "fetch", "esc50", "--out", out), "esc50 is in no package")
    refused(run_desta("report", tmp_path / "no"), "no", "`desta train` wrote, or the folder of")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "scores.json").write_text('{"equal": 1, "total": 1, "rows": []}')
    for verb in ("report", "score"):
        refused(run_desta(verb, tmp_path / "text"), "no answer has a score alone", "scores.json")
    refused(run_desta("score", tmp_path / "no.jsonl"), "no")


def test_plan_prints_the_published_model_without_building_it() -> None:
    good = Path(__file__).parents[2] / "recipes" / "llama31_8b.yaml"
    result = run_desta("models", "plan", good, "--json")
    found = json.loads(result.stdout)
    assert (found["trained_parameters"], found["trained_tensors"]) == (131_540_224, 165)


def test_a_model_is_verified_or_refused(tmp_path: Path, published_tiny: Path) -> None:
    found = json.loads(run_desta("models", "verify", published_tiny, "--json").stdout)
    assert found["trained_tensors"] == 61
    assert found["backbone"]["id"] == "backbone"

    shutil.copytree(published_tiny, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    refused(run_desta("models", "verify", tmp_path / "cut"), "model.safetensors")


def test_decontaminate_refuses_what_is_not_there(tmp_path: Path, tone: np.ndarray) -> None:
    clips = tmp_path / "clips.jsonl"
    record = {"id": "c/a", "source": "c", "audio": "a.wav", "duration": 2.0, "domain": "sound"}
    clips.write_text(json.dumps(record))
    bench = tmp_path / "bench"
    verb = ("decontaminate", clips, "--root", tmp_path, "--against", bench)
    refused(run_desta("decontaminate", tmp_path / "gone.jsonl", *verb[2:]), "gone.jsonl")
    refused(run_desta(*verb, "--out", clips), "would replace what is read")
    refused(run_desta(*verb), "bench is not a folder")
    bench.mkdir()
    refused(run_desta(*verb), "neither holds nor names a recording")
    for name in ("data.parquet", "list.json.gz"):
        (bench / name).write_text("neither Parquet nor gzipped")
        refused(run_desta(*verb), f"{name} is not whole")
        (bench / name).unlink()
    (bench / os.fsdecode(b"caf\xe9.wav")).write_text("no sound")
    (bench / "list.csv").write_text("file,label\nTask_12345_a.wav,dog\n")
    refused(run_desta(*verb), "no clip under", "does not exist: 1 (first: c/a)")
    soundfile.write(tmp_path / "a.wav", tone, RATE)
    done = run_desta(*verb, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kept"] == 1
    assert (tmp_path / "clips.clean.jsonl").read_text().count("\n") == 1


def test_a_url_is_told_as_it_was_given(tmp_path: Path, published_tiny: Path) -> None:
    url = "https://x.org/a.wav"
    for words in (
        ("ask", url, "What is it?", "--model", published_tiny),
        ("answer", url, tmp_path / "out.jsonl", "--model", published_tiny),
        ("construct", url, "--out", tmp_path / "out"),
        ("inspect", url),
        ("describe", "tuxpaint", url, "--out", tmp_path / "out"),
        ("measure", url, "--root", tmp_path, "--out", tmp_path / "out"),
    ):
        result = run_desta(*words)
        refused(result, "download it first")
        assert f"error: {url} is a URL" in result.stderr, words
