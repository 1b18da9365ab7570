"""Checks at start: the text server serves the backbone of the checkpoint, and audio reaches it.

Its answers are compared with ours on the same weights: in bfloat16, other kernels change
log-probabilities by about 0.1 (docs/decisions/0046).
"""

import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from desta.audio import SAMPLE_RATE
from desta.errors import ConfigError, DestaError, UnavailableError
from desta.inference.conversation import user_message
from desta.inference.engine import Engine
from desta.inference.requests import Request
from desta.model.backbone.chat import OPTIONS, takes_system
from desta.model.backbone.sampling import Sampling
from desta.records import NO_TRANSCRIPTION, Message
from desta.serving.prompt_embeds import Embedder, part_of
from desta.serving.replicas import CHAT, NEUTRAL, error_fields, headers, library

log = logging.getLogger(__name__)

TOLERANCE = 0.5
"""Largest difference of a log-probability between the text server and the checkpoint's backbone."""
_NUM_TOKENS = 12
_NUM_LOGPROBS = 5
_SECONDS = 600.0  # a server that compiles at its first request takes minutes
_ANOTHER = "start it with the model that the connector was trained with"

Written = Sequence[tuple[int, Mapping[int, float]]]
"""Tokens with the log-probabilities of the likeliest tokens at each place, their own included."""


@dataclass(frozen=True)
class Served:
    """Model of a text server."""

    model: str
    """Its name of the backbone."""
    adapters: tuple[str, ...] = ()
    """Names of adapters of it."""
    max_positions: int | None = None
    """Longest conversation with its answer, in tokens, if it tells."""


@dataclass(frozen=True)
class Probe:
    """A conversation for the text server, and what the checkpoint's backbone writes."""

    messages: list[dict[str, Any]]
    ids: list[int]
    """Prompt; placeholders stand for audio."""
    written: Written


@dataclass(frozen=True)
class Reference:
    """What the text server has to write; computed before the backbone is freed."""

    backbone: str
    width: int
    text: Probe
    embedded: Probe
    """The same conversation, with its last message as embeddings."""
    clips: tuple[Probe, Probe]

    @classmethod
    def of(cls, engine: Engine) -> "Reference":
        """Compute it with a loaded model."""
        turns = [
            Message(role="system", content="Answer in one sentence."),
            Message(role="user", content="Où est le 1er chat? 猫はどこ？"),
            Message(role="assistant", content="On the mat; it's 12:30."),
            Message(role="user", content="Name three colours."),
        ]
        turns = turns if takes_system(engine.tokenizer) else turns[1:]
        text = _probe(engine, turns, embed=False)
        rng, seconds = np.random.default_rng(0), np.arange(SAMPLE_RATE) / SAMPLE_RATE
        tone = 0.3 * np.sin(2 * np.pi * 440 * seconds)
        noise = 0.1 * rng.standard_normal(SAMPLE_RATE)
        first, second = (
            _probe(engine, [_about(engine, samples)], embed=True) for samples in (tone, noise)
        )
        return cls(
            backbone=engine.model.config.backbone,
            width=engine.model.llm_model.get_input_embeddings().embedding_dim,
            text=text,
            embedded=_probe(engine, turns, embed=True),
            clips=(first, second),
        )


def check_all(urls: Sequence[str], reference: Reference, *, key: str | None = None) -> Served:
    """Check all replicas, and return what they serve.

    Raises:
        UnavailableError: one does not answer.
        ConfigError: one serves another model than the checkpoint's backbone, does not take
            embeddings, or is not served as the first is.
    """
    http = library()
    found = []
    for url in urls:
        with http.Client(
            base_url=url, headers=headers(key), timeout=_SECONDS, trust_env=False
        ) as client:
            try:
                found.append(check(client, reference))
            except http.HTTPError as error:
                raise UnavailableError(
                    f"{url} does not answer ({type(error).__name__})",
                    fix="start the text server first, and check its address",
                ) from None
            except DestaError as error:
                raise type(error)(f"{url}: {error.message}", fix=error.fix) from None
    if len(set(found)) > 1:
        raise ConfigError(
            "the replicas differ in names, adapters or length", fix="start all in the same way"
        )
    return found[0]


def check(client: Any, reference: Reference) -> Served:
    """Check one text server; see `check_all`.

    Args:
        client: an HTTP client with the server's address.
        reference: what it has to write.
    """
    served = _served(client)
    ids, text = _ask(client, served.model, reference.text)
    if ids != reference.text.ids:
        raise ConfigError(
            f"the tokenizer or chat template is not that of {reference.backbone}: a conversation "
            f"has {len(ids)} tokens there, {len(reference.text.ids)} here, and not the same",
            fix=f"{_ANOTHER}, and with its own chat template",
        )
    _compare("a question", text, reference.text.written, reference.backbone)
    _, embedded = _ask(client, served.model, reference.embedded, reference=reference)
    _compare("embeddings of a question", embedded, reference.text.written, reference.backbone)
    heard = []
    for probe in reference.clips:
        heard.append(_ask(client, served.model, probe, reference=reference)[1])
        _compare("a question about a clip", heard[-1], probe.written, reference.backbone)
    if heard[0] == heard[1]:
        raise ConfigError(
            "audio does not reach the model: two clips get the same answer, to the last digit",
            fix="see that nothing between the two servers changes the messages",
        )
    log.info("%s serves %s, and hears", client.base_url, reference.backbone)
    return served


