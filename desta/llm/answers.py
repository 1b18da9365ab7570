"""What an endpoint answers over HTTP: a completion, a refusal, a wish to be left alone."""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING

from desta.llm.base import Completion

if TYPE_CHECKING:
    from httpx2 import Response

QUOTED = 200
"""Characters of an answer that an error repeats."""


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
        text = choice["message"]["content"] or ""
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


def reason_of(response: "Response") -> str:
    """Return status and message of a refusal, as short as they come."""
    try:
        found = response.json()
        found = found.get("error", found.get("detail", found))
        message = found["message"] if isinstance(found, dict) else str(found)
    except (AttributeError, LookupError, TypeError, ValueError):
        message = response.text
    return f"{response.status_code} {' '.join(message.split())[:QUOTED]}".strip()


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
