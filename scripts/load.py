"""Load a running server as many clients would, for minutes, and check everything that it answers.

    desta serve --model MODEL &
    python scripts/load.py http://127.0.0.1:8000 RECORDINGS --pid PID [--clients N] [--seconds N]
        [--distinct N] [--max-tokens N] [--json FILE]

Questions are asked about a text alone and about clips of 2, 5, 30 and 90 s, which are joined from
the recordings in a folder. One client asks each distinct question twice: the first answers are
those to expect, the second round, clips and prefixes cached, gives the rate of one request at a
time; then all clients ask at random. Half of the answers are streamed, a tenth of the clients hang
up midway, a twentieth of the bodies is broken. Exits with 1 for a status other than 200, a
connection that breaks, an answer that differs, a broken body that is not refused with 400 or 422,
or a request that is still in flight at the end.
"""

import argparse
import base64
import io
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from threading import Event, Lock, Thread
from typing import Any

import httpx2
import numpy as np
import psutil
import soundfile

from desta.audio import SAMPLE_RATE, load_audio
from desta.environment import environment

CHAT = "/v1/chat/completions"
LENGTHS = (0, 2, 5, 30, 90)
"""Seconds of audio in a question; 0 is text alone."""
QUESTIONS = (
    "What language is spoken?",
    "Is the speaker a man or a woman?",
    "Describe the recording in one sentence.",
    "What could one hear next?",
)
BROKEN = (
    b"",
    b"{",
    b'{"model": "desta"}',
    b'{"model": "desta", "messages": "none"}',
    b'{"model": "desta", "messages": [{"role": "user", "content": [{"type": "input_audio", '
    b'"input_audio": {"data": "UklGRg==", "format": "wav"}}]}]}',
)
_REFUSED = (400, 422)  # 422: the recording is damaged
STREAMED, HUNG_UP, MALFORMED = 0.5, 0.1, 0.05
_MEMORY_EVERY = 5.0  # seconds


@dataclass
class Results:
    """Outcomes of all requests; thread-safe."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    first_seconds: list[float] = field(default_factory=list)
    whole_seconds: list[float] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def add(self, kind: str, *, wrong: str = "") -> None:
        """Count a request, and keep what was wrong with it."""
        with self.lock:
            self.counts[kind] += 1
            if wrong:
                self.wrong.append(wrong)


@dataclass(frozen=True)
class Served:
    """An answer."""

    text: str
    seconds: float
    first_seconds: float | None
    """Until the first text of a stream; None without any."""
    is_whole: bool = True


class Wrong(Exception):
    """The server answered what it must not."""


def clips(folder: Path, seconds: int) -> Iterator[str]:
    """Yield different clips of a length, joined from the recordings, as WAV in base64."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix in {".wav", ".ogg", ".flac", ".mp3"})
    place = 0
    while True:
        parts: list[Any] = []
        while sum(map(len, parts)) < seconds * SAMPLE_RATE:
            parts.append(load_audio(paths[place % len(paths)]))
            place += 1
        file = io.BytesIO()
        samples = np.concatenate(parts)[: seconds * SAMPLE_RATE]
        soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        yield base64.b64encode(file.getvalue()).decode()


