"""Middleware in front of all routes: host, origin, token, room, size of the body, safe headers.

Bodies are read here, in bounded memory and time, before anything parses them.
"""

import asyncio
import hashlib
import hmac
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from desta.errors import DestaError
from desta.serving.errors import (
    ServingError,
    body_of,
    busy,
    headers_of,
    internal_error,
    status_of,
)
from desta.serving.limits import MEBI, ServingLimits
from desta.serving.metrics import Metrics

OPEN = frozenset({"/health", "/ready"})
"""Paths that need no token."""
MEDIA = {
    "/v1/chat/completions": "application/json",
    "/v1/audio/transcriptions": "multipart/form-data",
}
"""Media type of the body by path. A browser asks before it sends JSON to another site."""
PATHS = frozenset({*OPEN, *MEDIA, "/v1/models", "/metrics", "/openapi.json"})
_GRACE_SECONDS = 30
"""Seconds after the deadline of an answer in which it must have been sent."""
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True)
class Access:
    """Who may ask."""

    tokens: Sequence[str] = ()
    """Accepted tokens; none means that any local client may ask."""
    hosts: frozenset[str] | None = LOCAL
    """Names under which the server may be asked, against DNS rebinding; None for any. Only a server
    with tokens can do without."""

    def check(self, headers: Headers, path: str) -> None:
        """Check a request before its body is read.

        Raises:
            ServingError: host, origin or token are wrong.
        """
        self.check_site(headers)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        known = scheme.lower() == "bearer" and self.knows(token.strip())
        if self.tokens and path not in OPEN and not known:
            raise ServingError(
                "the token is missing or wrong",
                fix="send it as Authorization: Bearer TOKEN (api_key in OpenAI's clients)",
                status=401,
                code="invalid_api_key",
            )

    def check_site(self, headers: Headers) -> None:
        """Check under which name the server is asked, and from which site.

        Raises:
            ServingError: host or origin are wrong.
        """
        host = headers.get("host", "")
        if self.hosts is not None and _hostname(f"//{host}") not in self.hosts:
            raise ServingError(
                "the server is not asked under a name of its own",
                fix="ask it at localhost or 127.0.0.1",
                status=403,
            )
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != host.lower():
            raise ServingError(
                "another site's page asks", fix="ask from the server's own page", status=403
            )

    def knows(self, given: str) -> bool:
        """Compare a token with every accepted one in constant time."""
        digest = hashlib.sha256(given.encode()).digest()
        matches = [
            hmac.compare_digest(hashlib.sha256(token.encode()).digest(), digest)
            for token in self.tokens
        ]
        return any(matches)


class Guard:
    """ASGI middleware around all routes."""

    def __init__(
        self, app: ASGIApp, *, access: Access, limits: ServingLimits, metrics: Metrics
    ) -> None:
        """Wrap an application."""
        self._app = app
        self._access = access
        self._limits = limits
        self._metrics = metrics
        self._num_requests = 0
        self._num_bytes = 0  # of all bodies in memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, read its body, and pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # a WebSocket is refused by saying nothing
        path = scope["path"] if scope["path"] in PATHS else "other"
        status = 0

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *_RAW_HEADERS]}
            await send(message)

        try:
            with self._metrics.time("request"):
                await self._guarded(scope, receive, send_safely)
        except Exception as error:
            if not isinstance(error, DestaError):
                error = internal_error(error)
            if not status:
                await _refusal(error)(scope, receive, send_safely)
        finally:
            self._metrics.requests.labels(path, str(status)).inc()

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._access.check(headers, scope["path"])
        if scope["method"] != "POST" or scope["path"] not in MEDIA:
            await self._app(scope, receive, send)
            return
        media = MEDIA[scope["path"]]
        if headers.get("content-type", "").partition(";")[0].strip().lower() != media:
            raise ServingError(
                "the body has another media type", fix=f"send it as {media}", status=415
            )
        if self._num_requests >= self._limits.max_requests:
            raise busy(f"{self._num_requests} requests run or wait already")
        self._num_requests += 1
        self._metrics.in_flight.inc()
        held = _Held()
        try:
            body = await self._body(receive, headers, held)
            await self._answer(scope, _replayed(body, receive), send)
        finally:
            self._num_bytes -= held.num_bytes
            self._num_requests -= 1
            self._metrics.in_flight.dec()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; a client that does not read its answer must not keep its place."""
        try:
            async with asyncio.timeout(self._limits.request_seconds + _GRACE_SECONDS) as limit:
                await self._app(scope, receive, send)
        except TimeoutError:
            if not limit.expired():
                raise
            raise busy("the answer could not be sent in time") from None

    async def _body(self, receive: Receive, headers: Headers, held: "_Held") -> bytes:
        """Return the body.

        Raises:
            ServingError: it is too large, or comes too slowly.
        """
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > self._limits.max_body_mb * MEBI:
            raise self._too_large()
        blocks: list[bytes] = []
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                with self._metrics.time("read"):
                    while True:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            raise ServingError(
                                "the body breaks off", fix="send it again", status=400
                            )
                        blocks.append(message.get("body", b""))
                        self._hold(len(blocks[-1]), held)
                        if not message.get("more_body", False):
                            return b"".join(blocks)
        except TimeoutError:
            raise ServingError(
                f"the body did not come within {self._limits.body_seconds:g} s",
                fix="send it faster, or shorten it",
                status=408,
            ) from None

    def _hold(self, size: int, held: "_Held") -> None:
        held.num_bytes += size
        self._num_bytes += size
        if held.num_bytes > self._limits.max_body_mb * MEBI:
            raise self._too_large()
        if self._num_bytes > self._limits.max_bodies_mb * MEBI:
            raise busy("the bodies of all requests fill the memory that is set aside for them")

    def _too_large(self) -> ServingError:
        return ServingError(
            f"the body is larger than {self._limits.max_body_mb} MiB",
            fix="send shorter or compressed recordings",
            status=413,
        )


_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]


@dataclass
class _Held:
    """Bytes of one body in memory."""

    num_bytes: int = 0


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that has been read, and then what follows it."""
    waiting = [body]

    async def replay() -> MutableMapping[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replay


def _refusal(error: DestaError) -> JSONResponse:
    return JSONResponse(body_of(error), status_of(error), headers_of(error))


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    """Return host and port of an origin; empty if it is not one.

    >>> _netloc("http://localhost:8000"), _netloc("null")
    ('localhost:8000', '')
    """
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
