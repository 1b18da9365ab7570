"""A file of requests -> a file of answers, in batches, resumable.

A line of the input is either a conversation or a question:

    {"id": "1", "messages": [{"role": "user", "content": "<|AUDIO|> What?", "audios": [...]}]}
    {"id": "2", "audios": ["a.wav"], "texts": [null], "question": "What?", "max_new_tokens": 32}

with any of the fields of `Sampling`, `seed`, `num_answers` and `num_logprobs` beside it. A line of
the output holds the `id` (the number of the line where none is given), `request` (a hash of request
and settings, by which an interrupted call is taken up) and either `answers` and `audios`, or
`error`, `fix` and, where the error names things of its own, the `reason` that many share. Lines
come in the order of the input; one that failed stays so until the file is removed.

The random numbers of a line that names no `seed` follow from its content, its id and the seed of
the call, and from nothing before it: an interruption leaves no trace in the file, models draw
alike, and two lines that ask the same draw differently.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from desta.config import build, suggest
from desta.errors import ConfigError, DataError, DestaError
from desta.inference.conversation import system_messages, user_message
from desta.inference.engine import Engine
from desta.inference.requests import Reply, Request
from desta.lines import LineFile
from desta.llm.base import Sampling
from desta.progress import progress_bar
from desta.records import Message, read_jsonl

_SAMPLING = {f.name for f in fields(Sampling)}
_REQUEST = {f.name for f in fields(Request)} - {"messages", "sampling"}
_QUESTION = {"audios", "texts", "question"}
_START = b'{"id": '  # of every line of answers


@dataclass
class Tally:
    """What became of the lines of a file, whichever call asked them."""

    answered: int = 0
    already_done: int = 0
    """Lines of the output that an earlier call wrote, failed ones included."""
    failures: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Reason -> how many requests, and the id of the first."""

    @property
    def num_failed(self) -> int:
        """Requests that failed."""
        return sum(count for count, _ in self.failures.values())

    def count(self, id: str, reason: str | None) -> None:
        """Add what became of a request: it was answered, or failed for a reason."""
        if reason is None:
            self.answered += 1
            return
        number, first = self.failures.get(reason, (0, id))
        self.failures[reason] = number + 1, first


def answer_file(
    engine: Engine,
    source: Path,
    target: Path,
    *,
    sampling: Sampling,
    system_prompt: str | None = None,
    seed: int = 0,
    model: str = "",
    batch_size: int = 16,
    max_failed_share: float = 0.5,
) -> Tally:
    """Answer every line of a file; given again after an interruption, go on where it stopped.

    Args:
        engine: answers.
        source: JSONL file of requests.
        target: JSONL file of answers.
        sampling: what holds for lines that say nothing else.
        system_prompt: of lines that are a question; None takes the model's.
        seed: of the random numbers of lines that name none; 0 or more.
        model: what tells this model from others.
        batch_size: requests that are answered at once.
        max_failed_share: share of requests that may fail, in this call or an earlier one.

    Returns:
        What became of all lines: the same as of a call that was never interrupted.

    Raises:
        ConfigError: the target holds something else than answers of this model, with these
            settings, to the first of these requests.
        DataError: a line of the source is not JSON, two have the same id, another process writes
            the target, or too many requests fail.
    """
    if target.exists() and target.samefile(source):
        raise ConfigError(
            "requests and answers are the same file", fix="give another file for the answers"
        )
    records = list(read_jsonl(source))
    ids = [
        str(number if record.get("id") is None else record["id"])
        for number, record in enumerate(records, start=1)
    ]
    _check_ids(ids, source)
    system = system_messages(engine, system_prompt)
    settings = [model, asdict(sampling), [m.to_json() for m in system], seed]
    hashes = [_hash([record, settings]) for record in records]
    busy = DataError(f"another process writes {target}", fix="let it finish, or give another file")
    with LineFile(target, busy=busy) as lines:
        done = _finished(lines)
        if [line.request for line in done] != hashes[: len(done)]:
            raise ConfigError(
                f"{target} holds answers to other requests than {source}, or of other settings",
                fix="give another file for the answers, or remove that one",
            )
        tally = Tally(already_done=len(done))
        for id, line in zip(ids, done, strict=False):
            tally.count(id, line.reason)
        with progress_bar("answering", total=len(records), done=len(done)) as advance:
            for start in range(len(done), len(records), batch_size):
                batch = slice(start, start + batch_size)
                parsed = [
                    _attempt(record, engine, sampling, system, seed=_seed([seed, id, record]))
                    for id, record in zip(ids[batch], records[batch], strict=True)
                ]
                replies = iter(engine.run([r for r in parsed if isinstance(r, Request)]))
                answers = []
                for id, hash, request in zip(ids[batch], hashes[batch], parsed, strict=True):
                    reply = next(replies) if isinstance(request, Request) else Reply(error=request)
                    answers.append({"id": id, "request": hash, **_outcome(reply)})
                    tally.count(id, None if reply.error is None else reply.error.reason)
                lines.append(json.dumps(answer, ensure_ascii=False) for answer in answers)
                advance(items=len(parsed))
    if tally.num_failed > max_failed_share * len(records):
        reason, (count, first) = max(tally.failures.items(), key=lambda item: item[1][0])
        raise DataError(
            f"{tally.num_failed} of {len(records)} requests failed, more than "
            f"{max_failed_share:.0%}; {count} times: {reason} (first: {first})",
            fix=f"mend the requests, remove {target}, and give the command again",
        )
    return tally


