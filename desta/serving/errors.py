"""Errors of the server, in the shape that OpenAI's clients read."""

import logging
import traceback
from typing import Any

from desta.audio.errors import AudioError, TooLongError, UnknownFormatError
from desta.errors import CheckpointError, DestaError, MissingExtraError, UnavailableError

log = logging.getLogger(__name__)

_BUSY_SECONDS = 2
"""Seconds after which a client that was refused may try again."""


class ServingError(DestaError):
    """A request is refused with a certain status."""

    def __init__(
        self,
        message: str,
        *,
        fix: str,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Create the refusal of a request.

        Args:
            message: one sentence.
            fix: what the client can do.
            status: of HTTP.
            code: OpenAI's word for it, such as `model_not_found`.
            param: field of the body that is wrong.
            retry_after: seconds after which it may be sent again.
        """
        super().__init__(message, fix=fix)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after


def busy(message: str) -> ServingError:
    """Return the refusal of a request for which there is no room now."""
    return ServingError(
        message,
        fix="send it again later",
        status=429,
        code="server_busy",
        retry_after=_BUSY_SECONDS,
    )


def unsupported(param: str, detail: str = "") -> ServingError:
    """Return the refusal of a field that the engine cannot honour."""
    return ServingError(
        f'"{param}" is not supported by this engine{detail}',
        fix="leave it out",
        code="unsupported_parameter",
        param=param,
    )


def too_long(max_positions: int) -> ServingError:
    """Return the refusal of a conversation that exceeds the model's context."""
    return ServingError(
        f"the conversation has more than the {max_positions} tokens that the model reads",
        fix="ask about fewer or shorter clips, or shorten the messages",
        code="context_length_exceeded",
        param="messages",
    )


def internal_error(error: Exception) -> ServingError:
    """Log where an unexpected error comes from, without its message, which may quote a request.

    Returns:
        The error for the client.
    """
    name, place = type(error).__name__, "".join(traceback.format_tb(error.__traceback__))
    log.error("%s in the server:\n%s", name, place)
    return ServingError(
        f"the server failed with {name}",
        fix="send the request again, or tell whoever runs the server",
        status=500,
    )


def status_of(error: DestaError) -> int:
    """Return the HTTP status of an error."""
    match error:
        case ServingError():
            return error.status
        case TooLongError():
            return 413
        case UnknownFormatError():
            return 415
        case AudioError():
            return 422
        case UnavailableError():
            return 503
        case CheckpointError() | MissingExtraError():
            return 500
        case _:
            return 400


_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def body_of(error: DestaError) -> dict[str, Any]:
    """Return the JSON body of an error."""
    status = status_of(error)
    kind = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
    return {
        "error": {
            "message": f"{error.message}; {error.fix}",
            "type": kind,
            "param": getattr(error, "param", None),
            "code": getattr(error, "code", None),
        }
    }


def headers_of(error: DestaError) -> dict[str, str]:
    """Return the headers of an error."""
    headers = {}
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, round(retry_after)))
    if status_of(error) == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers
