"""Recordings by URL: of allowed hosts with public addresses, without redirects, bounded."""

import base64
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from desta.serving.errors import ServingError, status_of
from desta.serving.media import Fetcher, is_public

pytestmark = pytest.mark.serve

PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
    *("192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
    *("2002:7f00:1::", "2002:a00:1::", "2002:c0a8:101::", "64:ff9b:1::1", "100::1"),
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_private_networks_are_not_asked(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_asked(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@contextmanager
def answering(*blocks: bytes, pause: float = 0.0) -> Iterator[int]:
    """Answer each connection with these bytes; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def answer() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(2**16)
                        for block in blocks:
                            connection.sendall(block)
                            stop.wait(pause)
                    except OSError:
                        continue

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def ok(body: bytes, *, length: int | None = None) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (length or len(body)) + body


def fetch(port: int, *, name: str = "localhost", **options: Any) -> bytes:
    allowed = frozenset({f"localhost:{port}"})
    settings = {"is_allowed": lambda address: True, "seconds": 5.0} | options
    return Fetcher(allowed, **settings).read(f"http://{name}:{port}/clip.wav?x=1")


def refusal(work: Any, *arguments: Any, **options: Any) -> ServingError:
    with pytest.raises(ServingError) as caught:
        work(*arguments, **options)
    return caught.value


def test_a_recording_of_an_allowed_host_is_read() -> None:
    with answering(ok(b"sound")) as port:
        assert fetch(port) == b"sound"
        assert fetch(port, name="LOCALHOST") == b"sound"


def test_a_name_that_resolves_into_a_private_network_is_refused() -> None:
    with answering(ok(b"sound")) as port:
        error = refusal(fetch, port, is_allowed=is_public)
        assert status_of(error) == 403
        assert "private" in error.message


def test_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter(["127.0.0.1", "10.0.0.1"])  # a name that changes with every lookup
    resolve = socket.getaddrinfo

    def rebind(host: Any, *arguments: Any, **options: Any) -> Any:
        return resolve(next(answers) if host == "localhost" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    checked: list[str] = []
    with answering(ok(b"sound")) as port:
        found = fetch(port, is_allowed=lambda address: checked.append(str(address)) or True)
    assert found == b"sound"
    assert checked == ["127.0.0.1"]


def test_a_name_with_one_private_address_among_public_ones_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = [(2, 1, 6, "", (address, 80)) for address in ("8.8.8.8", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    error = refusal(Fetcher(frozenset({"mixed.test"})).read, "http://mixed.test/a.wav")
    assert status_of(error) == 403


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"404 Not Found", b"500 Oops"])
def test_redirects_and_errors_are_not_followed(status: bytes) -> None:
    head = b"HTTP/1.1 %s\r\nLocation: http://localhost/b.wav\r\nContent-Length: 0\r\n\r\n" % status
    with answering(head) as port:
        error = refusal(fetch, port)
        assert status_of(error) == 400
        assert status[:3].decode() in error.message


def test_size_and_time_are_bounded() -> None:
    with answering(ok(b"x" * 5_000)) as port:
        assert status_of(refusal(fetch, port, max_bytes=4_000)) == 413
        assert len(fetch(port, max_bytes=5_000)) == 5_000
    endless = b"HTTP/1.1 200 OK\r\n\r\n"
    for blocks in ([endless, *[b"x"] * 100], [b"HTTP/1.1 200 OK\r\nX: ", *[b"x"] * 100]):
        with answering(*blocks, pause=0.05) as port:  # a byte at a time, for five seconds
            start = time.monotonic()
            assert status_of(refusal(fetch, port, seconds=0.4)) == 400
            assert time.monotonic() - start < 3
    with answering(ok(b"half", length=8)) as port:
        assert status_of(refusal(fetch, port)) == 400


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/a.wav",
        "http://localhost:1/a.wav",
        "http://evil.test/a.wav",
        "http://good.test.evil.test/a.wav",
        "http://good.test@evil.test/a.wav",
        "http://good.test\n.evil.test/",
        "http://2130706433/a.wav",
        "ftp://good.test/a.wav",
        "//good.test/a.wav",
        "good.test/a.wav",
        "gopher://good.test:80/_",
        "http://good.test:99999/",
        "http:///a.wav",
        "",
    ],
)
def test_only_allowed_hosts_are_asked(url: str) -> None:
    error = refusal(Fetcher(frozenset({"good.test"})).read, url)
    assert status_of(error) in (400, 403)
    assert "good.test" not in error.message.replace("good.test.evil.test", "")


def test_data_urls_are_read_without_a_network() -> None:
    data = base64.b64encode(b"sound").decode()
    for head in ("data:audio/wav;base64,", "DATA:;BASE64,", "data:audio/ogg;codecs=opus;base64,"):
        assert Fetcher().read(head + data) == b"sound"
    for url in ("data:audio/wav," + data, "data:", "data:audio/wav;base64"):
        assert status_of(refusal(Fetcher().read, url)) == 400
