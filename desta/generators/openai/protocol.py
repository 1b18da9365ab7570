"""Parsing of an endpoint's HTTP responses: completions, refusals, errors, pauses.

Endpoints deviate from the protocol. Missing, null or ill-typed fields are tolerated; only a
response without any answer is `Unreadable`.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any

from desta.errors import ConfigError, DestaError, UnavailableError
from desta.generators.base import Completion, Refusal
from desta.generators.config import OpenAIEngine
from desta.generators.openai.content import (
    BROKEN,
    CUT_OFF,
    FILTERED,
    FINISHED,
    is_known,
    read_ending,
    read_message,
)
from desta.generators.reasoning import completion

if TYPE_CHECKING:
    from httpx2 import Response

QUOTED = 200
"""Characters of a response that an error quotes."""

_OF_ONE = frozenset({400, 413, 422})
"""Statuses caused by one request, or by settings of all.

Other statuses are `Unserved`, unless they name a content filter.
"""
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation"})
_FILTER_WORDS = "Content violates usage guidelines"
"""Beginning of xAI's message, whose status 403 and code are those of keys without permission."""
_CODE = re.compile(r"[A-Za-z][\w.-]{0,60}")
_LINE_END = re.compile(r"\r\n|\n|\r")
"""Line ends of a stream; other line ends of Unicode may occur in JSON."""


class UnknownModelError(ConfigError):
    """The endpoint has no such model, or no such path."""


@dataclass(frozen=True, kw_only=True)
class Unreadable(Refusal):
    """A response without an answer."""

    in_protocol: bool
    """Whether it has the form of a chat completion or an error, so that the URL is right."""


@dataclass(frozen=True, kw_only=True)
class Unserved(Refusal):
    """A failure of one request or of the endpoint; a repeated first question decides."""

    error: DestaError
    """Error to raise if the endpoint is the cause."""


@dataclass(frozen=True, kw_only=True)
class ChatCompletion:
    """Parsed chat completion."""

    completion: Completion
    num_read: int
    model: str | None
    """Model that the endpoint reports, often with a date."""
    fingerprint: str | None
    unknown_ending: str | None = None
    """Its `finish_reason` if that is unknown, which is treated as none."""


def read_completion(response: "Response", limit: int) -> ChatCompletion | Refusal | None:
    """Return the completion or refusal in a response, or None if it holds neither.

    Args:
        response: of the endpoint.
        limit: most tokens requested. Without a finish reason, a response with that many tokens or
            more was cut off.
    """
    record = _json(response)
    choice = _choice(record)
    if choice is None:
        return None
    message = _message(choice)
    if message is None:
        return None
    try:
        text, reasoning = read_message(message, choice)
    except TypeError:
        return None
    ending = read_ending(choice.get("finish_reason"))
    refused = message.get("refusal")
    filtered = ending in FILTERED
    if filtered or (not text and isinstance(refused, str) and refused):
        code = ending if filtered else "refusal"
        words = refused if isinstance(refused, str) else f"finish_reason {ending}"
        return Refusal(
            reason=f"refused by the endpoint: {response.status_code} {code}",
            message=f"{response.status_code} {' '.join(words.split())[:QUOTED]}",
        )
    if BROKEN.search(ending):
        return None
    usage = record.get("usage")
    num_written = _number(usage, "completion_tokens", "output_tokens")
    cut_off = ending not in FINISHED and (
        bool(CUT_OFF.search(ending)) or (num_written or 0) >= limit
    )
    model, fingerprint = record.get("model"), record.get("system_fingerprint")
    return ChatCompletion(
        completion=completion(
            _without_halves(text).strip(),
            reasoning=_without_halves(reasoning),
            num_tokens=len(f"{reasoning} {text}".split()) if num_written is None else num_written,
            finished=not cut_off,
        ),
        num_read=_number(usage, "prompt_tokens", "input_tokens") or 0,
        model=model if isinstance(model, str) else None,
        fingerprint=None if fingerprint is None else str(fingerprint),
        unknown_ending=None if is_known(ending) else ending,
    )


