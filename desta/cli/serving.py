"""The verb that serves a model over HTTP."""

import shlex
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from desta.cli.app import app
from desta.cli.asking import Setup
from desta.cli.options import (
    Device,
    Language,
    Model,
    Quantize,
    ReadAgain,
    SystemPrompt,
)
from desta.errors import ConfigError, need
from desta.model.config import SHIPPED
from desta.paths import check_output

if TYPE_CHECKING:
    from desta.serving.vllm_process import VllmSettings

_ROOM = "Room"
_TIME = "Time"
_UPSTREAM = "Upstream"


@app.command()
def serve(
    model: Model = SHIPPED,
    name: Annotated[str, typer.Option(help="Name of the model in requests.")] = "desta",
    host: Annotated[
        str, typer.Option(help="Address to listen at; any but loopback needs --token-file.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(help="File of the tokens that clients must send, one a line.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT]",
            help="Host from which `audio_url` may be fetched; repeatable, by default none.",
        ),
    ] = None,
    ui: Annotated[
        bool, typer.Option("--ui", help="Also serve a page with a microphone, at /ui.")
    ] = False,
    system: SystemPrompt = None,
    language: Language = None,
    quantize: Quantize = None,
    read_again: ReadAgain = None,
    device: Device = "auto",
    upstream: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            rich_help_panel=_UPSTREAM,
            help="vLLM server of the plain backbone, which generates the answers; repeatable, for "
            "replicas.",
        ),
    ] = None,
    upstream_token_file: Annotated[
        Path | None,
        typer.Option(rich_help_panel=_UPSTREAM, help="File of the token that it wants."),
    ] = None,
    vllm: Annotated[
        bool, typer.Option("--vllm", rich_help_panel=_UPSTREAM, help="Start and watch a vLLM.")
    ] = False,
    vllm_python: Annotated[
        Path,
        typer.Option(rich_help_panel=_UPSTREAM, help="Python of the environment that holds it."),
    ] = Path(".vllm/bin/python"),
    vllm_log: Annotated[
        Path, typer.Option(rich_help_panel=_UPSTREAM, help="File for its output.")
    ] = Path("vllm.log"),
    vllm_options: Annotated[
        str,
        typer.Option(
            rich_help_panel=_UPSTREAM, help='More options of it, such as "--max-model-len 4096".'
        ),
    ] = "",
    temperature: Annotated[
        float, typer.Option(help="Temperature of requests that give none; 0 is greedy.")
    ] = 0.0,
    max_tokens: Annotated[
        int, typer.Option(help="Length of answers whose requests give none, in tokens.")
    ] = 256,
    max_requests: Annotated[
        int,
        typer.Option(
            rich_help_panel=_ROOM, help="Requests that run or wait; further ones get status 429."
        ),
    ] = 64,
    max_rows: Annotated[
        int, typer.Option(rich_help_panel=_ROOM, help="Answers generated at once.")
    ] = 16,
    max_positions: Annotated[
        int, typer.Option(rich_help_panel=_ROOM, help="Tokens of all answers generated at once.")
    ] = 16_384,
    max_answers: Annotated[
        int, typer.Option(rich_help_panel=_ROOM, help="Answers to one request (`n`).")
    ] = 8,
    max_body_mb: Annotated[
        int, typer.Option(rich_help_panel=_ROOM, help="Body of one request, in MiB.")
    ] = 32,
    max_bodies_mb: Annotated[
        int, typer.Option(rich_help_panel=_ROOM, help="Bodies of all requests, in MiB.")
    ] = 512,
    max_clips: Annotated[
        int, typer.Option(rich_help_panel=_ROOM, help="Clips in one conversation.")
    ] = 16,
    max_seconds: Annotated[
        float, typer.Option(rich_help_panel=_ROOM, help="Audio of one request, in seconds.")
    ] = 600.0,
    audio_cache_mb: Annotated[
        int, typer.Option(rich_help_panel=_ROOM, help="Cache of encoded clips, in MiB.")
    ] = 256,
    prefix_cache_mb: Annotated[
        int, typer.Option(rich_help_panel=_ROOM, help="Cache of keys and values, in MiB.")
    ] = 512,
    request_seconds: Annotated[
        float, typer.Option(rich_help_panel=_TIME, help="Time for one request.")
    ] = 300.0,
    body_seconds: Annotated[
        float, typer.Option(rich_help_panel=_TIME, help="Time in which a body must be sent.")
    ] = 60.0,
    fetch_seconds: Annotated[
        float, typer.Option(rich_help_panel=_TIME, help="Time for fetching an `audio_url`.")
    ] = 20.0,
    stop_seconds: Annotated[
        float, typer.Option(rich_help_panel=_TIME, help="Time for finishing on SIGTERM.")
    ] = 60.0,
) -> None:
    """Serve a model with OpenAI's API: chat with clips, and transcription."""
    for module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "httpx2"):
        need(module, extra="serve", to="serve a model")
    if ui:
        need("gradio", extra="ui", to="serve the page")
    from desta.serving.embedded import EmbeddedEngine
    from desta.serving.gateway import gateway
    from desta.serving.limits import ServingLimits
    from desta.serving.server import Address, read_tokens, run

    limits = ServingLimits(
        max_requests=max_requests,
        max_rows=max_rows,
        max_positions=max_positions,
        max_answers=max_answers,
        max_tokens=max_tokens,
        max_body_mb=max_body_mb,
        max_bodies_mb=max_bodies_mb,
        max_clips=max_clips,
        max_seconds=max_seconds,
        request_seconds=request_seconds,
        body_seconds=body_seconds,
        fetch_seconds=fetch_seconds,
        stop_seconds=stop_seconds,
        audio_cache_mb=audio_cache_mb,
        prefix_cache_mb=prefix_cache_mb,
    )
    address = Address.of(host, port, token_file)
    setup = Setup(
        model=model,
        system=system,
        language=language,
        quantize=quantize,
        read_again=read_again,
        device=device,
        max_seconds=max_seconds,
        max_tokens=max_tokens,
        temperature=temperature,
    )
    setup.sampling()  # wrong numbers are refused before anything is loaded
    behind = _text_server(upstream, vllm, vllm_python, vllm_log, vllm_options)
    key = None if upstream_token_file is None else read_tokens(upstream_token_file)[0]
    engine = setup.engine(limits.of_engine())
    with ExitStack() as stack:
        if behind is None:
            make: Any = partial(EmbeddedEngine, engine, limits, name=name, system=system)
        else:
            make = stack.enter_context(
                gateway(engine, limits, name=name, upstream=behind, key=key, system=system)
            )
        if engine.parts.transcriber is not None:
            engine.load_transcriber()  # no request is to wait for it
        run(
            make,
            address,
            limits,
            temperature=temperature,
            allow_hosts=allow_host or (),
            with_page=ui,
        )


def _text_server(
    urls: list[str] | None, vllm: bool, python: Path, log: Path, options: str
) -> "list[str] | VllmSettings | None":
    """Return the text server of the options; None means that this process generates."""
    from desta.serving.replicas import read_url
    from desta.serving.vllm_process import VllmSettings

    if urls and vllm:
        raise ConfigError(
            "--vllm starts a text server, and --upstream names another", fix="give one of them"
        )
    if vllm:
        check_output(log)
        return VllmSettings(python=python, log=log, options=shlex.split(options))
    return [read_url(url) for url in urls] if urls else None
