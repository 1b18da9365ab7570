"""Recordings as the programs of the trade write them: every one is heard whole, at its pitch.

Needs ffmpeg, lame, sox, opusenc, oggenc, speexenc and flac; what is missing is skipped, by name.
"""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE, load_audio, measure_audio, probe_duration, read_audio

SECONDS = 2.4
PITCH = 440.0
PROGRAMS = ("ffmpeg", "lame", "sox", "opusenc", "oggenc", "speexenc", "flac")

EXACT = 1.5 / SAMPLE_RATE
CLOSE = 0.05  # seconds
PRIMED = 0.12  # formats that count the encoder's delay and its last, padded frame as sound

ff = "ffmpeg -v error -y -i in.wav"
FILES = {
    # plain samples
    "wav.wav": (EXACT, "cp in.wav {out}"),
    "wav-u8.wav": (EXACT, f"{ff} -c:a pcm_u8 {{out}}"),
    "wav-s24.wav": (EXACT, f"{ff} -c:a pcm_s24le {{out}}"),
    "wav-s32.wav": (EXACT, f"{ff} -c:a pcm_s32le {{out}}"),
    "wav-float.wav": (EXACT, f"{ff} -c:a pcm_f32le {{out}}"),
    "wav-double.wav": (EXACT, f"{ff} -c:a pcm_f64le {{out}}"),
    "wav-mulaw.wav": (EXACT, f"{ff} -c:a pcm_mulaw {{out}}"),
    "wav-alaw.wav": (EXACT, f"{ff} -c:a pcm_alaw {{out}}"),
    "wav-piped.wav": (EXACT, f"{ff} -f wav - | cat > {{out}}"),
    "wav-piped-by-sox.wav": (EXACT, "sox in.wav -t wav - | cat > {out}"),
    "rf64.wav": (EXACT, f"{ff} -rf64 always {{out}}"),
    "w64.w64": (EXACT, f"{ff} {{out}}"),
    "aiff.aiff": (EXACT, f"{ff} {{out}}"),
    "aiff-little-endian.aifc": (EXACT, f"{ff} -c:a pcm_s16le -f aiff {{out}}"),
    "aiff-mulaw.aifc": (EXACT, f"{ff} -c:a pcm_mulaw -f aiff {{out}}"),
    "au.au": (EXACT, f"{ff} {{out}}"),
    "au-mulaw.au": (EXACT, f"{ff} -c:a pcm_mulaw {{out}}"),
    "caf-pcm.caf": (EXACT, f"{ff} {{out}}"),
    "sphere.sph": (EXACT, "sox in.wav {out}"),
    "voc.voc": (CLOSE, f"{ff} {{out}}"),
    "sox.sox": (EXACT, "sox in.wav {out}"),
    "paf.paf": (EXACT, "sox in.wav {out}"),
    "mov-pcm.mov": (EXACT, f"{ff} -c:a pcm_s16le {{out}}"),
    # lossless
    "flac.flac": (EXACT, "flac -s -f -o {out} in.wav"),
    "flac-piped.flac": (EXACT, f"{ff} -c:a flac -f flac - | cat > {{out}}"),
    "ogg-flac.oga": (EXACT, "flac -s -f --ogg -o {out} in.wav"),
    "matroska-flac.mka": (EXACT, f"{ff} -c:a flac {{out}}"),
    "alac.m4a": (EXACT, f"{ff} -c:a alac {{out}}"),
    "caf-alac.caf": (EXACT, f"{ff} -c:a alac {{out}}"),
    "wavpack.wv": (EXACT, f"{ff} {{out}}"),
    "tta.tta": (EXACT, f"{ff} {{out}}"),
    "truehd.thd": (CLOSE, f"{ff} -ar 48000 -strict -2 -c:a truehd {{out}}"),
    # few bits
    "wav-ms-adpcm.wav": (CLOSE, f"{ff} -c:a adpcm_ms {{out}}"),
    "wav-ima-adpcm.wav": (CLOSE, f"{ff} -c:a adpcm_ima_wav {{out}}"),
    "caf-ima.caf": (CLOSE, f"{ff} -c:a adpcm_ima_qt {{out}}"),
    "wav-g722.wav": (CLOSE, f"{ff} -ar 16000 -c:a g722 {{out}}"),
    "wav-g723.wav": (CLOSE, f"{ff} -ar 8000 -c:a g723_1 -b:a 6300 {{out}}"),
    "wav-g726.wav": (CLOSE, f"{ff} -ar 8000 -c:a g726 {{out}}"),
    "wav-gsm.wav": (CLOSE, "sox in.wav -r 8000 -e gsm-full-rate {out}"),
    # lossy
    "wav-mp3.wav": (PRIMED, f"{ff} -c:a libmp3lame {{out}}"),
    "mp3.mp3": (EXACT, "lame --quiet -V4 in.wav {out}"),
    "mp3-constant.mp3": (EXACT, "lame --quiet -b 64 in.wav {out}"),
    "mp3-without-tag.mp3": (PRIMED, "lame --quiet -V4 in.wav - | cat > {out}"),
    "mp3-without-tag-16k.mp3": (PRIMED, "lame --quiet -V4 --resample 16 in.wav - | cat > {out}"),
    "mp3-by-ffmpeg-piped.mp3": (PRIMED, f"{ff} -q:a 4 -f mp3 - | cat > {{out}}"),
    "mp2.mp2": (CLOSE, f"{ff} {{out}}"),
    "aac.aac": (PRIMED, f"{ff} {{out}}"),
    "aac.m4a": (CLOSE, f"{ff} {{out}}"),
    "aac-fragments.mp4": (
        PRIMED,
        f"{ff} -movflags frag_keyframe+empty_moov -frag_duration 500000 {{out}}",
    ),
    "aac.3gp": (CLOSE, f"{ff} -c:a aac {{out}}"),
    "opus.opus": (EXACT, "opusenc --quiet in.wav {out}"),
    "opus.webm": (CLOSE, f"{ff} -c:a libopus {{out}}"),
    "caf-opus.caf": (CLOSE, f"{ff} -ar 48000 -c:a libopus {{out}}"),
    "vorbis.ogg": (EXACT, "oggenc -Q -o {out} in.wav"),
    "vorbis.mkv": (CLOSE, f"{ff} -c:a libvorbis {{out}}"),
    "speex.spx": (CLOSE, "speexenc in.wav {out} >/dev/null 2>&1"),
    "wma.wma": (CLOSE, f"{ff} {{out}}"),
    "ac3.ac3": (CLOSE, f"{ff} {{out}}"),
    "eac3.eac3": (CLOSE, f"{ff} {{out}}"),
    "dts.dts": (CLOSE, f"{ff} -strict -2 -c:a dca {{out}}"),
    "real.rm": (CLOSE, f"{ff} -ar 8000 -c:a real_144 {{out}}"),
    "transport-stream.ts": (CLOSE, f"{ff} {{out}}"),
    "flash.flv": (PRIMED, f"{ff} -ar 44100 {{out}}"),
    "avi.avi": (PRIMED, f"{ff} -c:a mp3 {{out}}"),
    "loas.loas": (PRIMED, f"{ff} -f latm -c:a aac {{out}}"),
}


