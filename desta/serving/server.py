"""Running the server: its address, its tokens, and uvicorn around the application."""

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from desta.errors import ConfigError
from desta.serving.app import create_app
from desta.serving.guard import LOCAL, Access
from desta.serving.limits import MEBI, ServingLimits
from desta.serving.media import Fetcher
from desta.serving.metrics import Metrics
from desta.serving.protocol import ServingEngine

log = logging.getLogger(__name__)

MIN_TOKEN = 16
"""Letters of the shortest token."""


@dataclass(frozen=True)
class Address:
    """Where the server listens, and who may ask."""

    host: str
    port: int
    access: Access

    @classmethod
    def of(cls, host: str, port: int, token_file: Path | None) -> "Address":
        """Check an address and read its tokens.

        Raises:
            ConfigError: an address beyond loopback has no token, or the file is no good.
        """
        tokens = () if token_file is None else read_tokens(token_file)
        local = is_loopback(host)
        if not local and not tokens:
            raise ConfigError(
                f"{host} can be reached from other machines, and any of them could ask",
                fix="give --token-file FILE, or listen at 127.0.0.1",
            )
        return cls(host, port, Access(tokens, None if tokens else LOCAL))


def is_loopback(host: str) -> bool:
    """Return whether an address to listen at is reached from this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_tokens(path: Path) -> tuple[str, ...]:
    """Return the tokens of a file, one a line.

    Raises:
        ConfigError: it cannot be read, or a token is too short or not plain.
    """
    make = f"make one with: openssl rand -hex 32 > {path}"
    try:
        tokens = tuple(path.read_text(encoding="utf-8").split())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({type(error).__name__})", fix=make) from None
    if not tokens:
        raise ConfigError(f"{path} holds no token", fix=make)
    if any(len(token) < MIN_TOKEN or not token.isascii() for token in tokens):
        raise ConfigError(
            f"{path} holds a token of less than {MIN_TOKEN} letters, or with others than ASCII",
            fix=make,
        )
    return tokens


def run(
    make_engine: Callable[[Metrics], ServingEngine],
    address: Address,
    limits: ServingLimits,
    *,
    temperature: float = 0.0,
    allow_hosts: Sequence[str] = (),
    with_page: bool = False,
) -> None:
    """Serve a model until SIGINT or SIGTERM; what runs is finished.

    Args:
        make_engine: creates the engine that answers, with the metrics of the server.
        address: where to listen, and who may ask.
        limits: limits of the server.
        temperature: of requests that give none.
        allow_hosts: hosts from which `audio_url` may be fetched.
        with_page: whether people get a page, at `/ui`.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    metrics = Metrics()
    fetcher = Fetcher(
        frozenset(host.lower() for host in allow_hosts),
        max_bytes=limits.max_body_mb * MEBI,
        seconds=limits.fetch_seconds,
    )
    app = create_app(
        make_engine(metrics),
        limits=limits,
        metrics=metrics,
        access=address.access,
        fetcher=fetcher,
        temperature=temperature,
        with_page=with_page,
    )
    if with_page:
        log.info("the page for people lies at /ui of that address")
    serve_app(app, address, limits)


def serve_app(app: FastAPI, address: Address, limits: ServingLimits) -> None:
    """Listen, and run an application until the process is told to stop.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    with contextlib.suppress(KeyboardInterrupt):  # raised once all is finished
        Server(configure(app, limits)).run(sockets=[listen(address)])


class Server(uvicorn.Server):
    """Server that says where it can be asked, as soon as it can."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and log the address."""
        await super().startup(sockets)
        for listener in sockets or () if self.started else ():
            host, port = listener.getsockname()[:2]
            name = f"[{host}]" if ":" in host else host
            log.info("serving at http://%s:%d/v1 (Ctrl-C stops)", name, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what runs; what would run for ever is ended."""
        self.config.app.state.stopping.set()  # type: ignore[union-attr]
        await super().shutdown(sockets)


def configure(app: FastAPI, limits: ServingLimits) -> uvicorn.Config:
    """Return the configuration of uvicorn; it logs no requests."""
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=round(limits.stop_seconds),
    )


def listen(address: Address) -> socket.socket:
    """Return a socket that is bound to an address.

    Raises:
        ConfigError: it cannot be.
    """
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
    except OSError as error:
        raise ConfigError(
            f"{address.host}:{address.port} cannot be listened at: {error.strerror}",
            fix="give another --port, or --port 0 for a free one",
        ) from None
    return listener
