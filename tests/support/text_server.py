"""A text server on the tiny backbone: takes what vLLM takes, and answers in its form."""

import asyncio
import base64
import io
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import torch
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from desta.inference.engine import Engine
from desta.model.backbone.decoding import generate, prefill
from desta.model.backbone.sampling import Sampling
from desta.model.backbone.writer import Writer

_SPLICE = "<prompt_embeds>"
_HIDDEN = 0  # id of embedded positions in what vLLM returns

Reply = tuple[int, Any]


class TextServer:
    """Application with the state that tests look at and change."""

    def __init__(self, engine: Engine, *, name: str = "backbone", adapters: tuple[str, ...] = ()):
        self._engine = engine
        self._lock = threading.Lock()
        self.name, self.adapters = name, adapters
        self.key: str | None = None
        self.fail: Callable[[dict[str, Any]], Reply | None] = lambda body: None
        """Body -> status and JSON instead of an answer."""
        self.hang_after: int | None = None
        """Deltas of a stream, or of an answer at once, after which nothing more comes."""
        self.break_after: int | None = None
        """Deltas after which the connection is cut."""
        self.scale = 1.0
        """Of all logits: other than 1 for other weights."""
        self.deaf = False
        """Whether embeddings are replaced by zeros."""
        self.bodies: list[dict[str, Any]] = []
        self.num_closed = 0
        """Answers that were given up because the client was gone."""
        self.app = FastAPI()
        self.app.get("/health")(self._health)
        self.app.get("/v1/models")(self._models)
        self.app.post("/v1/chat/completions")(self._chat)

    @property
    def body(self) -> dict[str, Any]:
        """The last body."""
        return self.bodies[-1]

    def tensors(self) -> list[torch.Tensor]:
        """Embeddings of the last body, in order."""
        contents = [m["content"] for m in self.body["messages"]]
        return [_loaded(c[0]["data"]) for c in contents if _is_embedded(c)]

    async def _health(self) -> str:
        return ""

    async def _models(self, http: Request) -> Any:
        if self.key is not None and http.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": "Unauthorized"}, 401)
        own = {"id": self.name, "object": "model", "parent": None, "max_model_len": 512}
        others = [{"id": name, "object": "model", "parent": self.name} for name in self.adapters]
        return {"object": "list", "data": [own, *others]}

    async def _chat(self, http: Request) -> Any:
        body = await http.json()
        self.bodies.append(body)
        if (reply := self.fail(body)) is not None:
            return JSONResponse(reply[1], reply[0])
        ids, embeddings_SE, width = self._read(body)
        if width is not None:
            message = f"`prompt_embeds` hidden_size {width} does not match the model's"
            return JSONResponse({"error": {"message": message, "type": "BadRequestError"}}, 400)
        writers = await asyncio.to_thread(self._write, body, embeddings_SE)
        if body.get("stream"):
            return StreamingResponse(
                self._lines(body, ids, writers), media_type="text/event-stream"
            )
        if self.hang_after is not None:
            while not await http.is_disconnected():
                await asyncio.sleep(0.01)
            self.num_closed += 1
        return self._answer(body, ids, writers)

    def _read(self, body: dict[str, Any]) -> tuple[list[int], torch.Tensor, int | None]:
        """Render the messages, parse control tokens, and put the embeddings in."""
        tokenizer, model = self._engine.tokenizer, self._engine.model
        contents = [m["content"] for m in body["messages"]]
        embedded = [_loaded(c[0]["data"]) for c in contents if _is_embedded(c)]
        rendered = tokenizer.apply_chat_template(
            [
                {"role": m["role"], "content": _SPLICE if _is_embedded(c) else _text(c)}
                for m, c in zip(body["messages"], contents, strict=True)
            ],
            tokenize=False,
            add_generation_prompt=True,
            **body.get("chat_template_kwargs", {}),
        )
        first, *others = [
            tokenizer.encode(piece, add_special_tokens=False) for piece in rendered.split(_SPLICE)
        ]
        ids, rows = list(first), [model.sequence(first, [])]
        for tensor, piece in zip(embedded, others, strict=True):
            if tensor.shape[1] != rows[0].shape[1]:
                return [], rows[0], tensor.shape[1]
            ids += [_HIDDEN] * len(tensor) + piece
            rows += [tensor * (not self.deaf), model.sequence(piece, [])]
        return ids, torch.cat([row.to(rows[0].dtype) for row in rows]), None

    def _write(self, body: dict[str, Any], embeddings_SE: torch.Tensor) -> list[Writer]:
        stop = body.get("stop") or []
        sampling = Sampling(
            temperature=body["temperature"],
            top_p=body.get("top_p", 1.0),
            max_new_tokens=body.get("max_completion_tokens") or body["max_tokens"],
            stop=tuple([stop] if isinstance(stop, str) else stop),
        )
        seed = body.get("seed")
        writers = [
            Writer(
                self._engine.tokenizer,
                sampling,
                end_ids=self._engine.end_ids,
                seed=None if seed is None else seed + number,
                num_logprobs=body.get("top_logprobs", 0) if body.get("logprobs") else None,
            )
            for number in range(body.get("n", 1))
        ]
        backbone = self._engine.model.llm_model
        with self._lock, torch.no_grad():
            state = prefill(backbone, [embeddings_SE * self.scale])
            state = state.select([0] * len(writers))
            for _ in generate(backbone, state, writers):
                pass
        return writers

    def _notes(self, body: dict[str, Any], writer: Writer) -> Any:
        if not body.get("logprobs"):
            return None
        return {
            "content": [
                {
                    **self._note(body, token, logprob),
                    "top_logprobs": [self._note(body, *best) for best in others],
                }
                for token, (logprob, others) in zip(writer.ids, writer.logprobs, strict=True)
            ]
        }

    def _note(self, body: dict[str, Any], token: int, logprob: float) -> dict[str, Any]:
        text = self._engine.tokenizer.decode([token])
        if body.get("return_tokens_as_token_ids"):
            text = f"token_id:{token}"
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    def _usage(self, ids: list[int], writers: list[Writer]) -> dict[str, Any]:
        written = sum(len(writer.ids) for writer in writers)
        return {
            "prompt_tokens": len(ids),
            "completion_tokens": written,
            "total_tokens": len(ids) + written,
            "prompt_tokens_details": {"cached_tokens": 3},
        }

    def _answer(self, body: dict[str, Any], ids: list[int], writers: list[Writer]) -> Any:
        message = {"role": "assistant", "refusal": None, "tool_calls": [], "reasoning": None}
        if body.get("tools"):
            call = {"name": body["tools"][0]["function"]["name"], "arguments": "{}"}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": call}]
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": body["model"],
            "choices": [
                {
                    "index": index,
                    "message": message | {"content": None if body.get("tools") else writer.text},
                    "logprobs": self._notes(body, writer),
                    "finish_reason": writer.finish,
                    "stop_reason": None,
                }
                for index, writer in enumerate(writers)
            ],
            "usage": self._usage(ids, writers),
            "prompt_token_ids": ids if body.get("return_token_ids") else None,
        }

    async def _lines(
        self, body: dict[str, Any], ids: list[int], writers: list[Writer]
    ) -> AsyncIterator[str]:
        num_sent, is_over = 0, False
        try:
            for index in range(len(writers)):
                yield _chunk(index, {"role": "assistant", "content": ""})
            for index, writer in enumerate(writers):
                for letter in writer.text:
                    if num_sent == self.hang_after:
                        await asyncio.sleep(3600)
                    if num_sent == self.break_after:
                        raise ConnectionAbortedError
                    num_sent += 1
                    yield _chunk(index, {"content": letter})
                    await asyncio.sleep(0)
                yield _chunk(index, {}, finish_reason=writer.finish)
            if body.get("stream_options", {}).get("include_usage"):
                yield _line({"choices": [], "usage": self._usage(ids, writers)})
            yield "data: [DONE]\n\n"
            is_over = True
        finally:
            self.num_closed += not is_over


def _chunk(index: int, delta: dict[str, Any], **fields: Any) -> str:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None} | fields
    return _line({"object": "chat.completion.chunk", "choices": [choice]})


def _line(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


def _is_embedded(content: Any) -> bool:
    return isinstance(content, list) and any(p["type"] == "prompt_embeds" for p in content)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


def _loaded(data: str) -> torch.Tensor:
    return torch.load(io.BytesIO(base64.b64decode(data, validate=True)), weights_only=True)