def run(command: str, folder: Path) -> None:
    """Run a command of the shell; skip the test where its program or encoder is missing."""
    for program in PROGRAMS:
        if re.search(rf"\b{program}\b -|\b{program} ", command) and not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    if "Unknown encoder" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[0])
    assert done.returncode == 0, done.stderr


def pitch_of(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


def level_of(samples: NDArray[np.float32]) -> float:
    """Return the level in dB of full scale."""
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tone: in.wav of 440 Hz, other.wav of 880 Hz at another rate."""
    place = tmp_path_factory.mktemp("formats")
    tone = "sox -R -n -b 16 {} synth {} sine {} vol 0.5"
    run(tone.format("-r 44100 in.wav", SECONDS, PITCH), place)
    run(tone.format("-r 22050 -c 2 other.wav", 1.6, 2 * PITCH), place)
    return place


@pytest.mark.parametrize("name", FILES)
def test_every_format_is_heard_whole_and_at_its_pitch(folder: Path, name: str) -> None:
    tolerance, command = FILES[name]
    run(command.format(out=name), folder)

    sound = read_audio(folder / name)

    seconds = len(sound.samples) / SAMPLE_RATE
    assert seconds == pytest.approx(SECONDS, abs=tolerance)
    assert pitch_of(sound.samples) == pytest.approx(PITCH, abs=1)
    assert level_of(sound.samples) == pytest.approx(-9, abs=3.5)
    assert measure_audio(folder / name)[0] == pytest.approx(seconds, abs=EXACT)
    assert probe_duration(folder / name) == pytest.approx(seconds, abs=0.1)
    assert not sound.notes


JOINED = {
    "opus": ("opusenc --quiet {wav} {out}", EXACT),
    "ogg": ("oggenc -Q -o {out} {wav}", CLOSE),
    "oga": ("flac -s -f --ogg -o {out} {wav}", EXACT),
    "flac": ("flac -s -f -o {out} {wav}", EXACT),
    "mp3": ("lame --quiet -V4 {wav} {out}", PRIMED),
    "aac": ("ffmpeg -v error -y -i {wav} {out}", PRIMED),
    "ac3": ("ffmpeg -v error -y -i {wav} -ar 44100 {out}", PRIMED),
    "ts": ("ffmpeg -v error -y -i {wav} {out}", PRIMED),
}


@pytest.mark.parametrize("kind", JOINED)
def test_recordings_behind_each_other_are_heard_to_the_last_at_their_own_pitch(
    folder: Path, kind: str
) -> None:
    command, tolerance = JOINED[kind]
    if kind == "flac":  # other.wav has another rate, which a FLAC file cannot change to
        run("sox other.wav -r 44100 -c 1 same.wav", folder)
    other = "same.wav" if kind == "flac" else "other.wav"
    run(command.format(wav="in.wav", out=f"first.{kind}"), folder)
    run(command.format(wav=other, out=f"second.{kind}"), folder)
    run(f"cat first.{kind} second.{kind} > both.{kind}", folder)

    samples = load_audio(folder / f"both.{kind}")

    assert len(samples) / SAMPLE_RATE == pytest.approx(SECONDS + 1.6, abs=tolerance + EXACT)
    assert pitch_of(samples[:SAMPLE_RATE]) == pytest.approx(PITCH, abs=1)
    assert pitch_of(samples[-SAMPLE_RATE:]) == pytest.approx(2 * PITCH, abs=2)


LAYOUTS = [
    ("51.wav", "5.1", ""),
    ("51.flac", "5.1", ""),
    ("51.ac3", "5.1", ""),
    ("51.m4a", "5.1", ""),
    ("51.ogg", "5.1", "-c:a libvorbis"),
    ("51.opus", "5.1", "-ar 48000 -c:a libopus -mapping_family 1"),
    ("71.wav", "7.1", ""),
    ("quad.wav", "quad", ""),
]


@pytest.mark.parametrize(("name", "layout", "options"), LAYOUTS)
@pytest.mark.parametrize("channel", ["FL", "FC", "BL"])
def test_channels_are_mixed_at_the_level_of_ffmpeg(
    folder: Path, name: str, layout: str, options: str, channel: str
) -> None:
    if layout == "quad" and channel == "FC":
        pytest.skip("quad has no centre")
    out = f"{channel}-{name}"
    run(f"{ff} -af 'pan={layout}|{channel}=c0' {options} {out}", folder)
    run(f"ffmpeg -v error -y -i {out} -ac 1 -ar 16000 {out}.mono.wav", folder)

    sound = read_audio(folder / out)

    assert level_of(sound.samples) == pytest.approx(
        level_of(load_audio(folder / f"{out}.mono.wav")), abs=0.5
    )
    assert pitch_of(sound.samples) == pytest.approx(PITCH, abs=1)


@pytest.mark.parametrize("name", ["anti.wav", "anti.flac", "anti.mp3", "anti.m4a", "anti.opus"])
def test_channels_that_cancel_are_heard_and_it_is_said(folder: Path, name: str) -> None:
    run(f"{ff} -af 'pan=stereo|c0=c0|c1=-1*c0' {name}", folder)

    sound = read_audio(folder / name)

    assert level_of(sound.samples) == pytest.approx(-9, abs=1)
    assert [note.reason for note in sound.notes] == ["has channels that cancel each other"]


@pytest.mark.parametrize("name", ["tracks.mka", "tracks.mp4"])
@pytest.mark.parametrize("default", [0, 1])
def test_of_several_tracks_the_default_is_heard(folder: Path, name: str, default: int) -> None:
    marks = f"-disposition:a:{default} default -disposition:a:{1 - default} 0"
    run(f"{ff} -i other.wav -map 0 -map 1 -c:a aac {marks} {default}-{name}", folder)

    sound = read_audio(folder / f"{default}-{name}")

    assert pitch_of(sound.samples) == pytest.approx(PITCH * (1 + default), abs=2)
    assert [note.reason for note in sound.notes] == ["has several sound tracks"]


def test_a_cover_and_tags_are_no_sound(folder: Path) -> None:
    run("ffmpeg -v error -y -f lavfi -i color=red:s=64x64 -frames:v 1 cover.jpg", folder)
    run("lame --quiet -V4 --ti cover.jpg --tt Title --add-id3v2 in.wav cover.mp3", folder)
    run(f"{ff} -i cover.jpg -map 0 -map 1 -c:v copy -disposition:v attached_pic cover.m4a", folder)

    assert len(load_audio(folder / "cover.mp3")) / SAMPLE_RATE == pytest.approx(SECONDS, abs=EXACT)
    assert len(load_audio(folder / "cover.m4a")) / SAMPLE_RATE == pytest.approx(SECONDS, abs=CLOSE)


def test_a_long_pause_does_not_shorten_an_mp3_without_a_tag(folder: Path) -> None:
    noise = "sox -R -n -r 24000 -b 16 {} synth {} {}"
    run(noise.format("noise.wav", 7, "whitenoise vol 0.3"), folder)
    run(noise.format("pause.wav", 10, "sine 440 vol 0"), folder)
    run("sox noise.wav pause.wav noise.wav long.wav", folder)
    run("lame --quiet -V4 long.wav - | cat > long.mp3", folder)

    assert len(load_audio(folder / "long.mp3")) / SAMPLE_RATE == pytest.approx(24, abs=PRIMED)
    assert measure_audio(folder / "long.mp3")[0] == pytest.approx(24, abs=PRIMED)
    assert len(load_audio(folder / "long.mp3", max_seconds=24.5))
