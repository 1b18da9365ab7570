"""Work that ends when its client disconnects."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from desta.serving.errors import ServingError

T = TypeVar("T")


async def until_disconnect(http: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of the work; it is cancelled if the client disconnects before.

    Raises:
        ServingError: the client has disconnected; nobody reads it.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnection(http))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ServingError("the client has disconnected", fix="send it again", status=499)
    finally:
        for each in (task, watcher):
            each.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


async def _disconnection(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
