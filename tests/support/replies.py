"""What a server replied, and what the engine itself would have."""

import json
from typing import Any

from desta.inference.conversation import Conversation
from desta.inference.engine import Engine
from desta.model.backbone.sampling import Sampling


def content(response: Any, choice: int = 0) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][choice]["message"]["content"])


def fault(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def events(response: Any) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def expected(
    engine: Engine, question: str, *clips: bytes, said: str | None = "words", **sampling: Any
) -> str:
    """The engine's own answer, as `desta ask` prints it."""
    settings = Sampling(**{"max_new_tokens": 10} | sampling)
    asked = Conversation(engine, settings).ask(question, clips, [said] * len(clips))
    return "".join(asked).strip()
