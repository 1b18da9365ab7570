"""Measure the gateway: are its answers ours, and what does it add to a request?

    python scripts/gateway.py MODEL RECORDING... --upstream URL [--token-file FILE] [--times N]
        [--max-tokens N] [--dtype bfloat16] [--json FILE]

Every recording is asked about once in this process and once through the gateway, greedily; start
the text server with the same dtype. Where answers part, the first token that differs is printed
with the log-probabilities that either side gives to both: kernels round differently, so that close
tokens change places. With `--times`, each recording, now cached, is asked about N times through the
gateway and N times by the same body sent to the text server directly, in turns; and a second
question about a clip is compared with a text of as many tokens, by the time to the first token.
"""

import argparse
import base64
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import uvicorn

from desta.environment import environment
from desta.inference.conversation import system_messages, user_message
from desta.inference.engine import Engine
from desta.inference.requests import Answer, Request
from desta.model.backbone.sampling import Sampling
from desta.records import Message
from desta.serving.app import create_app
from desta.serving.guard import Access
from desta.serving.limits import ServingLimits
from desta.serving.metrics import Metrics
from desta.serving.replicas import CHAT, Replicas, headers, read_url
from desta.serving.server import Address, configure, listen, read_tokens
from desta.serving.upstream import UpstreamEngine
from desta.serving.upstream_checks import Reference, check_all

QUESTION = "What is said in this recording, and in which language?"
SECOND = "How does the speaker feel?"
NEAR = 0.1  # log-probability
_ALTERNATIVES = 20


@dataclass(frozen=True)
class Parting:
    """The first token that differs, with what either side gives to both."""

    recording: str
    place: int
    ours: str
    theirs: str
    ours_of_ours: float
    ours_of_theirs: float | None
    theirs_of_ours: float | None
    theirs_of_theirs: float

    @property
    def distance(self) -> float:
        """Difference of the log-probabilities of the tokens that were taken."""
        return abs(self.ours_of_ours - self.theirs_of_theirs)


class Seen(Replicas):
    """Replicas that keep the last body."""

    body: Mapping[str, Any] = {}

    async def ask(self, beginning: str, body: Mapping[str, Any]) -> Any:
        """Keep the body, and send it."""
        self.body = body
        return await super().ask(beginning, body)


@contextmanager
def served(
    engine: Engine, replicas: Replicas, reference: Reference, key: str | None
) -> Iterator[str]:
    """Serve the gateway at a free port, and yield its URL."""
    limits, metrics = ServingLimits(request_seconds=3600), Metrics()
    names = check_all(replicas.urls, reference, key=key)
    upstream = UpstreamEngine(
        engine, limits, metrics, name="desta", replicas=replicas, served=names
    )
    app = create_app(upstream, limits=limits, metrics=metrics)
    listener = listen(Address("127.0.0.1", 0, Access()))
    server = uvicorn.Server(configure(app, limits))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    listener.listen()
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def about(recording: Path, question: str) -> list[dict[str, Any]]:
    """Return messages of the API that ask about a recording."""
    data = base64.b64encode(recording.read_bytes()).decode()
    clip = {"type": "input_audio", "input_audio": {"data": data, "format": recording.suffix[1:]}}
    return [{"role": "user", "content": [clip, {"type": "text", "text": question}]}]


def own_answer(engine: Engine, recording: Path, max_tokens: int) -> Answer:
    """Return the answer of this process."""
    turn = user_message(QUESTION, [recording], locator=engine.layout.locator)
    request = Request(
        messages=[*system_messages(engine, None), turn],
        sampling=Sampling(max_new_tokens=max_tokens),
        num_logprobs=_ALTERNATIVES,
    )
    [answer] = engine.run([request])[0].unwrap()
    return answer


def part(
    engine: Engine, recording: Path, ours: Answer, choice: Mapping[str, Any]
) -> Parting | None:
    """Return the first token that differs; None if there is none."""
    notes = choice["logprobs"]["content"]
    for place, (token, (logprob, others), note) in enumerate(
        zip(ours.ids, ours.logprobs, notes, strict=False)
    ):
        theirs = _id(note)
        if theirs == token:
            continue
        of_theirs = {_id(other): other["logprob"] for other in note["top_logprobs"]}
        return Parting(
            recording=recording.name,
            place=place,
            ours=engine.tokenizer.decode([token]),
            theirs=engine.tokenizer.decode([theirs]),
            ours_of_ours=logprob,
            ours_of_theirs=dict(others).get(theirs),
            theirs_of_ours=of_theirs.get(token),
            theirs_of_theirs=note["logprob"],
        )
    return None


def _id(note: Mapping[str, Any]) -> int:
    return int(note["token"].removeprefix("token_id:"))