def read_unreadable(response: "Response") -> Unreadable:
    """Return the description of a response with a good status but without an answer."""
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
        ending = read_ending(choice.get("finish_reason"))
        what = f"finish_reason {ending}" if BROKEN.search(ending) else "a choice without an answer"
    else:
        what = "JSON without choices"
    return Unreadable(
        reason=f"no answer that can be read: {what}",
        message=f"gave what is no chat completion, but {what}: {text[:QUOTED]!r}",
        in_protocol=in_protocol,
    )


def read_damaged(detail: str) -> Unreadable:
    """Return the description of a response whose body cannot be decompressed."""
    what = "a body that cannot be unpacked"
    return Unreadable(
        reason=f"no answer that can be read: {what}",
        message=f"gave {what}: {detail[:QUOTED]}",
        in_protocol=True,
    )


def _json(response: "Response") -> Any:
    """Return the JSON of a body, a stream joined to one completion; None if it is not JSON."""
    try:
        return _of_stream(response.text) if _is_stream(response) else response.json()
    except (AttributeError, ValueError, RecursionError):
        return None


def _is_stream(response: "Response") -> bool:
    """Return whether a body is a stream of events; some endpoints send nothing else."""
    return response.content[:64].lstrip().startswith((b"data:", b"event:", b":", b"id:"))


def _of_stream(text: str) -> dict[str, Any]:
    """Join the pieces of a streamed completion; an incomplete one ends with "abort"."""
    lines = [line[5:].strip() for line in _LINE_END.split(text) if line.startswith("data:")]
    record: dict[str, Any] = {}
    text, reasoning = "", ""
    ending = None if "[DONE]" in lines else "abort"
    for piece in (json.loads(line) for line in lines if line not in ("", "[DONE]")):
        record |= {name: value for name, value in piece.items() if value is not None}
        choice = _choice(piece) or {}
        if choice.get("index") not in (0, None):
            continue
        more_text, more_reasoning = read_message(_message(choice) or {}, choice)
        text, reasoning = text + more_text, reasoning + more_reasoning
        ending = choice.get("finish_reason") or ending
    message = {"content": text, "reasoning": reasoning}
    choice = {"message": message, "finish_reason": ending}
    return {**record, "choices": [choice] if text or reasoning else []}


