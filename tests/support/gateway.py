"""A gateway to text servers, all in this process."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from desta.inference.engine import Engine
from desta.serving.limits import ServingLimits
from desta.serving.replicas import Replicas
from desta.serving.upstream import UpstreamEngine
from desta.serving.upstream_checks import Served as Names
from support.serving import Served, running, serve
from support.text_server import TextServer


@contextmanager
def gateway(
    engine: Engine, *servers: TextServer, limits: ServingLimits | None = None, **options: Any
) -> Iterator[Served]:
    limits = limits or ServingLimits()
    with ExitStack() as stack:
        urls = [stack.enter_context(running(server.app)) for server in servers]
        names = Names(servers[0].name, servers[0].adapters, 512)
        yield stack.enter_context(
            serve(
                lambda metrics: UpstreamEngine(
                    engine,
                    limits,
                    metrics,
                    name="desta",
                    replicas=Replicas(urls),
                    served=names,
                    **options,
                ),
                limits=limits,
            )
        )
