"""Nothing is served in front of a text server with another model, or one that does not hear."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from desta.errors import ConfigError, UnavailableError
from desta.inference.engine import Engine
from desta.model.backbone.load import keep_table_only
from desta.model.checkpoint import load
from desta.serving.replicas import read_url
from desta.serving.upstream_checks import Reference, Served, check_all
from support.serving import running
from support.text_server import TextServer

pytestmark = pytest.mark.serve


@pytest.fixture(scope="module")
def reference(engine: Engine) -> Reference:
    return Reference.of(engine)


def checked(server: TextServer, reference: Reference, **options: Any) -> Served:
    with running(server.app) as url:
        return check_all([url], reference, **options)


def other_tokenizer(engine: Engine) -> Engine:
    other = copy.copy(engine)
    other.tokenizer = copy.deepcopy(engine.tokenizer)
    other.tokenizer.chat_template = other.tokenizer.chat_template.replace("assistant", "model")
    return other


def test_the_backbone_of_the_checkpoint_is_accepted(engine: Engine, reference: Reference) -> None:
    server = TextServer(engine, adapters=("poet",))
    assert checked(server, reference) == Served("backbone", ("poet",), 512)
    server.key = "secret"
    assert checked(server, reference, key="secret").model == "backbone"


def test_a_backbone_that_is_freed_can_still_embed(published_tiny: Path, engine: Engine) -> None:
    loaded = load(published_tiny, dtype="float32")
    ids = [1, 5, 9]
    before = loaded.model.sequence(ids, [])
    num_parameters = sum(p.numel() for p in loaded.model.llm_model.parameters())
    keep_table_only(loaded.model.llm_model)
    table = loaded.model.llm_model.get_input_embeddings().weight
    left = sum(p.numel() for p in loaded.model.llm_model.parameters())
    assert left == table.numel() < num_parameters
    assert torch.equal(loaded.model.sequence(ids, []), before)
    assert not [b for b in loaded.model.llm_model.buffers() if b.numel() > 1000]


@pytest.mark.parametrize(
    ("break_it", "match"),
    [
        (lambda server: setattr(server, "scale", 3.0), "the model there is not backbone"),
        (lambda server: setattr(server, "deaf", True), "the model there is not backbone"),
        (lambda server: setattr(server, "key", "secret"), "asks for a token"),
        (lambda server: setattr(server, "fail", lambda b: (200, {})), "no log-probabilities"),
        (
            lambda server: setattr(server, "fail", lambda b: (404, {"detail": "Not Found"})),
            "refuses a request: Not Found",
        ),
    ],
)
def test_another_server_is_refused(
    break_it: Callable[[TextServer], None], match: str, engine: Engine, reference: Reference
) -> None:
    server = TextServer(engine)
    break_it(server)
    with pytest.raises(ConfigError, match=match):
        checked(server, reference)


def test_another_template_is_refused(engine: Engine, reference: Reference) -> None:
    server = TextServer(other_tokenizer(engine))
    with pytest.raises(ConfigError, match="tokenizer or chat template is not that of backbone"):
        checked(server, reference)


def test_a_server_without_embeddings_or_of_another_width_is_refused(
    engine: Engine, reference: Reference
) -> None:
    def refuse(body: Any) -> Any:
        if "prompt_embeds" not in str(body["messages"]):
            return None
        message = "You must set `--enable-prompt-embeds` to input `prompt_embeds`."
        return 400, {"error": {"message": message}}

    server = TextServer(engine)
    server.fail = refuse
    with pytest.raises(ConfigError, match="You must set") as caught:
        checked(server, reference)
    assert "--enable-prompt-embeds" in caught.value.fix


def test_a_server_that_hears_the_same_in_two_clips_is_refused(
    engine: Engine, reference: Reference
) -> None:
    """Whatever makes it so: here, the second clip is the first."""
    first, _ = reference.clips
    same = Reference(
        reference.backbone, reference.width, reference.text, reference.embedded, (first, first)
    )
    with pytest.raises(ConfigError, match="audio does not reach the model"):
        checked(TextServer(engine), same)


def test_replicas_must_agree(engine: Engine, reference: Reference) -> None:
    first, second = TextServer(engine), TextServer(engine, name="other")
    with (
        running(first.app) as a,
        running(second.app) as b,
        pytest.raises(ConfigError, match="differ in names"),
    ):
        check_all([a, b], reference)


def test_a_server_that_is_not_there_is_named(reference: Reference) -> None:
    with pytest.raises(UnavailableError, match="127.0.0.1:9 does not answer"):
        check_all(["http://127.0.0.1:9"], reference)


def test_addresses_are_read_with_and_without_their_path(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for url in ("http://127.0.0.1:8001", "http://127.0.0.1:8001/v1/", "http://127.0.0.1:8001/"):
        assert read_url(url) == "http://127.0.0.1:8001"
    assert read_url("https://10.1.2.3/text/v1") == "https://10.1.2.3/text"
    assert not caplog.records
    assert read_url("http://8.8.8.8:8000") == "http://8.8.8.8:8000"
    assert "public network" in caplog.text
    for wrong in ("127.0.0.1:8001", "ftp://127.0.0.1", "http://", "http://[", "http://a:b"):
        with pytest.raises(ConfigError, match="is no URL"):
            read_url(wrong)
