"""Several text servers: a conversation stays with one, and the others stand in for it."""

import asyncio
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from desta.inference.engine import Engine
from desta.serving.limits import ServingLimits
from desta.serving.replicas import Replicas
from desta.serving.upstream import UpstreamEngine
from desta.serving.upstream_checks import Served as Names
from support.chat_parts import clip_part, text_part
from support.gateway import gateway
from support.replies import fault
from support.serving import running, serve
from support.text_server import TextServer

pytestmark = pytest.mark.serve


def test_a_conversation_stays_with_one_replica(engine: Engine, clips: dict[str, bytes]) -> None:
    servers = [TextServer(engine), TextServer(engine), TextServer(engine)]
    with gateway(engine, *servers) as served:
        first = {"role": "user", "content": [clip_part(clips["a"]), text_part("What?")]}
        again = [first, {"role": "assistant", "content": "A bell."}, "Sure?"]
        other = [clip_part(clips["a"]), text_part("Who?")]
        for asked in ([first], again, [other]):
            assert served.chat(*asked).status_code == 200
        assert sorted(len(server.bodies) for server in servers) == [0, 0, 3]
        for number in range(40):  # which replica is whose hangs on its port
            served.chat(f"{number}?")
        assert all(server.bodies for server in servers)


def test_without_one_replica_the_others_answer(engine: Engine) -> None:
    left = TextServer(engine)
    with ExitStack() as stack:
        gone = stack.enter_context(ExitStack())
        url = gone.enter_context(running(TextServer(engine).app))
        urls = [stack.enter_context(running(left.app)), url]
        names = Names("backbone")

        def make(metrics: Any) -> UpstreamEngine:
            limits = ServingLimits()
            return UpstreamEngine(
                engine, limits, metrics, name="desta", replicas=Replicas(urls), served=names
            )

        served = stack.enter_context(serve(make))
        gone.close()
        for number in range(6):
            assert served.chat(f"{number}?").status_code == 200
        assert len(left.bodies) == 6
        assert served.client.get("/ready").status_code == 200


def test_a_replica_whose_network_is_gone_does_not_count_as_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answers(error: Exception) -> bool:
        replicas = Replicas(["http://127.0.0.1:9"])
        await replicas.open()
        try:

            async def fail(*_: Any, **__: Any) -> None:
                raise error

            monkeypatch.setattr(replicas._client, "get", fail)
            return await replicas._answers("http://127.0.0.1:9")
        finally:
            await replicas.close()

    assert not asyncio.run(answers(httpx2.ConnectTimeout("no packet comes back")))
    assert asyncio.run(answers(httpx2.ReadTimeout("busy")))


def test_without_any_replica_requests_are_told_so(engine: Engine) -> None:
    with ExitStack() as stack:
        gone = stack.enter_context(ExitStack())
        urls = [gone.enter_context(running(TextServer(engine).app))]

        def make(metrics: Any) -> UpstreamEngine:
            limits, names = ServingLimits(), Names("backbone")
            return UpstreamEngine(
                engine, limits, metrics, name="desta", replicas=Replicas(urls), served=names
            )

        served = stack.enter_context(serve(make))
        assert served.client.get("/ready").status_code == 200
        gone.close()
        assert "does not answer" in fault(served.chat("Hello?"), 503)["message"]
        assert served.client.get("/ready").status_code == 503


def test_beginnings_go_to_each_replica_alike() -> None:
    urls = [f"http://10.0.0.{n}" for n in range(4)]
    replicas = Replicas(urls)
    firsts = [replicas.order(str(n))[0] for n in range(2000)]
    assert all(400 < firsts.count(url) < 600 for url in urls)
    fewer = Replicas(urls[:3])
    moved = [
        (a, fewer.order(str(n))[0]) for n, a in enumerate(firsts) if a != fewer.order(str(n))[0]
    ]
    assert {a for a, _ in moved} == {urls[3]}  # only what was there goes elsewhere
    assert asyncio.run(Replicas([]).close()) is None
