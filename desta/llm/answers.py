"""What an endpoint answers over HTTP: a completion, a refusal, a wish to be left alone."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any

from desta.errors import ConfigError
from desta.llm.base import Completion, Refusal
from desta.llm.config import OpenAIEngine

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


class UnknownModelError(ConfigError):
    """The endpoint has no such model, or no such path."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is read of a chat completion."""

    completion: Completion
    num_read: int
    model: str | None
    """What the endpoint says has answered, often with a date."""
    fingerprint: str | None


def read_answer(response: "Response") -> Answer | None:
    """Return what an answer says, or None where it is no chat completion."""
    try:
        record = response.json()
        choice = record["choices"][0]
        text = _without_halves(choice["message"]["content"] or "")
        usage = record.get("usage") or {}
        return Answer(
            completion=Completion(
                text=text.strip(),
                num_tokens=int(usage.get("completion_tokens", len(text.split()))),
                finished=choice["finish_reason"] == "stop",
            ),
            num_read=int(usage.get("prompt_tokens", 0)),
            model=record.get("model"),
            fingerprint=record.get("system_fingerprint"),
        )
    except (AttributeError, LookupError, TypeError, ValueError):
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
    try:
        message = found["message"] if isinstance(found, dict) else str(found)
        words = message.split()
    except (AttributeError, LookupError):
        words = response.text.split()
    return f"{response.status_code} {' '.join(words)[:QUOTED]}".strip()


def read_refusal(response: "Response") -> Refusal | None:
    """Return the refusal of what one request holds, or None where it may be of all.

    Messages name lengths and ids, so refusals are counted by status and code.
    """
    found = _error(response)
    codes = _codes(found)
    filtered = _names_filter(found, codes)
    if response.status_code not in _OF_ONE and not filtered:
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
    if response.status_code in (401, 403):
        if os.environ.get(variable):
            return ConfigError(
                f"{url} refuses the key in {variable}: {reason}",
                fix=f"set {variable} to a key that is valid for that endpoint and model",
            )
        return ConfigError(
            f"{url} wants a key, and {variable} is not set: {reason}",
            fix=f"export {variable}=..., or name another variable in engine.key_variable",
        )
    if response.status_code == 404:
        return UnknownModelError(
            f'{url} does not know the model "{model}": {reason}', fix="set engine.model"
        )
    return ConfigError(
        f"{url} refuses to answer: {reason}",
        fix="mend what it names, then give the same command again; what was answered is kept",
    )


def _error(response: "Response") -> Any:
    """Return what a response says of its failure; its text where that is no JSON object."""
    try:
        found = response.json()
        return found.get("error", found.get("detail", found))
    except (AttributeError, ValueError):
        return response.text


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