def difference(ours: Written, theirs: Written) -> float:
    """Return the largest difference of log-probabilities up to the first token that differs.

    >>> difference([(5, {5: -0.25, 6: -1.5})], [(6, {6: -1.0, 5: -1.25})])
    1.0
    """
    worst = 0.0
    for (a, of_ours), (b, of_theirs) in zip(ours, theirs, strict=False):
        for token in {a, b}:
            one, other = (of.get(token, -math.inf) for of in (of_ours, of_theirs))
            worst = max(worst, abs(one - other))
        if a != b:
            break
    return worst


def _compare(what: str, theirs: Written, ours: Written, backbone: str) -> None:
    worst = difference(ours, theirs)
    if not theirs or worst > TOLERANCE:
        raise ConfigError(
            f"the model there is not {backbone}: its log-probabilities of the answer to {what} "
            f"differ by {worst:.2f}, and rounding explains {TOLERANCE}",
            fix=_ANOTHER,
        )
    log.debug("%s: log-probabilities differ by %.3f at most", what, worst)


def _probe(engine: Engine, turns: Sequence[Message], *, embed: bool) -> Probe:
    """Answer a conversation here, and write it for the text server."""
    refs = [ref for message in turns for ref in message.audios]
    request = Request(
        messages=turns,
        sampling=Sampling(max_new_tokens=_NUM_TOKENS),
        num_logprobs=_NUM_LOGPROBS,
    )
    [answer] = engine.run([request])[0].unwrap()
    messages: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in turns]
    clips = engine.audio_encoder.encode(refs)
    [prepared] = engine.prepare([request])
    if isinstance(prepared, DestaError):
        raise prepared
    if embed:
        embedder = Embedder(engine, max_seconds=math.inf, max_positions=sys.maxsize)
        good = [clip for clip in clips if not isinstance(clip, DestaError)]
        messages[-1] = {"role": "user", "content": [part_of(embedder.embed(turns[-1], good))]}
    written = [
        (token, dict(alternatives) | {token: logprob})
        for token, (logprob, alternatives) in zip(answer.ids, answer.logprobs, strict=True)
    ]
    return Probe(messages, prepared.tokens.ids, written)


def _about(engine: Engine, samples: Any) -> Message:
    clip = (samples.astype(np.float32), SAMPLE_RATE)
    locator, texts = engine.layout.locator, [NO_TRANSCRIPTION]
    return user_message("What can be heard?", [clip], locator=locator, texts=texts)


def _served(client: Any) -> Served:
    response = client.get("/v1/models")
    if response.status_code in (401, 403):
        raise ConfigError(
            "it asks for a token, or refuses the one it got", fix="give --upstream-token-file"
        )
    try:
        models = response.json()["data"]
        first = next(m for m in models if not m.get("parent"))
        adapters = tuple(str(m["id"]) for m in models if m.get("parent"))
        return Served(str(first["id"]), adapters, first.get("max_model_len"))
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        raise ConfigError(
            "there is no OpenAI-compatible server", fix="give the address of a vLLM server"
        ) from None


def _ask(
    client: Any, model: str, probe: Probe, *, reference: Reference | None = None
) -> tuple[list[int], Written]:
    """Return the ids of the prompt and the answer."""
    body = {
        "model": model,
        "messages": probe.messages,
        "temperature": 0,
        **NEUTRAL,
        "max_completion_tokens": _NUM_TOKENS,
        "logprobs": True,
        "top_logprobs": _NUM_LOGPROBS,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "chat_template_kwargs": OPTIONS,
    }
    response = client.post(CHAT, json=body)
    if response.status_code != 200:
        message = error_fields(response.content).get("message")
        fix = "see its log"
        if reference is not None:
            fix = (
                f"serve {reference.backbone}, of width {reference.width}, with "
                "--enable-prompt-embeds, by a vLLM of April 2026 or later"
            )
        raise ConfigError(f"it refuses a request: {message or response.status_code}", fix=fix)
    try:
        answer = response.json()
        notes = answer["choices"][0]["logprobs"]["content"]
        ids = [int(n) for n in answer.get("prompt_token_ids") or ()]
        return ids, [
            (_id(n), {_id(a): a["logprob"] for a in [*n["top_logprobs"], n]}) for n in notes
        ]
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ConfigError(
            "it returns no log-probabilities with token ids, so that its model cannot be compared",
            fix="serve the backbone by vLLM",
        ) from None


def _id(note: Mapping[str, Any]) -> int:
    return int(note["token"].removeprefix("token_id:"))
