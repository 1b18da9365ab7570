"""What an endpoint answers over HTTP: a completion, a refusal, a wish to be left alone.

Endpoints are looser than the protocol. Fields that are missing, null or of another type are read
as far as they tell anything; only what holds no answer at all is `Unreadable`.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any

from desta.errors import ConfigError
from desta.llm.base import Completion, Refusal
from desta.llm.config import OpenAIEngine
from desta.llm.reasoning import completion

if TYPE_CHECKING:
    from httpx2 import Response

QUOTED = 200
"""Characters of an answer that an error repeats."""


_OF_ONE = frozenset({400, 413, 422})
"""Statuses that may be the fault of one request.

All others are of key, account or address, but where they name a content filter.
"""
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation"})
_FILTER_WORDS = "Content violates usage guidelines"
"""How xAI begins, with 403 and the code that it gives to keys without permission as well."""
_CODE = re.compile(r"[A-Za-z][\w.-]{0,60}")


_FINISHED = frozenset(
    {
        *("stop", "eos", "eos_token", "stop_sequence", "stop_token", "stop_string", "end_turn"),
        *("end", "end_of_text", "complete", "completed", "finish", "finished", "done", "success"),
    }
)
_CUT_OFF = frozenset(
    {
        *("length", "max_tokens", "max_new_tokens", "max_output_tokens", "max_completion_tokens"),
        *("max_length", "model_length", "token_limit", "model_context_window_exceeded"),
    }
)
_FILTERED = frozenset(
    {
        *("content_filter", "content_filtered", "safety", "recitation", "blocklist", "spii"),
        *("prohibited_content", "refusal", "guardrail_intervened", "sensitive"),
    }
)
_BROKEN = frozenset(
    {
        *("error", "abort", "aborted", "cancelled", "canceled", "timeout", "network_error"),
        *("insufficient_system_resource",),
    }
)
"""Values of `finish_reason` in lower case, as endpoints and the servers behind them have them."""
_REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
"""Fields of a message, and kinds of its parts, in which endpoints keep reasoning apart."""


class UnknownModelError(ConfigError):
    """The endpoint has no such model, or no such path."""


@dataclass(frozen=True, kw_only=True)
class Unreadable(Refusal):
    """A response that holds no answer, however often the request is sent."""

    in_protocol: bool
    """Whether it is a chat completion by its form, or an error: the address is right then."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is read of a chat completion."""

    completion: Completion
    num_read: int
    model: str | None
    """What the endpoint says has answered, often with a date."""
    fingerprint: str | None
    unknown_ending: str | None = None
    """Its `finish_reason`, where that is none that is known; it counts as cut off."""


def read_answer(response: "Response", limit: int) -> Answer | Refusal | None:
    """Return what an answer says, or None where it holds none.

    Args:
        response: of the endpoint.
        limit: tokens that were asked for at most. An endpoint that does not say why an answer has
            ended, but counts as many, has cut it off.
    """
    record = _json(response)
    choice = _choice(record)
    if choice is None:
        return None
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice["text"]} if isinstance(choice.get("text"), str) else {}
        if not message:
            return None
    try:
        text, reasoning = _content(message.get("content"))
    except TypeError:
        return None
    ending = _ending(choice.get("finish_reason"))
    refused = message.get("refusal")
    if ending in _FILTERED or (not text and isinstance(refused, str) and refused):
        code = ending if ending in _FILTERED else "refusal"
        said = refused if isinstance(refused, str) else f"finish_reason {ending}"
        return Refusal(
            reason=f"refused by the endpoint: {response.status_code} {code}",
            message=f"{response.status_code} {' '.join(said.split())[:QUOTED]}",
        )
    if ending in _BROKEN:
        return None
    fields = (_joined(message.get(name)) for name in _REASONING)
    reasoning = reasoning or next(filter(None, fields), "")
    usage = record.get("usage")
    num_written = _number(usage, "completion_tokens", "output_tokens")
    finished = ending in _FINISHED or (not ending and num_written != limit)
    model, fingerprint = record.get("model"), record.get("system_fingerprint")
    return Answer(
        completion=completion(
            _without_halves(text).strip(),
            reasoning=_without_halves(reasoning),
            num_tokens=len(f"{reasoning} {text}".split()) if num_written is None else num_written,
            finished=finished,
        ),
        num_read=_number(usage, "prompt_tokens", "input_tokens") or 0,
        model=model if isinstance(model, str) else None,
        fingerprint=None if fingerprint is None else str(fingerprint),
        unknown_ending=ending if ending and not finished and ending not in _CUT_OFF else None,
    )


