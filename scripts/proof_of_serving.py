"""Prove that the server answers as `desta ask` does, whatever else it answers at the time.

    python scripts/proof_of_serving.py MODEL RECORDING... [--clients N] [--max-tokens N]

Every recording is asked about once in this process, one after the other, and once of a server with
empty caches, by many clients at once, every other one as a stream. Both compute in float32. Exits
with 1 if an answer differs in a letter, and shows the first letters that do.
"""

import argparse
import base64
import json
import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from desta.inference.conversation import Conversation
from desta.inference.engine import Engine
from desta.model.backbone.sampling import Sampling
from desta.serving.app import create_app
from desta.serving.embedded import EmbeddedEngine
from desta.serving.guard import Access
from desta.serving.limits import ServingLimits
from desta.serving.metrics import Metrics
from desta.serving.server import Address, configure, listen

QUESTION = "What is said in this recording, and how?"


@contextmanager
def served(engine: Engine) -> Iterator[httpx2.Client]:
    """Serve an engine at a free port, and yield a client."""
    limits, metrics = ServingLimits(request_seconds=3600), Metrics()
    app = create_app(EmbeddedEngine(engine, limits, metrics, name="desta"), limits=limits)
    listener = listen(Address("127.0.0.1", 0, Access()))
    server = uvicorn.Server(configure(app, limits))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    listener.listen()
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx2.Client(base_url=url, timeout=3600) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def ask(client: httpx2.Client, recording: Path, *, max_tokens: int, stream: bool) -> str:
    """Return the server's answer about a recording."""
    data = base64.b64encode(recording.read_bytes()).decode()
    audio = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    content = [audio, {"type": "text", "text": QUESTION}]
    body: dict[str, Any] = {"model": "desta", "messages": [{"role": "user", "content": content}]}
    body |= {"max_tokens": max_tokens, "stream": stream}
    response = client.post("/v1/chat/completions", json=body).raise_for_status()
    if not stream:
        return str(response.json()["choices"][0]["message"]["content"])
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    choices = [json.loads(line)["choices"][0] for line in lines[:-1]]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def main() -> None:
    """Compare, print and exit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=64)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    engine = Engine.load(options.model, dtype="float32")
    sampling = Sampling(max_new_tokens=options.max_tokens)
    want = [
        "".join(Conversation(engine, sampling).ask(QUESTION, [path])).strip()
        for path in options.recordings
    ]
    with (
        served(Engine.load(options.model, dtype="float32")) as client,
        ThreadPoolExecutor(options.clients) as pool,
    ):
        got = list(
            pool.map(
                lambda item: ask(
                    client, item[1], max_tokens=options.max_tokens, stream=item[0] % 2 == 1
                ),
                enumerate(options.recordings),
            )
        )
    equal = [a == b for a, b in zip(want, got, strict=True)]
    for path, a, b in zip(options.recordings, want, got, strict=True):
        if a != b:
            print(f"{path}\n  {a!r}\n  {b!r}")
    print(f"{sum(equal)} of {len(equal)} answers are equal to the letter")
    sys.exit(not all(equal))


if __name__ == "__main__":
    main()
