"""Who may ask: local clients, or those with a token."""

from pathlib import Path

import pytest

from desta.errors import ConfigError
from desta.inference.engine import Engine
from desta.serving.guard import Access
from desta.serving.server import Address, is_loopback, listen, read_tokens
from support.commands import desta
from support.serving import Served, serve_tiny

pytestmark = pytest.mark.serve

TOKENS = ("correct-horse-battery", "staple-staple-staple")


def test_a_token_is_needed_for_all_but_health(engine: Engine) -> None:
    with serve_tiny(engine, access=Access(TOKENS, None)) as server:
        for path, status in (("/health", 200), ("/ready", 200), ("/v1/models", 401)):
            assert server.client.get(path).status_code == status
        for header in ("", "Bearer", "Bearer x", f"Basic {TOKENS[0]}", f"Bearer {TOKENS[0]}x"):
            reply = server.client.get("/v1/models", headers={"Authorization": header})
            assert reply.status_code == 401
            assert reply.json()["error"]["type"] == "authentication_error"
            assert reply.headers["www-authenticate"] == "Bearer"
        for path in ("/metrics", "/openapi.json"):
            assert server.client.get(path).status_code == 401
        assert server.chat("Hello?").status_code == 401
        for token in TOKENS:
            server.client.headers["Authorization"] = f"Bearer {token}"
            assert server.chat("Hello?").status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("evil.test", 403),  # resolves to this machine: DNS rebinding
        ("localhost.evil.test", 403),
        ("[", 403),
    ],
)
def test_a_local_server_is_asked_under_local_names_only(
    served: Served, host: str, status: int
) -> None:
    assert served.client.get("/v1/models", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"), [("own", 200), ("http://evil.test", 403), ("null", 403)]
)
def test_pages_of_other_sites_cannot_ask(served: Served, origin: str, status: int) -> None:
    origin = served.url if origin == "own" else origin
    reply = served.client.get("/v1/models", headers={"Origin": origin})
    assert reply.status_code == status


def test_every_answer_has_safe_headers(served: Served) -> None:
    replies = [
        served.chat("Hello?"),
        served.chat("Hello?", stream=True),
        served.chat("Hello?", n=0),
        served.client.get("/nowhere"),
        served.client.get("/health", headers={"Host": "evil.test"}),
    ]
    for reply in replies:
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert reply.headers["cache-control"] == "no-store"
        assert "server" not in reply.headers


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")],
        *[(host, False) for host in ("0.0.0.0", "::", "192.168.0.1", "example.com", "")],
    ],
)
def test_any_address_but_loopback_needs_a_token(host: str, local: bool, tmp_path: Path) -> None:
    assert is_loopback(host) == local
    token_file = tmp_path / "tokens"
    token_file.write_text("\n".join(TOKENS))
    assert Address.of(host, 0, token_file).access == Access(TOKENS, None)
    if local:
        assert Address.of(host, 0, None).access.hosts
    else:
        with pytest.raises(ConfigError, match="--token-file FILE"):
            Address.of(host, 0, None)


def test_a_token_file_that_is_no_good_is_refused(tmp_path: Path) -> None:
    for text, words in (("", "no token"), ("short", "less than 16"), ("é" * 20, "ASCII")):
        path = tmp_path / "tokens"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=words):
            read_tokens(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tokens(tmp_path / "nowhere")


def test_the_command_refuses_before_it_loads_a_model(tmp_path: Path) -> None:
    for arguments, words in (
        (("--host", "0.0.0.0"), "can be reached from other machines"),
        (("--token-file", tmp_path / "nowhere"), "cannot be read"),
        (("--max-rows", 0), "max_rows = 0"),
        (("--temperature", -1), "temperature = -1"),
    ):
        assert words in str(desta("serve", "--model", "nowhere", *arguments).exception)


def test_a_port_that_is_taken_is_named() -> None:
    with listen(Address("127.0.0.1", 0, Access())) as taken:
        taken.listen()
        with pytest.raises(ConfigError, match="cannot be listened at"):
            listen(Address("127.0.0.1", taken.getsockname()[1], Access()))