def _check_ids(ids: Sequence[str], source: Path) -> None:
    """Raise DataError if two answers could not be told apart."""
    if len(set(ids)) == len(ids):
        return
    twice = [id for id, count in Counter(ids).items() if count > 1]
    first, second, *_ = (number for number, id in enumerate(ids, start=1) if id == twice[0])
    others = f" ({len(twice)} ids stand there more than once)" if len(twice) > 1 else ""
    raise DataError(
        f'{source} has the id "{twice[0]}" twice, in requests {first} and {second}{others}',
        fix="give every request an id of its own, or none: then it is the request's number",
    )


def parse_request(
    record: Mapping[str, Any],
    *,
    locator: str,
    sampling: Sampling,
    system: Sequence[Message] = (),
) -> Request:
    """Turn a line into a request.

    Raises:
        DataError: it is neither a conversation nor a question, or a field is unknown or ill-typed.
    """
    rest = {key: value for key, value in record.items() if key != "id"}
    known = {"messages"} | _QUESTION | _SAMPLING | _REQUEST
    for key in rest:
        if key not in known:
            raise DataError(f'unknown field "{key}"', fix=suggest(key, sorted(known)))
    if ("messages" in rest) == ("question" in rest):
        raise DataError(
            'a request needs either "messages" or "question"',
            fix='write {"audios": ["clip.wav"], "question": "What is heard?"}',
        )
    try:
        if "messages" in rest:
            messages = [Message.from_json(m) for m in rest["messages"]]
        else:
            clips, texts = rest.get("audios") or [], rest.get("texts") or []
            turn = user_message(rest["question"], clips, locator=locator, texts=texts)
            if not isinstance(rest["question"], str):
                raise TypeError("the question must be text")
            if not all(text is None or isinstance(text, str) for text in texts):
                raise TypeError("the texts of clips must be text or null")
            messages = [*system, turn]
        if not all(isinstance(ref.audio, str) for m in messages for ref in m.audios):
            raise TypeError("a clip must be the path of a file")
        settings = build(
            Sampling,
            {**asdict(sampling), **{k: v for k, v in rest.items() if k in _SAMPLING}},
            where="request",
        )
        return Request(
            messages=messages,
            sampling=settings,
            **{key: value for key, value in rest.items() if key in _REQUEST},
        )
    except ConfigError as error:
        raise DataError(error.message, fix=error.fix) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"a request is not in the format of a conversation or question: {error!r}",
            reason="a request is not in the format of a conversation or question",
            fix='write {"audios": ["clip.wav"], "question": "What is heard?"}',
        ) from error


def _attempt(
    record: Mapping[str, Any],
    engine: Engine,
    sampling: Sampling,
    system: Sequence[Message],
    *,
    seed: int,
) -> Request | DestaError:
    try:
        request = parse_request(
            record, locator=engine.layout.locator, sampling=sampling, system=system
        )
    except DestaError as error:
        return error
    return request if request.seed is not None else replace(request, seed=seed)


def _outcome(reply: Reply) -> dict[str, Any]:
    if reply.error is not None:
        message, reason = reply.error.message, reply.error.reason
        shared = {} if reason == message else {"reason": reason}
        return {"error": message, **shared, "fix": reply.error.fix}
    answers = [
        {"text": a.text, "finish": a.finish, **({"logprobs": a.logprobs} if a.logprobs else {})}
        for a in reply.answers
    ]
    audios = [{"audio": ref.audio, "text": ref.text} for ref in reply.answers[0].audios]
    return {"answers": answers, "audios": audios}


class _Done(NamedTuple):
    """A line of the output."""

    request: str
    reason: str | None
    """Why it failed; None where it was answered."""


def _finished(lines: LineFile) -> list[_Done]:
    """Return what an earlier call wrote."""
    try:
        read = map(json.loads, lines)
        done = [_Done(r["request"], r.get("reason", r.get("error"))) for r in read]
        if not done and not _may_be_ours(lines.path):
            raise ValueError("no line of it is ours")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{lines.path} is not a file of answers", fix="give another file for the answers"
        ) from error
    return done


def _may_be_ours(path: Path) -> bool:
    """Say whether a file without a whole line is missing, empty, or the begin of an answer."""
    if not path.exists():
        return True
    with path.open("rb") as file:
        begin = file.read(len(_START))
    return begin == _START[: len(begin)]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _seed(value: Any) -> int:
    """Return a seed that follows from a value, in [0, 2**63)."""
    return int(_hash(value), 16) >> 1