def read_unreadable(response: "Response") -> Unreadable:
    """Return what a response is that holds no answer, though it came with a good status."""
    text, record = response.text.lstrip("\ufeff \r\n\t"), _json(response)
    in_protocol = isinstance(record, dict) and ("choices" in record or bool(record.get("error")))
    if not text:
        what = "an empty body"
    elif text.startswith("<"):
        what = "a page of HTML"
    elif in_protocol and record.get("error"):
        what = "an error"
    elif _is_stream(response):
        what = "a stream without an answer"
    elif record is None:
        what = "what is no JSON"
    elif choice := _choice(record):
        ending = _ending(choice.get("finish_reason"))
        what = f"finish_reason {ending}" if ending in _BROKEN else "a choice without an answer"
    else:
        what = "JSON without choices"
    return Unreadable(
        reason=f"no answer that can be read: {what}",
        message=f"gave what is no chat completion, but {what}: {text[:QUOTED]!r}",
        in_protocol=in_protocol,
    )


def _json(response: "Response") -> Any:
    """Return what a body holds, a stream as one completion; None where it is no JSON."""
    try:
        return _of_stream(response.text) if _is_stream(response) else response.json()
    except (AttributeError, ValueError, RecursionError):
        return None


def _is_stream(response: "Response") -> bool:
    """Tell whether a body is a stream of events; some endpoints know nothing else."""
    return response.content[:64].lstrip().startswith((b"data:", b"event:", b":", b"id:"))


def _of_stream(text: str) -> dict[str, Any]:
    """Join the pieces of a completion; one that breaks off has an ending that says so."""
    lines = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    record: dict[str, Any] = {}
    message: dict[str, str] = {}
    ending = None if "[DONE]" in lines else "abort"
    for piece in (json.loads(line) for line in lines if line not in ("", "[DONE]")):
        record |= {name: value for name, value in piece.items() if value is not None}
        choice = _choice(piece) or {}
        delta = choice.get("delta") or choice.get("message") or {}
        for name in ("content", *_REASONING):
            message[name] = message.get(name, "") + _joined(delta.get(name))
        ending = choice.get("finish_reason") or ending
    choice = {"message": message, "finish_reason": ending}
    return {**record, "choices": [choice] if any(message.values()) else []}


