"""The last request as a command and as a program, to be copied."""

import json
import shlex
import textwrap
from typing import Any

from desta.serving.page.talk import Settings, Talk, body_of


def as_curl(talk: Talk, settings: Settings, *, model: str, url: str, with_token: bool) -> str:
    """Return the last request as a command of the shell, to be given where the clips lie."""
    quoted = shlex.quote(json.dumps(_body(talk, settings, model), ensure_ascii=False, indent=2))
    for mark, name in _marks(talk).items():  # outside the quotes for as long as a file is read
        quoted = quoted.replace(mark, f"'\"$(base64 -w0 {shlex.quote(name)})\"'")
    token = ' \\\n  -H "Authorization: Bearer $TOKEN"' if with_token else ""
    return (
        f"curl {url}/v1/chat/completions{token} \\\n"
        f'  -H "Content-Type: application/json" --data-binary @- <<< {quoted}'
    )


def as_python(talk: Talk, settings: Settings, *, model: str, url: str, with_token: bool) -> str:
    """Return the last request as a program with OpenAI's package."""
    body = _body(talk, settings, model)
    messages = json.dumps(body.pop("messages"), ensure_ascii=False, indent=4)
    for mark, name in _marks(talk).items():
        messages = messages.replace(f'"{mark}"', f"encoded({name!r})")
    options = "".join(f"    {key}={value!r},\n" for key, value in body.items())
    imports = "import base64\n" + ("import os\n" if with_token else "")
    key = 'os.environ["TOKEN"]' if with_token else '"none"'
    messages = textwrap.indent(messages, "    ").strip()
    return f"""\
{imports}from pathlib import Path

from openai import OpenAI


def encoded(name):
    return base64.b64encode(Path(name).read_bytes()).decode()


client = OpenAI(base_url="{url}/v1", api_key={key})
answer = client.chat.completions.create(
    messages={messages},
{options})
print(answer.choices[0].message.content)
"""


def _body(talk: Talk, settings: Settings, model: str) -> dict[str, Any]:
    """Return the body with a mark in place of each recording."""
    marks = {name: mark for mark, name in _marks(talk).items()}
    return body_of(talk, settings, model=model, encode=lambda path: marks[path.name])


def _marks(talk: Talk) -> dict[str, str]:
    """Return a mark per clip, and its name."""
    names = dict.fromkeys(clip.path.name for clip in talk.clips)
    return {f"<recording {number} in base64>": name for number, name in enumerate(names)}
