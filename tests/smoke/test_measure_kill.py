"""`desta measure` in several processes, killed in the midst of its work."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[2]
NUM_CLIPS = 400


def make_corpus(root: Path) -> None:
    lines = []
    for number in range(NUM_CLIPS):
        hertz = 80 + number % 150
        t = np.arange(8_000) / 16_000
        tone = sum(np.sin(2 * np.pi * hertz * n * t) / n for n in range(1, 5))
        soundfile.write(root / f"{number}.wav", 0.1 * tone, 16_000)
        lines.append(
            json.dumps(
                {
                    "id": f"s/{number}",
                    "source": "s",
                    "audio": f"{number}.wav",
                    "duration": 0.5,
                    "domain": "speech",
                    "attributes": {"Gender": ("Female", "Male")[number % 2]},
                }
            )
        )
    (root / "clips.jsonl").write_text("\n".join(lines))


def start(root: Path, out: Path) -> subprocess.Popen[bytes]:
    options = ["--root", str(root), "--out", str(out), "--attributes", "pitch"]
    return subprocess.Popen(
        [sys.executable, "-m", "desta.cli", "measure", str(root / "clips.jsonl"), *options]
        + ["--workers", "2"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def entries(out: Path) -> int:
    journal = out / "measured.ndjson"
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def test_killed_in_the_midst_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    make_corpus(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    output, errors = start(tmp_path, whole).communicate()
    assert b"added Pitch to 400" in output, errors

    run = start(tmp_path, killed)
    while entries(killed) < 3:
        assert run.poll() is None, run.communicate()
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    done = entries(killed)
    assert not (killed / "clips.jsonl").exists()

    output, errors = start(tmp_path, killed).communicate()

    assert b"added Pitch to 400" in output, errors
    assert 3 <= done < entries(whole)
    assert entries(killed) == entries(whole)
    for name in ("clips.jsonl", "thresholds.json", "measure.json", "measured.ndjson"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