def _choice(record: Any) -> dict[str, Any] | None:
    """Return the first choice of a chat completion."""
    choices = record.get("choices") if isinstance(record, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _content(content: Any) -> tuple[str, str]:
    """Return text and reasoning of a content: text, parts of several kinds, or nothing.

    >>> _content([{"type": "thinking", "thinking": "A bark."}, {"type": "text", "text": "A dog."}])
    ('A dog.', 'A bark.')

    Raises:
        TypeError: it is none of these.
    """
    if not isinstance(content, str | dict | list | None):
        raise TypeError
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content if isinstance(content, list) else [content or ""]:
        kind = part.get("type") if isinstance(part, dict) else None
        (thoughts if kind in _REASONING else texts).append(_joined(part))
    return "".join(texts), "\n".join(thoughts)


def _joined(value: Any) -> str:
    """Return the texts in a value, whichever way they are nested."""
    return "".join(_texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        names = ("text", "content", "summary", *_REASONING)
        yield from _texts(next((value[name] for name in names if value.get(name)), None))


def _ending(value: Any) -> str:
    """Return why an answer has ended, in lower case; empty where that is not said.

    >>> _ending("FINISH_REASON_STOP"), _ending({"type": "length"}), _ending(None)
    ('stop', 'length', '')
    """
    found = value.get("type") if isinstance(value, Mapping) else value
    text = "" if found is None else str(found).strip().lower().removeprefix("finish_reason_")
    return "" if text in ("null", "none", "unspecified") else text


def _number(usage: Any, *names: str) -> int | None:
    """Return the first of several counts that is one; endpoints write null, and numbers as text."""
    for name in names if isinstance(usage, dict) else ():
        try:
            return max(0, int(float(usage[name])))
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    return None


def _without_halves(text: str) -> str:
    r"""Replace halves of characters, which JSON can hold and files cannot.

    An answer that is cut off in an emoji may end in one.

    >>> _without_halves("so\ud83d") == "so\ufffd"
    True
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def reason_of(response: "Response") -> str:
    """Return status and message of a refusal, as short as they come."""
    found = _error(response)
    message = found.get("message") or response.text if isinstance(found, dict) else found
    words = str(message).split()
    return f"{status_of(response)} {' '.join(words)[:QUOTED]}".strip()


def status_of(response: "Response") -> int:
    """Return the status of a response; of an error that came with a good one, its code."""
    found = _error(response) if response.is_success else None
    code = _number(found, "code", "status") or 0
    return code if 400 <= code < 600 else response.status_code


def read_refusal(response: "Response") -> Refusal | None:
    """Return the refusal of what one request holds, or None where it may be of all.

    Messages name lengths and ids, so refusals are counted by status and code.
    """
    found = _error(response)
    codes = _codes(found)
    filtered = _names_filter(found, codes)
    if status_of(response) not in _OF_ONE and not filtered:
        return None
    code = next(iter(codes), "content_filter" if filtered else "")
    return Refusal(
        reason=f"refused by the endpoint: {response.status_code} {code}".strip(),
        message=reason_of(response),
    )


def _codes(found: Any) -> list[str]:
    """Return the codes by which an error names its kind; those of OpenRouter are in its metadata.

    >>> _codes({"code": 403, "metadata": {"error_type": "content_policy_violation"}})
    ['content_policy_violation']
    """
    if not isinstance(found, dict):
        return []
    named = (found.get("code"), found.get("type"), _metadata(found).get("error_type"))
    return [code for code in named if isinstance(code, str) and _CODE.fullmatch(code)]


def _names_filter(found: Any, codes: Sequence[str]) -> bool:
    """Tell whether an error says that a content filter keeps a request from the model."""
    if isinstance(found, dict):
        return not _FILTER_CODES.isdisjoint(codes) or "flagged_input" in _metadata(found)
    return isinstance(found, str) and found.startswith(_FILTER_WORDS)


def _metadata(found: dict[str, Any]) -> dict[str, Any]:
    """Return what OpenRouter says beside an error; of moderation, `reasons` and `flagged_input`."""
    metadata = found.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def error_of(response: "Response", engine: OpenAIEngine, model: str) -> ConfigError:
    """Return the error for what neither a second try nor another request will mend."""
    variable, url, reason = engine.key_variable, engine.base_url, reason_of(response)
    status = status_of(response)
    if status in (401, 403):
        if os.environ.get(variable):
            return ConfigError(
                f"{url} refuses the key in {variable}: {reason}",
                fix=f"set {variable} to a key that is valid for that endpoint and model",
            )
        return ConfigError(
            f"{url} wants a key, and {variable} is not set: {reason}",
            fix=f"export {variable}=..., or name another variable in engine.key_variable",
        )
    if status == 404:
        return UnknownModelError(
            f'{url} does not know the model "{model}": {reason}', fix="set engine.model"
        )
    return ConfigError(
        f"{url} refuses to answer: {reason}",
        fix="mend what it names, then give the same command again; what was answered is kept",
    )


def _error(response: "Response") -> Any:
    """Return what a response says of its failure; its text where that is no JSON object."""
    found = _json(response)
    if not isinstance(found, dict):
        return response.text
    of_choice = (_choice(found) or {}).get("error")
    return found.get("error") or of_choice or found.get("detail") or found


def retry_after(value: str) -> float:
    """Return the seconds that a `Retry-After` asks for; 0 where it says nothing.

    >>> retry_after("3")
    3.0
    >>> retry_after("soon")
    0.0
    """
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return 0.0
