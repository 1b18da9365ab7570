"""`desta measure` in several processes, killed in the midst of its work."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import soundfile

from support.commands import desta, run_desta, start_desta

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


def measuring(root: Path, out: Path, *, workers: int) -> list[object]:
    """Return the words of the command."""
    options = ["--root", root, "--out", out, "--attributes", "pitch", "--workers", workers]
    return ["measure", root / "clips.jsonl", *options]


def entries(out: Path) -> int:
    journal = out / "measured.ndjson"
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def test_killed_in_the_midst_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    make_corpus(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = desta(*measuring(tmp_path, whole, workers=1))
    assert "added Pitch to 400" in done.output

    run = start_desta(*measuring(tmp_path, killed, workers=2))
    while entries(killed) < 3:
        assert run.poll() is None, run.communicate()
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    num_done = entries(killed)
    assert not (killed / "clips.jsonl").exists()

    again = run_desta(*measuring(tmp_path, killed, workers=2))

    assert "added Pitch to 400" in again.stdout, again.stderr
    assert 3 <= num_done < entries(whole)
    assert entries(killed) == entries(whole)
    for name in ("clips.jsonl", "thresholds.json", "measure.json", "measured.ndjson"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