def bodies(folder: Path, *, count: int, max_tokens: int) -> list[dict[str, Any]]:
    """Return different requests, equally many of each length."""
    found: list[dict[str, Any]] = []
    for seconds in LENGTHS:
        source = clips(folder, seconds) if seconds else None
        for number in range(-(-count // len(LENGTHS))):
            question = QUESTIONS[number % len(QUESTIONS)]
            content: Any = f"{number + 1}. {question}"
            if source is not None:
                audio = {"data": next(source), "format": "wav"}
                content = [
                    {"type": "input_audio", "input_audio": audio},
                    {"type": "text", "text": question},
                ]
            messages = [{"role": "user", "content": content}]
            found.append({"model": "desta", "messages": messages, "max_tokens": max_tokens})
    return found


def ask(client: httpx2.Client, body: dict[str, Any]) -> Served:
    """Return an answer; raise Wrong if there is none."""
    start = time.perf_counter()
    response = client.post(CHAT, json=body)
    if response.status_code != 200:
        raise Wrong(f"{response.status_code}: {response.text[:200]}")
    seconds = time.perf_counter() - start
    return Served(response.json()["choices"][0]["message"]["content"], seconds, seconds)


def stream(client: httpx2.Client, body: dict[str, Any], *, pieces: int | None = None) -> Served:
    """Return a streamed answer, or its beginning if the client hangs up after some pieces."""
    start, text = time.perf_counter(), ""
    first: float | None = None
    with client.stream("POST", CHAT, json={**body, "stream": True}) as response:
        if response.status_code != 200:
            raise Wrong(f"{response.status_code}: {response.read()[:200]!r}")
        is_done = False
        for line in response.iter_lines():
            data = line.removeprefix("data: ")
            is_done |= data == "[DONE]"
            if not data.startswith("{"):
                continue
            chunk = json.loads(data)
            if "error" in chunk:
                raise Wrong(f"a stream ended with {data[:200]}")
            text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
            if text and first is None:
                first = time.perf_counter() - start
            if pieces is not None and (pieces := pieces - 1) < 0:
                return Served(text, time.perf_counter() - start, first, is_whole=False)
        if not is_done:
            raise Wrong("a stream ended without [DONE]")
    return Served(text, time.perf_counter() - start, first)


def refuse(client: httpx2.Client, body: bytes) -> None:
    """Send a broken body, which must be refused."""
    response = client.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    if response.status_code not in _REFUSED:
        raise Wrong(f"a broken body got {response.status_code}: {body[:60]!r}")


def work(
    url: str,
    known: Sequence[tuple[dict[str, Any], str]],
    results: Results,
    *,
    seed: int,
    end: float,
) -> None:
    """Ask one question after the other until the end."""
    rng = random.Random(seed)
    with httpx2.Client(base_url=url, timeout=600) as client:
        while time.monotonic() < end:
            body, want = rng.choice(known)
            kind = "answered"
            try:
                draw = rng.random()
                if draw < MALFORMED:
                    kind = "refused"
                    refuse(client, rng.choice(BROKEN))
                elif draw < MALFORMED + HUNG_UP:
                    got = stream(client, body, pieces=rng.randint(0, 6))
                    kind = "answered" if got.is_whole else "hung up"
                    check(got, want)
                else:
                    is_stream = rng.random() < STREAMED
                    got = stream(client, body) if is_stream else ask(client, body)
                    check(got, want)
                    with results.lock:
                        results.whole_seconds.append(got.seconds)
                        if is_stream and got.first_seconds is not None:
                            results.first_seconds.append(got.first_seconds)
                results.add(kind)
            except Exception as error:  # whatever it is, the server caused it
                results.add("wrong", wrong=f"{kind}: {type(error).__name__}: {error}")


def check(got: Served, want: str) -> None:
    """Raise Wrong unless an answer, or what came of it, is as expected."""
    text = got.text.strip()
    if text != want if got.is_whole else not want.startswith(text):
        raise Wrong(f"{want!r} became {got.text!r}")


def watch(pid: int, done: Event, sizes: list[int]) -> None:
    """Record the memory of a process and its children every few seconds, in bytes."""
    process = psutil.Process(pid)
    while True:
        size = process.memory_info().rss
        for child in process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it ended just now
                size += child.memory_info().rss
        sizes.append(size)
        if done.wait(_MEMORY_EVERY):
            return


def in_flight(url: str) -> float:
    """Return the requests that the server says it is at work on."""
    deadline = time.monotonic() + 60  # clients that hung up are noticed between two tokens
    while True:
        text = httpx2.get(f"{url}/metrics").raise_for_status().text
        lines = [line for line in text.splitlines() if line.startswith("desta_requests_in_flight ")]
        number = float(lines[0].split()[1])
        if number == 0 or time.monotonic() > deadline:
            return number
        time.sleep(0.5)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50 and p95; nothing of less than two values."""
    if len(seconds) < 2:
        return {}
    cuts = quantiles(seconds, n=20, method="inclusive")
    return {"p50": round(cuts[9], 3), "p95": round(cuts[18], 3)}


def main() -> None:
    """Load, check, print, and exit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--pid", type=int, required=True, help="process of the server")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--distinct", type=int, default=40, help="different questions")
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    asked = bodies(options.recordings, count=options.distinct, max_tokens=options.max_tokens)
    with httpx2.Client(base_url=options.url, timeout=600) as client:
        known = [(body, ask(client, body).text.strip()) for body in asked]
        alone = [stream(client, body) for body in asked]
    if changed := sum(a.text.strip() != want for a, (_, want) in zip(alone, known, strict=True)):
        sys.exit(f"{changed} answers changed when one client asked again")
    results, done, sizes = Results(), Event(), list[int]()
    watcher = Thread(target=watch, args=(options.pid, done, sizes))
    watcher.start()
    start = time.monotonic()
    with ThreadPoolExecutor(options.clients) as pool:
        for seed in range(options.clients):
            pool.submit(work, options.url, known, results, seed=seed, end=start + options.seconds)
    seconds = time.monotonic() - start
    done.set()
    watcher.join()
    still = in_flight(options.url)
    rate_alone = len(alone) / sum(a.seconds for a in alone)
    rate = len(results.whole_seconds) / seconds
    found = {
        "requests": dict(results.counts),
        "still_in_flight": still,
        "memory_mib": {
            "first": sizes[0] >> 20,
            "most": max(sizes) >> 20,
            "last": sizes[-1] >> 20,
        },
        "answers_per_second": {
            "one at a time": round(rate_alone, 3),
            "together": round(rate, 3),
            "ratio": round(rate / rate_alone, 2),
        },
        "first_token_seconds": percentiles(results.first_seconds),
        "first_token_seconds_alone": percentiles(
            [a.first_seconds for a in alone if a.first_seconds]
        ),
        "whole_seconds": percentiles(results.whole_seconds),
    }
    print(json.dumps(found, indent=2))
    print(*dict.fromkeys(results.wrong), sep="\n")
    if options.json is not None:
        found |= {"command": sys.argv, "environment": environment()}
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(bool(results.wrong or still))


if __name__ == "__main__":
    main()
