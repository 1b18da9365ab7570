"""Text servers behind the gateway: their addresses, which one a conversation goes to, requests."""

import asyncio
import contextlib
import hashlib
import ipaddress
import json
import logging
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from desta.errors import ConfigError, UnavailableError, need
from desta.serving.errors import ServingError
from desta.serving.media import is_public

log = logging.getLogger(__name__)

CHAT = "/v1/chat/completions"
NEUTRAL = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Settings that requests are not meant to inherit from the backbone's generation_config.json, as
answers of `desta ask` do not."""
_CONNECT_SECONDS = 5.0
_IDLE_SECONDS = 2.0
"""Connections that are idle for longer are closed here: vLLM closes them after 5 s, and a request
that is sent at that moment would be lost."""
_PULSE_SECONDS = 5.0
"""Seconds between two looks at whether a replica answers."""


class Replicas:
    """Replicas of one text server, asked on one event loop."""

    def __init__(self, urls: Sequence[str], *, key: str | None = None) -> None:
        """Create clients; `open` connects.

        Args:
            urls: addresses, as `read_url` returns them.
            key: token that they want.
        """
        self.urls = tuple(urls)
        self._key = key
        self._client: Any = None
        self._up: frozenset[str] = frozenset(urls)
        self._watcher: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether at least one answered when it was last asked."""
        return bool(self._up)

    async def open(self) -> None:
        """Begin to watch which replicas answer."""
        http = library()
        self._client = http.AsyncClient(
            headers=headers(self._key),
            timeout=http.Timeout(None, connect=_CONNECT_SECONDS),  # the caller has a deadline
            limits=http.Limits(
                max_connections=None, max_keepalive_connections=64, keepalive_expiry=_IDLE_SECONDS
            ),
            trust_env=False,  # recordings must not pass through a proxy
        )
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Close all connections."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        if self._client is not None:
            await self._client.aclose()

    def order(self, beginning: str) -> list[str]:
        """Return the replicas in the order in which a conversation tries them.

        The first depends on nothing but the beginning, so that its prefix is cached there; without
        one of the replicas, only the conversations of that one go elsewhere.

        >>> replicas = Replicas(["http://a", "http://b"])
        >>> replicas.order("x"), replicas.order("y")
        (['http://a', 'http://b'], ['http://b', 'http://a'])
        """

        def weight(url: str) -> tuple[bool, bytes]:
            return url in self._up, hashlib.sha256(f"{url} {beginning}".encode()).digest()

        return sorted(self.urls, key=weight, reverse=True)

    async def ask(self, beginning: str, body: Mapping[str, Any]) -> Any:
        """Send a request for a chat completion, and return the response with its body unread.

        A replica that cannot be connected to is passed over; a request that was sent is not sent
        again.

        Raises:
            UnavailableError: none can be connected to, or one breaks off.
            ServingError: the replica refuses the request.
        """
        http = library()
        content, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        for url in self.order(beginning):
            request = self._client.build_request(
                "POST", f"{url}{CHAT}", content=content, headers=kind
            )
            try:
                response = await self._client.send(request, stream=True)
            except (http.ConnectError, http.ConnectTimeout):
                self._note(url, is_up=False)
                continue
            except http.HTTPError as error:
                raise broken(error) from None
            if response.status_code == 200:
                return response
            try:
                raise refusal(response.status_code, await response.aread())
            except http.HTTPError as error:
                raise broken(error) from None
            finally:
                await response.aclose()
        raise UnavailableError(
            "the text server behind this one does not answer", fix="send it again later"
        )

    async def _watch(self) -> None:
        while True:
            for url in self.urls:
                self._note(url, is_up=await self._answers(url))
            await asyncio.sleep(_PULSE_SECONDS)

    async def _answers(self, url: str) -> bool:
        http = library()
        try:
            response = await self._client.get(f"{url}/health", timeout=_CONNECT_SECONDS)
        except http.ConnectTimeout:
            return False
        except http.TimeoutException:
            return True  # it was connected to: busy, not gone
        except http.HTTPError:
            return False
        return response.status_code < 500

    def _note(self, url: str, *, is_up: bool) -> None:
        if is_up == (url in self._up):
            return
        if is_up:
            log.info("%s answers again", url)
        else:
            log.error("%s does not answer: see that the text server runs there", url)
        self._up = self._up | {url} if is_up else self._up - {url}


def library() -> Any:
    """Return httpx2; raise MissingExtraError if it is not installed."""
    return need("httpx2", extra="serve", to="ask a text server")


def headers(key: str | None) -> dict[str, str]:
    """Return the headers of requests to a text server."""
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def read_url(url: str) -> str:
    """Return the address of a text server without `/v1`; warn if strangers could reach it.

    Raises:
        ConfigError: it is none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    path = parts.path.rstrip("/").removesuffix("/v1")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise ConfigError(f"--upstream {url} is no URL", fix="give http://127.0.0.1:8001")
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ConfigError(f'"{parts.hostname}" has no address', fix="check --upstream") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if any(map(is_public, addresses)):
        log.warning(
            "%s lies on a public network: not every route of vLLM asks for its key, and whoever "
            "reaches it can send embeddings; let it listen at loopback or in a private network",
            url,
        )
    return f"{parts.scheme}://{parts.netloc}{path}"


def refusal(status: int, body: bytes) -> ServingError:
    """Return the error of a text server, in words of its own where they concern the client."""
    if status in (401, 403):
        return ServingError(
            "the text server does not let this one in",
            fix="tell whoever runs the server to give its token",
            status=502,
        )
    if status >= 500:
        return ServingError(
            f"the text server fails with status {status}", fix="send it again later", status=status
        )
    fields = error_fields(body)
    return ServingError(
        str(fields.get("message") or f"the text server answers with status {status}").rstrip(". "),
        fix="correct the request" if status != 429 else "send it again later",
        status=status,
        code=None if fields.get("code") in (None, status) else str(fields["code"]),
        param=None if fields.get("param") is None else str(fields["param"]),
        retry_after=2 if status == 429 else None,
    )


def error_fields(body: bytes | str) -> dict[str, Any]:
    """Return the fields of an error in OpenAI's shape, also of an error inside a stream."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    inner = found.get("error")
    if isinstance(inner, dict):
        return inner
    return found if "message" in found else {"message": found.get("detail")}


def broken(error: Exception) -> UnavailableError:
    """Return the error of a text server that breaks off."""
    return UnavailableError(
        f"the text server breaks off ({type(error).__name__})", fix="send it again"
    )
