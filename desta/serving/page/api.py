"""Client of the server's own API, over loopback: the page can do what any client can, no more."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2

from desta.errors import DataError


async def stream_answer(
    url: str, token: str | None, body: Mapping[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    """Yield the chunks of a streamed answer; closing it ends the request.

    Args:
        url: of the server.
        token: of the visitor, if the server asks for one.
        body: of the request.

    Raises:
        DataError: the server refuses the request, or fails midway.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    sent = {**body, "stream": True, "stream_options": {"include_usage": True}}
    async with (
        httpx2.AsyncClient(base_url=url, headers=headers, timeout=None, trust_env=False) as client,
        client.stream("POST", "/v1/chat/completions", json=sent) as response,
    ):
        if not response.is_success:
            await response.aread()
            raise _refused(response.json())
        async for line in response.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            chunk = json.loads(line.removeprefix("data: "))
            if "error" in chunk:
                raise _refused(chunk)
            yield chunk


def _refused(body: Mapping[str, Any]) -> DataError:
    message, _, fix = body["error"]["message"].rpartition("; ")
    return DataError(message or fix, fix=fix)
