"""What an endpoint answers over HTTP: a completion, a refusal, a wish to be left alone.

Endpoints are looser than the protocol. Fields that are missing, null or of another type are read
as far as they tell anything; only what holds no answer at all is `Unreadable`.
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
"""Characters of an answer that an error repeats."""


_OF_ONE = frozenset({400, 413, 422})
"""Statuses that are the fault of one request, or of the settings of all.

What others say of a request, but where they name a content filter, is `Unserved`.
"""
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation"})
_FILTER_WORDS = "Content violates usage guidelines"
"""How xAI begins, with 403 and the code that it gives to keys without permission as well."""
_CODE = re.compile(r"[A-Za-z][\w.-]{0,60}")
_LINE_END = re.compile(r"\r\n|\n|\r")
"""Lines of a stream; what else Unicode calls an end of line may stand in JSON."""


class UnknownModelError(ConfigError):
    """The endpoint has no such model, or no such path."""


@dataclass(frozen=True, kw_only=True)
class Unreadable(Refusal):
    """A response that holds no answer, however often the request is sent."""

    in_protocol: bool
    """Whether it is a chat completion by its form, or an error: the address is right then."""


@dataclass(frozen=True, kw_only=True)
class Unserved(Refusal):
    """What a request met that may be its own fault, or befall all: the first question tells."""

    error: DestaError
    """What to raise where it befalls all."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is read of a chat completion."""

    completion: Completion
    num_read: int
    model: str | None
    """What the endpoint says has answered, often with a date."""
    fingerprint: str | None
    unknown_ending: str | None = None
    """Its `finish_reason`, where that is none that is known; it says as much as none."""


def read_answer(response: "Response", limit: int) -> Answer | Refusal | None:
    """Return what an answer says, or None where it holds none.

    Args:
        response: of the endpoint.
        limit: tokens that were asked for at most. An endpoint that does not say why an answer has
            ended, but counts as many or more, has cut it off.
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
        said = refused if isinstance(refused, str) else f"finish_reason {ending}"
        return Refusal(
            reason=f"refused by the endpoint: {response.status_code} {code}",
            message=f"{response.status_code} {' '.join(said.split())[:QUOTED]}",
        )
    if BROKEN.search(ending):
        return None
    usage = record.get("usage")
    num_written = _number(usage, "completion_tokens", "output_tokens")
    cut_off = ending not in FINISHED and (
        bool(CUT_OFF.search(ending)) or (num_written or 0) >= limit
    )
    model, fingerprint = record.get("model"), record.get("system_fingerprint")
    return Answer(
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
    """Return what a response is whose body cannot be unpacked."""
    what = "a body that cannot be unpacked"
    return Unreadable(
        reason=f"no answer that can be read: {what}",
        message=f"gave {what}: {detail[:QUOTED]}",
        in_protocol=True,
    )


def _json(response: "Response") -> Any:
    """Return what a body holds, a stream as one completion; None where it is no JSON."""
    try:
        return _of_stream(response.text) if _is_stream(response) else response.json()
    except (AttributeError, ValueError, RecursionError):
        return None


def _is_stream(response: "Response") -> bool:
    """Return whether a body is a stream of events; some endpoints know nothing else."""
    return response.content[:64].lstrip().startswith((b"data:", b"event:", b":", b"id:"))


def _of_stream(text: str) -> dict[str, Any]:
    """Join the pieces of a completion; one that breaks off has an ending that says so."""
    lines = [line[5:].strip() for line in _LINE_END.split(text) if line.startswith("data:")]
    record: dict[str, Any] = {}
    text, reasoning = "", ""
    ending = None if "[DONE]" in lines else "abort"
    for piece in (json.loads(line) for line in lines if line not in ("", "[DONE]")):
        record |= {name: value for name, value in piece.items() if value is not None}
        choice = _choice(piece) or {}
        if choice.get("index") not in (0, None):
            continue
        said, thought = read_message(_message(choice) or {}, choice)
        text, reasoning = text + said, reasoning + thought
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
    """Return the first of several counts that is one; endpoints write null, and numbers as text."""
    for name in names if isinstance(usage, dict) else ():
        try:
            return max(0, int(float(usage[name])))
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    return None


def _message(choice: dict[str, Any]) -> dict[str, Any] | None:
    """Return the message of a choice; its words may stand there, or in the choice itself."""
    found = choice.get("message") or choice.get("delta")
    if isinstance(found, dict):
        return found
    words = (found, choice.get("content"), choice.get("text"))
    text = next((value for value in words if isinstance(value, str)), None)
    return None if text is None else {"content": text}


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
    if place := response.headers.get("location", "") if response.is_redirect else "":
        message = f"to {place}"
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
    return Refusal(reason=_refused(response), message=reason_of(response))


def read_unserved(response: "Response", error: DestaError) -> Unserved:
    """Return what a status says that may be of one request or of all.

    Args:
        response: of the endpoint.
        error: what to raise where it is of all.
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
    """Return the codes by which an error names its kind; those of OpenRouter are in its metadata.

    >>> _codes({"code": 403, "metadata": {"error_type": "content_policy_violation"}})
    ['content_policy_violation']
    """
    if not isinstance(found, dict):
        return []
    named = (found.get("code"), found.get("type"), _metadata(found).get("error_type"))
    return [code for code in named if isinstance(code, str) and _CODE.fullmatch(code)]


def _names_filter(found: Any, codes: Sequence[str]) -> bool:
    """Return whether an error says that a content filter keeps a request from the model."""
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
    if 300 <= status < 400:
        return ConfigError(
            f"{url} sends requests elsewhere: {reason}",
            fix="set engine.base_url to the address that answers",
        )
    return ConfigError(
        f"{url} refuses to answer: {reason}",
        fix="mend what it names, then give the same command again; what was answered is kept",
    )


def unanswered(message: str, tries: int | None) -> DestaError:
    """Return the error for an endpoint that nobody gets an answer from.

    Args:
        message: what it does instead.
        tries: how often it was asked; None where it was asked for the first time.
    """
    if tries is not None:
        return UnavailableError(
            f"{message} (tried {tries} times)",
            fix="give the same command again when the endpoint is well; what was answered is kept",
        )
    if " answered " in message:
        return ConfigError(message, fix="give the same command again when the endpoint is well")
    return ConfigError(message, fix="start the endpoint, or mend engine.base_url")


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