def post(client: httpx2.Client, body: Mapping[str, Any]) -> Any:
    """Return the JSON of an answer."""
    return client.post(CHAT, json=body).raise_for_status().json()


def whole_seconds(client: httpx2.Client, body: Mapping[str, Any]) -> float:
    """Return the seconds until an answer is complete."""
    start = time.perf_counter()
    post(client, body)
    return time.perf_counter() - start


def first_seconds(client: httpx2.Client, body: Mapping[str, Any]) -> float:
    """Return the seconds until the first text of a stream."""
    start = time.perf_counter()
    with client.stream("POST", CHAT, json={**body, "stream": True}) as response:
        for line in response.iter_lines():
            data = line.removeprefix("data: ")
            if not data.startswith("{"):
                continue
            if any(c["delta"].get("content") for c in json.loads(data)["choices"]):
                return time.perf_counter() - start
    raise SystemExit("a stream without text")


def overhead(
    gate: httpx2.Client, direct: httpx2.Client, seen: Seen, recordings: list[Path], times: int
) -> dict[str, float]:
    """Return medians in seconds, through the gateway and past it, of requests for 16 tokens."""
    through, past = [], []
    for recording in recordings:
        body = {"model": "desta", "messages": about(recording, QUESTION), "max_tokens": 16}
        post(gate, body)
        raw = seen.body
        for _ in range(times):
            through.append(whole_seconds(gate, body))
            past.append(whole_seconds(direct, raw))
    added = [a - b for a, b in zip(through, past, strict=True)]
    return {"gateway": median(through), "direct": median(past), "added": median(added)}


def second_questions(
    gate: httpx2.Client, engine: Engine, recordings: list[Path], times: int
) -> dict[str, float]:
    """Return medians of the time to the first token: second question, and text of that length."""
    clip, text = [], []
    for number in range(times):
        recording = recordings[number % len(recordings)]
        ask = partial(dict, model="desta", max_tokens=4)
        length = post(gate, ask(messages=about(recording, QUESTION)))["usage"]["prompt_tokens"]
        clip.append(first_seconds(gate, ask(messages=about(recording, f"{number}. {SECOND}"))))
        filler = f"{number}" + " the" * (length - _length(engine, f"{number}"))
        for sink, question in (([], QUESTION), (text, SECOND)):
            messages = [{"role": "user", "content": f"{filler} {question}"}]
            sink.append(first_seconds(gate, ask(messages=messages)))
    return {"clip": median(clip), "text": median(text)}


def _length(engine: Engine, text: str) -> int:
    """Return the tokens of a question in text."""
    turns = [*system_messages(engine, None), Message(role="user", content=f"{text} {QUESTION}")]
    return len(engine.layout.context(turns, []).ids)


def main() -> None:
    """Compare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--times", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    key = None if options.token_file is None else read_tokens(options.token_file)[0]
    engine = Engine.load(options.model, dtype=options.dtype)
    answers = [own_answer(engine, path, options.max_tokens) for path in options.recordings]
    seen = Seen([read_url(options.upstream)], key=key)
    partings, equal, timings = [], 0, {}
    with (
        served(engine, seen, Reference.of(engine), key) as url,
        httpx2.Client(base_url=url, timeout=3600) as gate,
        httpx2.Client(base_url=seen.urls[0], timeout=3600, headers=headers(key)) as direct,
    ):
        for path, ours in zip(options.recordings, answers, strict=True):
            body = {"model": "desta", "messages": about(path, QUESTION), "logprobs": True}
            body |= {"max_tokens": options.max_tokens, "top_logprobs": _ALTERNATIVES}
            [choice] = post(gate, body | {"return_tokens_as_token_ids": True})["choices"]
            equal += choice["message"]["content"].strip() == ours.text
            if (found := part(engine, path, ours, choice)) is not None:
                partings.append(found)
                print(found)
        if options.times:
            timings["overhead"] = overhead(gate, direct, seen, options.recordings, options.times)
            timings["first_token"] = second_questions(
                gate, engine, options.recordings, options.times
            )
    near = sum(found.distance <= NEAR for found in partings)
    print(f"{equal} of {len(answers)} answers are equal to the letter")
    print(f"{near} of {len(partings)} first tokens that differ are within {NEAR} of each other")
    print(json.dumps(timings, indent=2))
    if options.json is not None:
        found = {"equal": equal, "total": len(answers), "near": near, "seconds": timings}
        found |= {"partings": [asdict(p) for p in partings], "environment": environment()}
        options.json.write_text(json.dumps({"command": sys.argv, **found}, indent=2) + "\n")
    sys.exit(near < len(partings))


if __name__ == "__main__":
    main()
