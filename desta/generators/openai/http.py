"""HTTP client of endpoints."""

import os
from typing import TYPE_CHECKING, Any

from desta.errors import ConfigError, need
from desta.generators.config import OpenAIEngine

if TYPE_CHECKING:
    from httpx2 import AsyncClient


def open_client(engine: OpenAIEngine) -> "AsyncClient":
    """Create a client with the URL, key, timeout and concurrency of an engine.

    Raises:
        ConfigError: the URL is invalid, or the key cannot be sent.
    """
    variable, url = engine.key_variable, engine.base_url
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):  # the client would repeat it in its error
        raise ConfigError(
            f"the key in {variable} holds a letter outside ASCII, or a line break",
            fix=f"set {variable} again",
        )
    try:
        return client_library().AsyncClient(
            base_url=f"{url.rstrip('/')}/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=engine.timeout,
            limits=client_library().Limits(max_connections=engine.concurrency),
        )
    except client_library().InvalidURL as error:
        raise ConfigError(
            f"engine.base_url = {url} is no URL: {error}",
            fix="give for example http://localhost:8000/v1",
        ) from error


async def served_models(client: "AsyncClient") -> list[str]:
    """Return the models that an endpoint lists; none if it lists nothing."""
    try:
        response = await client.get("models")
        models = response.json()["data"] if response.is_success else []
        return [str(model["id"]) for model in models]
    except (client_library().HTTPError, LookupError, TypeError, ValueError):
        return []


def client_library() -> Any:
    """Return httpx2; raise MissingExtraError if it is not installed."""
    return need("httpx2", extra="api", to="ask an endpoint")
