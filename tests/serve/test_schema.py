"""Requests made from the server's own OpenAPI document, right and wrong ones, by schemathesis."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from desta.inference.engine import Engine
from desta.model import checkpoint
from desta.serving.limits import ServingLimits
from support.serving import serve_tiny

pytestmark = [pytest.mark.serve, pytest.mark.slow]

CHECKS: Any = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def schema(published_tiny: Path) -> Iterator[Any]:
    engine = Engine(checkpoint.load(published_tiny, dtype="float32"))
    with serve_tiny(engine, limits=ServingLimits(max_tokens=4)) as server:
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize(
    ("method", "path", "mode", "stream", "num_cases"),
    [
        ("POST", "/v1/chat/completions", GenerationMode.POSITIVE, False, 100),
        ("POST", "/v1/chat/completions", GenerationMode.POSITIVE, True, 50),
        ("POST", "/v1/chat/completions", GenerationMode.NEGATIVE, False, 150),
        ("POST", "/v1/audio/transcriptions", GenerationMode.POSITIVE, False, 75),
        ("POST", "/v1/audio/transcriptions", GenerationMode.NEGATIVE, False, 75),
        ("GET", "/v1/models/{name}", GenerationMode.POSITIVE, False, 50),
    ],
)
def test_every_request_of_the_schema_is_answered_as_it_says(
    schema: Any, method: str, path: str, mode: GenerationMode, stream: bool, num_cases: int
) -> None:
    @settings(max_examples=num_cases, suppress_health_check=list(HealthCheck))
    @given(schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        if isinstance(case.body, dict) and mode is GenerationMode.POSITIVE:
            case.body["model"] = "desta"  # else hardly any would be answered
            if stream:
                case.body["stream"] = True
        case.call_and_validate(checks=CHECKS)

    ask()
