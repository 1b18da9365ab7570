"""Recordings of requests: base64, data URLs, and URLs of allowed hosts.

Nothing else is read: no file paths, no redirects. A name must resolve to public addresses only, and
the connection goes to the address that was checked, so that a second lookup cannot change it.
"""

import base64
import binascii
import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from desta.serving.errors import ServingError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"http": 80, "https": 443}
_BLOCK = 2**16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PROTOCOL = ipaddress.ip_network("192.0.0.0/24")  # assignments of the IETF


def decode_base64(data: str, *, param: str) -> bytes:
    """Return the bytes of a recording.

    Raises:
        ServingError: it is not base64.
    """
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise ServingError(
            f'"{param}" is not base64',
            fix="encode the bytes of the file, without line breaks",
            param=param,
        ) from None


def is_public(address: Address) -> bool:
    """Return whether an address lies outside private, local and reserved networks.

    Addresses that carry another one (mapped, 6to4, Teredo, NAT64) are as public as that one.

    >>> is_public(ipaddress.ip_address("::ffff:127.0.0.1"))
    False
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        inner = [address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) % 2**32))
        if address.is_site_local or not all(is_public(it) for it in inner if it is not None):
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address in _PROTOCOL
    )


@dataclass(frozen=True)
class Fetcher:
    """Reader of recordings that are given as URLs."""

    hosts: frozenset[str] = frozenset()
    """Allowed hosts, `name` or `name:port`; by default none."""
    max_bytes: int = 32 * 2**20
    seconds: float = 20.0
    """Longest time for one recording."""
    is_allowed: Callable[[Address], bool] = is_public
    """Whether a resolved address may be asked."""

    def read(self, url: str) -> bytes:
        """Return the bytes of a recording.

        Raises:
            ServingError: the URL or its host is not allowed, or gives no recording in time.
        """
        if url[:5].lower() == "data:":
            head, comma, data = url.partition(",")
            if not comma or not head.lower().endswith(";base64"):
                raise _refused("the data URL is not base64", "write data:audio/wav;base64,...")
            return decode_base64(data, param="audio_url")
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            raise _refused("the URL is no URL", "give an http(s) or data URL") from None
        host = (parts.hostname or "").lower()
        if (
            parts.scheme not in _PORTS
            or not host
            or parts.username is not None
            or not url.isprintable()
        ):
            raise _refused("only http, https and data URLs are read", "send the recording itself")
        names = {f"{host}:{port}", *([host] if port == _PORTS[parts.scheme] else [])}
        if self.hosts.isdisjoint(names):
            raise ServingError(
                f'the host "{host}" is not among those that the server may ask',
                fix="send the recording itself as input_audio, or start the server with "
                "--allow-host",
                status=403,
                code="host_not_allowed",
                param="audio_url",
            )
        return self._fetch(parts, host, port)

    def _fetch(self, parts: SplitResult, host: str, port: int) -> bytes:
        address = self._resolve(host, port)
        deadline = time.monotonic() + self.seconds
        connection = _Connection(
            host, port, address=address, secure=parts.scheme == "https", timeout=self.seconds
        )
        end = threading.Timer(self.seconds, connection.shut)  # a trickle never times out
        end.daemon = True
        end.start()
        try:
            target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
            connection.request("GET", target, headers={"Accept": "audio/*, */*;q=0.5"})
            response = connection.getresponse()
            if response.status != 200:
                raise _refused(
                    f'"{host}" answers with status {response.status}',
                    "give the URL of the recording itself; redirects are not followed",
                )
            return self._body(response, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _refused(
                f'"{host}" does not send the recording ({type(error).__name__})',
                "check the URL, or send the recording itself",
            ) from None
        finally:
            end.cancel()
            connection.close()

    def _resolve(self, host: str, port: int) -> str:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _refused(f'"{host}" has no address', "check the URL") from None
        addresses: Sequence[str] = [str(entry[4][0]) for entry in found]
        if not addresses or not all(self._is_fine(address) for address in addresses):
            raise ServingError(
                f'"{host}" lies in a private or reserved network',
                fix="send the recording itself as input_audio",
                status=403,
                code="host_not_allowed",
                param="audio_url",
            )
        return addresses[0]

    def _is_fine(self, address: str) -> bool:
        return self.is_allowed(ipaddress.ip_address(address.partition("%")[0]))

    def _body(self, response: http.client.HTTPResponse, deadline: float) -> bytes:
        blocks, size = [], 0
        while block := response.read1(_BLOCK):
            if time.monotonic() > deadline:
                raise TimeoutError
            size += len(block)
            if size > self.max_bytes:
                raise ServingError(
                    f"the recording at the URL is larger than {self.max_bytes} bytes",
                    fix="give a shorter or compressed one",
                    status=413,
                    param="audio_url",
                )
            blocks.append(block)
        if response.length or time.monotonic() > deadline:  # cut off, by its end or by ours
            raise TimeoutError
        return b"".join(blocks)


class _Connection(http.client.HTTPConnection):
    """Connection to an address that has been checked, under the name of its host."""

    def __init__(self, host: str, port: int, *, address: str, secure: bool, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self.default_port = _PORTS["https" if secure else "http"]
        self._address = address
        self._open: socket.socket | None = None
        self._is_shut = False
        self._context = ssl.create_default_context() if secure else None

    def connect(self) -> None:
        """Connect to the address."""
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)
        self._open = self.sock  # `sock` is given away to the response
        if self._is_shut:  # while it was connected
            self.shut()

    def shut(self) -> None:
        """End the connection from another thread."""
        self._is_shut = True
        if self._open is not None:
            with contextlib.suppress(OSError):  # closed meanwhile
                self._open.shutdown(socket.SHUT_RDWR)


def _refused(message: str, fix: str) -> ServingError:
    return ServingError(message, fix=fix, param="audio_url")
