"""The page on the server: its paths, its token, its headers, and limits of what it is sent."""

import asyncio
import base64
import hashlib
import importlib.resources
import logging
import os
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import gradio as gr
from fastapi import FastAPI
from gradio import processing_utils
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from desta.errors import ConfigError, DestaError
from desta.serving.errors import status_of
from desta.serving.guard import Access
from desta.serving.limits import MEBI, ServingLimits
from desta.serving.page.blocks import COOKIE, build, theme

log = logging.getLogger(__name__)

PATH = "/ui"
"""Where the page lies."""
_LOGIN = f"{PATH}/login"
_ICON = "/favicon.ico"  # browsers ask for it without being told to
_OUTSIDE = frozenset({"", "/", PATH, _ICON})
_READ = re.compile(
    r"/?|/(config|theme\.css|manifest\.json|assets/.*|static/.*)"
    r"|/gradio_api/(startup-events|queue/data|heartbeat/\w+|upload_progress|file=/.*)"
)
"""Paths below the page that are open; all other routes of Gradio are closed."""
_SENT = re.compile(r"/gradio_api/(queue/join|upload|cancel|reset)/?")
"""Where the page sends something."""
_MAX_FORM = 4096  # bytes of the form with the token
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none, a form is sent with `Origin: null`
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
}
_POLICY = (
    "default-src 'none'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


class Page:
    """ASGI middleware that answers below `PATH`, and passes all else on."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        page: FastAPI,
        access: Access,
        max_bytes: int,
        max_folder_bytes: int,
        stopping: asyncio.Event,
    ) -> None:
        """Wrap an application.

        Args:
            app: answers what is not of the page.
            page: the page, from `create_page`.
            access: who may ask.
            max_bytes: largest body that the page is sent.
            max_folder_bytes: of all recordings that visitors have uploaded.
            stopping: ends the requests that are open for as long as a page is.
        """
        self._app = app
        self._page = page
        self._access = access
        self._max_bytes = max_bytes
        self._max_folder_bytes = max_folder_bytes
        self._arriving = 0  # bytes of uploads that are under way
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of the page, or pass it on."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path in _OUTSIDE or path.startswith(f"{PATH}/")):
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        try:
            self._access.check_site(Headers(scope=scope))
        except DestaError as error:
            await PlainTextResponse(str(error), status_of(error))(scope, receive, send)
            return
        own = self._own(scope, path)
        if own is not None:
            await own(scope, receive, send)
        elif path == _LOGIN:
            await (await self._login(Request(scope, receive)))(scope, receive, send)
        else:
            await self._from_page(scope, receive, send)

    def _own(self, scope: Scope, path: str) -> Response | None:
        """Return what is answered without the page itself."""
        below, method = path.removeprefix(PATH), scope["method"]
        if path == _ICON:
            return Response(status_code=204)
        if path in _OUTSIDE:
            return RedirectResponse(f"{PATH}/", 303)
        if path == _LOGIN:
            return None
        if not (_READ if method in ("GET", "HEAD") else _SENT).fullmatch(below):
            return PlainTextResponse("There is nothing here.", 404)
        if self._access.tokens and not self._access.knows(_token(scope)):
            if below == "/":
                return RedirectResponse(_LOGIN, 303)
            return PlainTextResponse("The token is missing or wrong; load the page again.", 401)
        stated = Headers(scope=scope).get("content-length", "")
        if method == "POST" and not (stated.isdecimal() and int(stated) <= self._max_bytes):
            return PlainTextResponse(f"A body has {self._max_bytes} bytes at most.", 413)
        if _is_upload(scope):
            kept = sum(f.stat().st_size for f in self._page.state.folder.rglob("*") if f.is_file())
            if kept + self._arriving + int(stated) > self._max_folder_bytes:
                return PlainTextResponse("Too many recordings are kept; try again later.", 507)
        return None

    async def _login(self, request: Request) -> Response:
        """Return the form for the token, or store the token that was typed as a cookie."""
        if request.method != "POST":
            return HTMLResponse(_form())
        typed = b""
        async for block in request.stream():
            typed += block
            if len(typed) > _MAX_FORM:
                return PlainTextResponse("That is no token.", 413)
        token = parse_qs(typed.decode("utf-8", "replace")).get("token", [""])[0].strip()
        if not self._access.knows(token):
            return HTMLResponse(_form("This token is not known here."), 401)
        response = RedirectResponse(f"{PATH}/", 303)
        response.set_cookie(
            COOKIE,
            quote(token, safe=""),
            path=PATH,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    async def _from_page(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == f"{PATH}/":  # not compressed: its scripts are read for their hashes
            plain = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
            scope = {**scope, "headers": plain}
        arriving = int(Headers(scope=scope)["content-length"]) if _is_upload(scope) else 0
        self._arriving += arriving
        answer = asyncio.create_task(self._page(scope, receive, send))
        waiting: set[asyncio.Task[Any]] = {answer}
        if "/heartbeat/" in scope["path"]:
            waiting.add(asyncio.create_task(self._stopping.wait()))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._arriving -= arriving
            is_over = answer.done()
            for task in waiting:
                task.cancel()
        if not is_over:
            await send({"type": "http.response.body", "body": b""})
        elif (error := answer.exception()) is not None:  # its message may quote what was asked
            log.error("the page fails with %s", type(error).__name__)


def create_page(models: Sequence[str], limits: ServingLimits, *, temperature: float) -> FastAPI:
    """Create the application of the page.

    Args:
        models: names that are served; the first is asked.
        limits: limits of the server.
        temperature: until it is set otherwise.
    """
    # read when components are created: recordings lie in a folder of this server alone
    folder = tempfile.TemporaryDirectory(prefix="desta-page-")
    os.environ["GRADIO_TEMP_DIR"] = folder.name
    blocks = build(
        model=models[0],
        max_clips=limits.max_clips,
        max_bytes=limits.max_body_mb * MEBI,
        max_tokens=limits.max_tokens,
        temperature=temperature,
    )
    app = FastAPI(openapi_url=None)
    app.state.folder = Path(folder.name)  # its files are removed an hour after they were uploaded
    gr.mount_gradio_app(
        app,
        blocks,
        PATH,
        footer_links=[],
        run_history=False,
        max_file_size=limits.max_body_mb * MEBI,
        show_error=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=theme(),
        css=_asset("page.css"),
    )
    # Only a page that was launched checks that a path which a visitor names was uploaded before.
    blocks.has_launched = True
    # A URL that a visitor names is fetched as a whole, from anywhere, through redirects.
    vars(processing_utils)["async_ssrf_protected_download"] = _refuse_download
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with folder:
            async with inner(app):
                yield

    app.router.lifespan_context = lifespan
    return app


def _is_upload(scope: Scope) -> bool:
    return bool(scope["method"] == "POST" and scope["path"].startswith(f"{PATH}/gradio_api/upload"))


async def _refuse_download(url: str, cache_dir: str) -> str:
    raise ConfigError("the page fetches nothing", fix="upload the recording itself")


def _token(scope: Scope) -> str:
    return unquote(Request(scope).cookies.get(COOKIE, ""))


def _with_headers(send: Send) -> Send:
    """Return a `send` that adds the headers; scripts inside a document are allowed by hash."""
    start: Message | None = None
    blocks: list[bytes] = []

    async def send_safely(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            if b"text/html" in Headers(raw=message["headers"]).get("content-type", "").encode():
                start = message  # until its scripts are known
                return
            await send(_add(message, ""))
        elif start is None:
            await send(message)
        else:
            blocks.append(message.get("body", b""))
            if message.get("more_body", False):
                return
            document = b"".join(blocks)
            hashes = "".join(f" 'sha256-{_digest(s)}'" for s in _SCRIPT.findall(document))
            await send(_add(start, hashes))
            await send({"type": "http.response.body", "body": document})

    return send_safely


def _digest(script: bytes) -> str:
    return base64.b64encode(hashlib.sha256(script).digest()).decode()


def _add(message: Message, hashes: str) -> Message:
    headers = {**_HEADERS, "Content-Security-Policy": _POLICY.format(hashes=hashes)}
    if "cache-control" not in Headers(raw=message["headers"]):
        headers["Cache-Control"] = "no-store"
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {**message, "headers": [*message["headers"], *raw]}


def _form(note: str = "") -> str:
    return _asset("login.html").replace("<!-- note -->", note)


def _asset(name: str) -> str:
    asset = importlib.resources.files("desta") / "assets/page" / name
    return asset.read_text(encoding="utf-8")
