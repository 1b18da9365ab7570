"""The application: routes and middleware around an engine."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from desta.errors import DestaError
from desta.serving.chat import chat_routes
from desta.serving.errors import ServingError, body_of, headers_of, status_of
from desta.serving.guard import Access, Guard
from desta.serving.limits import MEBI, ServingLimits
from desta.serving.media import Fetcher
from desta.serving.metrics import CONTENT_TYPE, Metrics
from desta.serving.models import model_routes
from desta.serving.protocol import ServingEngine
from desta.serving.schema import ErrorBody
from desta.serving.transcriptions import transcription_routes
from desta.version import __version__

_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        400: "The request is wrong.",
        401: "The token is missing or wrong.",
        403: "Host, origin or URL are not allowed.",
        404: "There is no such model.",
        408: "The body came too slowly.",
        413: "Body, recording or number of clips exceed a limit.",
        415: "Media type or format of a recording are unknown.",
        422: "A recording is damaged.",
        429: "The server is too busy; see Retry-After.",
        500: "The server failed.",
        503: "The server is not ready.",
    }.items()
}


def create_app(
    engine: ServingEngine,
    *,
    limits: ServingLimits | None = None,
    metrics: Metrics | None = None,
    access: Access | None = None,
    fetcher: Fetcher | None = None,
    temperature: float = 0.0,
    with_page: bool = False,
) -> FastAPI:
    """Create the application of a server.

    Args:
        engine: what answers; started and closed with the application.
        limits: limits of the server.
        metrics: what `/metrics` shows; the engine should have the same.
        access: who may ask; by default local clients, without a token.
        fetcher: reads `audio_url`; by default data URLs only.
        temperature: of requests that give none.
        with_page: whether people get a page, at `/ui`.
    """
    limits, metrics = limits or ServingLimits(), metrics or Metrics()
    access = access or Access()
    fetcher = fetcher or Fetcher(max_bytes=limits.max_body_mb * MEBI, seconds=limits.fetch_seconds)

    page: FastAPI | None = None
    if with_page:
        from desta.serving.page.mount import Page, create_page

        page = create_page(engine.models, limits, temperature=temperature)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await engine.start()
        async with page.router.lifespan_context(page) if page else nullcontext():
            yield
        await engine.close()

    app = FastAPI(
        title="desta",
        version=__version__,
        description="Audio-language model behind OpenAI's API.",
        lifespan=lifespan,
        docs_url=None,  # these pages fetch scripts from elsewhere
        redoc_url=None,
        responses=_REFUSALS,
    )
    app.state.stopping = asyncio.Event()  # set by whoever stops the server
    app.include_router(chat_routes(engine, limits, fetcher, temperature=temperature))
    app.include_router(transcription_routes(engine))
    app.include_router(model_routes(engine))

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def read_metrics() -> Response:
        """Return the metrics in the format of Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    app.add_exception_handler(DestaError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_middleware(Guard, access=access, limits=limits, metrics=metrics)
    if page is not None:
        max_bytes = limits.max_body_mb * MEBI
        app.add_middleware(
            Page,
            page=page,
            access=access,
            max_bytes=max_bytes,
            max_folder_bytes=limits.max_bodies_mb * MEBI,
            stopping=app.state.stopping,
        )
    return app


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, DestaError)
    return JSONResponse(body_of(error), status_of(error), headers_of(error))


async def _on_invalid(http: Request, error: Exception) -> Response:
    """Return the innermost fault of a body."""
    assert isinstance(error, RequestValidationError)
    fault = max(error.errors(), key=lambda fault: len(fault["loc"]))
    place = ".".join(_names(fault["loc"]))
    what = fault["msg"]
    if fault["type"] == "json_invalid":  # its location is a column
        place, what = "", "the body is not JSON"
    return await _on_error(
        http,
        ServingError(
            f"{place}: {what}" if place else str(what),
            fix="correct it; /openapi.json has the schema",
            param=place or None,
        ),
    )


def _names(location: Iterable[str | int]) -> list[str]:
    """Return the keys of a location, without pydantic's names for the kinds of a union."""
    return [str(name) for name in location if name not in ("body", "str") and "[" not in str(name)]


async def _on_http(http: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = await _on_error(
        http,
        ServingError(
            str(error.detail), fix="/openapi.json lists the routes", status=error.status_code
        ),
    )
    response.headers.update(error.headers or {})
    return response