def _choice(record: Any) -> dict[str, Any] | None:
    """Return the first choice of a chat completion."""
    choices = record.get("choices") if isinstance(record, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _number(usage: Any, *names: str) -> int | None:
    """Return the first field that is a number; endpoints also write null and numbers as text."""
    for name in names if isinstance(usage, dict) else ():
        try:
            return max(0, int(float(usage[name])))
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    return None


def _message(choice: dict[str, Any]) -> dict[str, Any] | None:
    """Return the message of a choice; some endpoints put the text into the choice itself."""
    found = choice.get("message") or choice.get("delta")
    if isinstance(found, dict):
        return found
    words = (found, choice.get("content"), choice.get("text"))
    text = next((value for value in words if isinstance(value, str)), None)
    return None if text is None else {"content": text}


def _without_halves(text: str) -> str:
    r"""Replace half characters (lone surrogates), which JSON can hold and files cannot.

    An answer that is cut off inside an emoji can end in one.

    >>> _without_halves("so\ud83d") == "so\ufffd"
    True
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def reason_of(response: "Response") -> str:
    """Return status and message of a refusal, shortened."""
    found = _error(response)
    message = found.get("message") or response.text if isinstance(found, dict) else found
    if place := response.headers.get("location", "") if response.is_redirect else "":
        message = f"to {place}"
    words = str(message).split()
    return f"{status_of(response)} {' '.join(words)[:QUOTED]}".strip()


def status_of(response: "Response") -> int:
    """Return the status of a response, or the error code in one with a good status."""
    found = _error(response) if response.is_success else None
    code = _number(found, "code", "status") or 0
    return code if 400 <= code < 600 else response.status_code


def read_refusal(response: "Response") -> Refusal | None:
    """Return the refusal of a single request, or None if others may be refused as well.

    Messages contain lengths and ids, so refusals are counted by status and code.
    """
    found = _error(response)
    codes = _codes(found)
    filtered = _names_filter(found, codes)
    if status_of(response) not in _OF_ONE and not filtered:
        return None
    return Refusal(reason=_refused(response), message=reason_of(response))


def read_unserved(response: "Response", error: DestaError) -> Unserved:
    """Return the failure of one request or of all.

    Args:
        response: of the endpoint.
        error: error to raise if all requests fail.
    """
    return Unserved(
        reason=_refused(response), message=f"answered {reason_of(response)}", error=error
    )


def _refused(response: "Response") -> str:
    found = _error(response)
    codes = _codes(found)
    code = next(iter(codes), "content_filter" if _names_filter(found, codes) else "")
    return f"refused by the endpoint: {response.status_code} {code}".strip()


def _codes(found: Any) -> list[str]:
    """Return the codes of an error; OpenRouter puts them into its metadata.

    >>> _codes({"code": 403, "metadata": {"error_type": "content_policy_violation"}})
    ['content_policy_violation']
    """
    if not isinstance(found, dict):
        return []
    named = (found.get("code"), found.get("type"), _metadata(found).get("error_type"))
    return [code for code in named if isinstance(code, str) and _CODE.fullmatch(code)]


def _names_filter(found: Any, codes: Sequence[str]) -> bool:
    """Return whether an error is that of a content filter."""
    if isinstance(found, dict):
        return not _FILTER_CODES.isdisjoint(codes) or "flagged_input" in _metadata(found)
    return isinstance(found, str) and found.startswith(_FILTER_WORDS)


def _metadata(found: dict[str, Any]) -> dict[str, Any]:
    """Return OpenRouter's metadata of an error; for moderation `reasons` and `flagged_input`."""
    metadata = found.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def endpoint_error(response: "Response", engine: OpenAIEngine, model: str) -> ConfigError:
    """Return the error for a failure that would repeat with every request."""
    variable, url, reason = engine.key_variable, engine.base_url, reason_of(response)
    status = status_of(response)
    if status in (401, 403):
        if os.environ.get(variable):
            return ConfigError(
                f"{url} refuses the key in {variable}: {reason}",
                fix=f"set {variable} to a key that is valid for that endpoint and model",
            )
        return ConfigError(
            f"{url} requires a key, and {variable} is not set: {reason}",
            fix=f"export {variable}=..., or name another variable in engine.key_variable",
        )
    if status == 404:
        return UnknownModelError(f'{url} has no model "{model}": {reason}', fix="set engine.model")
    if 300 <= status < 400:
        return ConfigError(
            f"{url} redirects requests: {reason}",
            fix="set engine.base_url to the new URL",
        )
    return ConfigError(
        f"{url} refuses to answer: {reason}",
        fix="correct what it names, then give the same command again; what was answered is kept",
    )


def no_answer_error(message: str, tries: int | None) -> DestaError:
    """Return the error for an endpoint that does not answer.

    Args:
        message: description of the failure.
        tries: number of tries; None for the first request of a command.
    """
    if tries is not None:
        return UnavailableError(
            f"{message} (tried {tries} times)",
            fix="give the same command again when the endpoint works; what was answered is kept",
        )
    if " answered " in message:
        return ConfigError(message, fix="give the same command again when the endpoint works")
    return ConfigError(message, fix="start the endpoint, or correct engine.base_url")


def _error(response: "Response") -> Any:
    """Return the error object of a response; its text if it is not a JSON object."""
    found = _json(response)
    if not isinstance(found, dict):
        return response.text
    of_choice = (_choice(found) or {}).get("error")
    return found.get("error") or of_choice or found.get("detail") or found


def retry_after(value: str) -> float:
    """Return the seconds of a `Retry-After` header; 0 if it is not readable.

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
