"""Send a running server broken recordings: every one must be answered or refused, none may fail.

    python scripts/corrupted.py http://127.0.0.1:8000 RECORDING... [--count N] [--seed N]

Each request takes one of the recordings, damages it (cut short, bytes changed, a piece removed,
repeated or zeroed, another file's beginning, a chunk length of nonsense), and sends it as a clip of
a chat or as a file to transcribe, under its own format or another. Before, each is sent undamaged
and must be answered. Exits with 1 for a status other than 200, 400, 413, 415 and 422, for a
connection that breaks, or if the server is not ready at the end; counts answers and refusals.
"""

import argparse
import base64
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2

FORMATS = ("wav", "mp3", "flac", "ogg", "opus", "m4a", "webm")
_ALLOWED = (200, 400, 413, 415, 422)
_LEAST_BYTES = 64


def cut_short(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Keep the beginning."""
    return data[: rng.randrange(len(data))]


def change_bytes(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Change a few bytes, or a hundred."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 4, 20, 100))):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def change_header(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Change bytes among the first 64."""
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        damaged[rng.randrange(min(64, len(damaged)))] = rng.choice((0, 1, 127, 128, 255))
    return bytes(damaged)


def change_length(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Write a length of nonsense over four bytes near the beginning."""
    place = rng.randrange(4, min(256, len(data) - 4))
    length = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**24))
    return data[:place] + length.to_bytes(4, rng.choice(("little", "big"))) + data[place + 4 :]


def remove_piece(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Leave a piece out."""
    first, last = sorted(rng.sample(range(len(data)), 2))
    return data[:first] + data[last:]


def repeat_piece(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Repeat a piece."""
    first, last = sorted(rng.sample(range(len(data)), 2))
    return data[:last] + data[first:]


def zero_piece(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Put zeros in the place of a piece."""
    first, last = sorted(rng.sample(range(len(data)), 2))
    return data[:first] + bytes(last - first) + data[last:]


def take_beginning(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Begin as another recording."""
    return other[: rng.randint(4, 512)] + data[rng.randint(0, 512) :]


def noise(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Keep the first bytes, and go on at random."""
    return data[: rng.choice((0, 4, 12, 44))] + rng.randbytes(rng.randint(0, 20_000))


DAMAGES: Sequence[Callable[[bytes, bytes, random.Random], bytes]] = (
    cut_short,
    change_bytes,
    change_header,
    change_length,
    remove_piece,
    repeat_piece,
    zero_piece,
    take_beginning,
    noise,
)


def send(client: httpx2.Client, data: bytes, name: str, *, to_transcribe: bool) -> httpx2.Response:
    """Send a recording as a clip of a chat, or to be transcribed."""
    if to_transcribe:
        files = {"file": (f"clip.{name}", data)}
        return client.post("/v1/audio/transcriptions", files=files, data={"model": "desta"})
    clip = {"data": base64.b64encode(data).decode(), "format": name}
    content = [
        {"type": "input_audio", "input_audio": clip},
        {"type": "text", "text": "What is it?"},
    ]
    body = {"model": "desta", "messages": [{"role": "user", "content": content}], "max_tokens": 2}
    return client.post("/v1/chat/completions", json=body)


def main() -> None:
    """Send, count, and exit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    recordings = [(path.suffix[1:].lower(), path.read_bytes()) for path in options.recordings]
    if short := [
        p
        for p, (_, data) in zip(options.recordings, recordings, strict=True)
        if len(data) < _LEAST_BYTES
    ]:
        sys.exit(f"{short[0]} is shorter than {_LEAST_BYTES} bytes")
    counts, failures, slowest = Counter[str](), [], 0.0
    with httpx2.Client(base_url=options.url, timeout=600) as client:
        for name, data in recordings:
            for to_transcribe in (False, True):
                send(client, data, name, to_transcribe=to_transcribe).raise_for_status()
        for number in range(options.count):
            name, data = rng.choice(recordings)
            damage = rng.choice(DAMAGES)
            damaged = damage(data, rng.choice(recordings)[1], rng)
            said = name if rng.random() < 0.7 else rng.choice(FORMATS)
            start = time.perf_counter()
            try:
                response = send(client, damaged, said, to_transcribe=number % 4 == 0)
            except httpx2.HTTPError as error:
                failures.append(f"{number}: {damage.__name__} of {name}: {error!r}")
                break
            slowest = max(slowest, time.perf_counter() - start)
            counts[f"{response.status_code} {damage.__name__}"] += 1
            if response.status_code not in _ALLOWED:
                failures.append(f"{number}: {damage.__name__} of {name}: {response.text[:200]}")
        try:
            is_ready = client.get("/ready").status_code == 200
        except httpx2.HTTPError:
            is_ready = False
    by_status = Counter[str]()
    for kind, count in counts.items():
        by_status[kind.split()[0]] += count
    print(json.dumps({"statuses": by_status, "slowest_seconds": round(slowest, 2)}, indent=2))
    print(json.dumps(dict(sorted(counts.items())), indent=2))
    print(*failures, sep="\n")
    sys.exit(bool(failures) or not is_ready)


if __name__ == "__main__":
    main()
