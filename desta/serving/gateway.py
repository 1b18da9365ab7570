"""The gateway, set up: a text server is started or found, and checked."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from desta.inference.engine import Engine
from desta.model.backbone.load import keep_table_only
from desta.serving.limits import ServingLimits
from desta.serving.metrics import Metrics
from desta.serving.protocol import ServingEngine
from desta.serving.replicas import Replicas
from desta.serving.upstream import UpstreamEngine
from desta.serving.upstream_checks import Reference, check_all
from desta.serving.vllm_process import VllmProcess, VllmSettings


@contextmanager
def gateway(
    engine: Engine,
    limits: ServingLimits,
    *,
    name: str,
    upstream: Sequence[str] | VllmSettings,
    key: str | None = None,
    system: str | None = None,
) -> Iterator[Callable[[Metrics], ServingEngine]]:
    """Check the text server and yield what makes an engine in front of it.

    The backbone answers a few questions, with which those of the text server are compared, and is
    freed except for its embedding table.

    Args:
        engine: the loaded model.
        limits: limits of the server.
        name: of the model, in requests.
        upstream: addresses of the replicas, as `replicas.read_url` returns them, or how to start a
            vLLM, which is ended with the context.
        key: token that the replicas want.
        system: system prompt of conversations without one.

    Raises:
        UnavailableError: the text server does not answer, or vLLM does not start.
        ConfigError: it serves another model, or takes no embeddings.
    """
    with ExitStack() as stack:
        reference = Reference.of(engine)
        keep_table_only(engine.model.llm_model)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # vLLM takes what is free
        if isinstance(upstream, VllmSettings):
            process = stack.enter_context(VllmProcess(upstream, engine))
            urls, key = [process.url], process.key
        else:
            urls = list(upstream)
        served = check_all(urls, reference, key=key)

        def make(metrics: Metrics) -> ServingEngine:
            return UpstreamEngine(
                engine,
                limits,
                metrics,
                name=name,
                replicas=Replicas(urls, key=key),
                served=served,
                system=system,
            )

        yield make
