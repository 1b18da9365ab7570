"""Answers to a file of requests, in batches, resumable.

A line of the input is either a conversation or a question:

    {"id": "1", "messages": [{"role": "user", "content": "<|AUDIO|> What?", "audios": [...]}]}
    {"id": "2", "audios": ["a.wav"], "texts": [null], "question": "What?", "max_new_tokens": 32}

with optional fields of `Sampling`, `seed`, `num_answers` and `num_logprobs`. A line of the output
holds `id` (the number of the line if not given), `request` (a hash of request and settings, used to
resume an interrupted call) and either `answers` and `audios`, or `error`, `fix` and, if the error
contains details, the `reason` by which failures are counted. Output lines are in the order of the
input, one per line, also for lines that are not JSON. A failed request stays failed until it is
retried; its answer then replaces its line (see `desta.lines.RetryFile`).

The seed of a line without `seed` is derived from its content, its id and the seed of the call only:
an interrupted call gives the same file, all models draw the same random numbers, and two lines with
the same question draw different ones.
"""

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from desta.config import build_config, suggest
from desta.errors import ConfigError, DataError, DestaError
from desta.inference.conversation import system_messages, user_message
from desta.inference.engine import Engine
from desta.inference.requests import Request, RequestResult
from desta.isolation import error_of
from desta.lines import RetryFile, whole_lines
from desta.model.backbone.sampling import Sampling
from desta.paths import check_output
from desta.progress import progress_bar
from desta.reasons import Reasons
from desta.records import Message, read_lines

log = logging.getLogger(__name__)

_SAMPLING = {f.name for f in fields(Sampling)}
_REQUEST = {f.name for f in fields(Request)} - {"messages", "sampling"}
_QUESTION = {"audios", "texts", "question"}
_START = b'{"id": '  # beginning of every line of answers
_ID = re.compile(rb'\s*\{\s*"id"\s*:\s*"([^"\\]+)"')


@dataclass
class AnswerTally:
    """Counts of the lines of a file, over all calls."""

    answered: int = 0
    already_done: int = 0
    """Lines of the output that an earlier call wrote, failed ones included; not those that this
    one asked again."""
    failures: Reasons[str] = field(default_factory=Reasons)
    """Requests that failed."""


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
    retry: bool = False,
) -> AnswerTally:
    """Answer every line of a file; an interrupted call can be resumed.

    Args:
        engine: the engine that answers.
        source: JSONL file of requests.
        target: JSONL file of answers.
        sampling: settings of lines that do not set them.
        system_prompt: of lines with a question; None means the model's.
        seed: seed of lines without one; 0 or more.
        model: identity of the model, part of the hash of a request.
        batch_size: requests that are answered at once.
        max_failed_share: share of requests that may fail, earlier calls included.
        retry: first retry requests that failed in an earlier call, even if their line has changed.

    Returns:
        Counts of all lines, the same as without an interruption.

    Raises:
        ConfigError: the target holds anything else than answers of this model, with these settings,
            to the first of these requests.
        DataError: the source cannot be read, two of its lines have the same id, another process
            writes the target, or too many requests fail.
    """
    check_target(source, target)
    system = system_messages(engine, system_prompt)
    asked = _read(source, [model, asdict(sampling), [m.to_json() for m in system], seed])
    busy = DataError(f"another process writes {target}", fix="let it finish, or give another file")

    def ask(todo: Sequence[_Asked], add: Callable[[Iterator[str]], None], done: int) -> None:
        with progress_bar("answering", total=done + len(todo), done=done) as advance:
            for start in range(0, len(todo), batch_size):
                batch = todo[start : start + batch_size]
                add(_answer(engine, batch, sampling, system, seed))
                advance(items=len(batch))

    with RetryFile(target, _key_of, busy=busy) as lines:
        _finish_retry(lines, target)
        done = _finished(target)
        _check_same(done, asked, source, target, retry=retry)
        failed = [a for a, line in zip(asked, done, strict=False) if line.reason is not None]
        if failed and retry:
            ask(failed, lines.append_again, 0)
            lines.replace()
        elif failed:
            log.info("%d have no answer; --retry asks them again", len(failed))
        ask(asked[len(done) :], lines.append, len(done))
        tally = _count(_finished(target))
    tally.already_done = len(done) - (len(failed) if retry else 0)
    _check_failures(tally, len(asked), max_failed_share)
    return tally


def _finish_retry(lines: RetryFile, target: Path) -> None:
    """Put the lines of an interrupted retry into their places.

    Raises:
        ConfigError: one of the two files holds no answers.
    """
    if lines.again.exists():
        _finished(lines.again)
        _finished(target)
        lines.replace()


def _count(lines: Sequence["_Done"]) -> AnswerTally:
    failures = Reasons.of((line.reason, line.id) for line in lines if line.reason is not None)
    return AnswerTally(answered=len(lines) - failures.total, failures=failures)


class _Asked(NamedTuple):
    """A line of the input."""

    id: str
    hash: str
    """Hash of the request and of the settings of the call."""
    record: Mapping[str, Any] | DataError
    """The request, or the error of an invalid line."""


def _read(source: Path, settings: Any) -> list[_Asked]:
    """Return the lines of the input.

    Raises:
        DataError: the file cannot be read, or two lines have the same id.
    """
    asked = [
        _take(number, line, record, settings)
        for number, (line, record) in enumerate(read_lines(source), start=1)
    ]
    broken = [a.record for a in asked if isinstance(a.record, DataError)]
    if broken and len(broken) == len(asked):
        raise broken[0]  # a file of another kind
    _check_ids([a.id for a in asked], source)
    return asked


def _take(number: int, line: bytes, record: Mapping[str, Any] | DataError, settings: Any) -> _Asked:
    try:
        if isinstance(record, DataError):
            raise record
        id = number if record.get("id") is None else record["id"]
        return _Asked(str(id), _hash([record, settings]), record)
    except (DataError, RecursionError) as error:  # RecursionError: nested too deep to be written
        fault = error_of(error, "a request")
        assert isinstance(fault, DataError)
        begins = _ID.match(line)
        id = begins[1].decode(errors="replace") if begins else number
        return _Asked(str(id), _hash([line.hex(), settings]), fault)


def check_target(source: Path, target: Path) -> None:
    """Raise ConfigError unless answers to the requests of a file can be written to another."""
    check_output(target, in_folder=True)
    if target.exists() and target.samefile(source):
        raise ConfigError(
            "requests and answers are the same file", fix="give another file for the answers"
        )


def _check_failures(tally: AnswerTally, num_asked: int, max_share: float) -> None:
    """Raise DataError if too many requests failed."""
    if tally.failures.total > max_share * num_asked:
        reason, worst = tally.failures.most_common()[0]
        raise DataError(
            f"{tally.failures.total} of {num_asked} requests failed, more than "
            f"{max_share:.0%}; {worst.count} times: {reason} (first: {worst.example})",
            fix="correct the requests and give the command again with --retry",
        )


def _check_same(
    done: Sequence["_Done"], asked: Sequence[_Asked], source: Path, target: Path, *, retry: bool
) -> None:
    """Raise ConfigError if the output answers other requests; failed lines may differ."""
    others = [(line, a) for line, a in zip(done, asked, strict=False) if line.request != a.hash]
    mended = len(done) <= len(asked) and all(
        line.reason is not None and line.id == a.id for line, a in others
    )
    if mended and (retry or not others):
        return
    raise ConfigError(
        f"{target} holds answers to other requests than {source}, or of other settings",
        fix="add --retry: the requests that differ have no answer yet"
        if mended
        else "give another file for the answers, or remove that one",
    )


def _answer(
    engine: Engine,
    batch: Sequence[_Asked],
    sampling: Sampling,
    system: Sequence[Message],
    seed: int,
) -> Iterator[str]:
    """Answer a batch of lines of the input; yield lines of the output."""
    parsed = [_attempt(a, engine, sampling, system, seed) for a in batch]
    replies = iter(engine.run([r for r in parsed if isinstance(r, Request)]))
    for a, request in zip(batch, parsed, strict=True):
        reply = next(replies) if isinstance(request, Request) else RequestResult(error=request)
        line = {"id": a.id, "request": a.hash, **_outcome(reply)}
        yield json.dumps(line, ensure_ascii=False)


def _check_ids(ids: Sequence[str], source: Path) -> None:
    """Raise DataError if two requests have the same id."""
    if len(set(ids)) == len(ids):
        return
    twice = [id for id, count in Counter(ids).items() if count > 1]
    first, second, *_ = (number for number, id in enumerate(ids, start=1) if id == twice[0])
    others = f" ({len(twice)} ids occur more than once)" if len(twice) > 1 else ""
    raise DataError(
        f'{source} has the id "{twice[0]}" twice, in requests {first} and {second}{others}',
        fix="give every request its own id, or none: then it is the request's number",
    )


def parse_request(
    record: Mapping[str, Any],
    *,
    locator: str,
    sampling: Sampling,
    system: Sequence[Message] = (),
) -> Request:
    """Create a request from a line.

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
        _check_types(rest)
        if "messages" in rest:
            messages = [Message.from_json(m) for m in rest["messages"]]
        else:
            clips, texts = rest.get("audios") or [], rest.get("texts") or []
            turn = user_message(rest["question"], clips, locator=locator, texts=texts)
            messages = [*system, turn]
        if not all(isinstance(ref.audio, str) for m in messages for ref in m.audios):
            raise TypeError("a clip must be the path of a file")
        settings = build_config(
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
    except (KeyError, TypeError, ValueError) as error:
        detail = f'"{error.args[0]}" is missing' if isinstance(error, KeyError) else error
        raise DataError(
            f"a request is not in the format of a conversation or question: {detail}",
            reason="a request is not in the format of a conversation or question",
            fix='write {"audios": ["clip.wav"], "question": "What is heard?"}',
        ) from error


def _check_types(request: Mapping[str, Any]) -> None:
    """Raise TypeError with a readable message if a field has another type."""
    if "messages" in request:
        turns = request["messages"]
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise TypeError("the messages must be a list of objects")
        for clips in (turn.get("audios") or [] for turn in turns):
            if not isinstance(clips, list) or not all(isinstance(clip, dict) for clip in clips):
                raise TypeError("the audios of a message must be a list of objects")
        return
    if not isinstance(request["question"], str):
        raise TypeError("the question must be text")
    texts = request.get("texts")
    if isinstance(texts, list) and not all(isinstance(text, str | None) for text in texts):
        raise TypeError("the texts of clips must be text or null")


def _attempt(
    asked: _Asked, engine: Engine, sampling: Sampling, system: Sequence[Message], seed: int
) -> Request | DestaError:
    if isinstance(asked.record, DataError):
        return asked.record
    try:
        request = parse_request(
            asked.record, locator=engine.layout.locator, sampling=sampling, system=system
        )
    except Exception as error:
        return error_of(error, "a request")
    if request.seed is not None:
        return request
    return replace(request, seed=_seed([seed, asked.id, asked.record]))


def _outcome(reply: RequestResult) -> dict[str, Any]:
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

    id: str
    request: str
    reason: str | None
    """Reason of the failure; None if answered."""


def _parse(line: bytes) -> _Done:
    read = json.loads(line)
    return _Done(read["id"], read["request"], read.get("reason", read.get("error")))


def _key_of(line: bytes) -> tuple[str, bool]:
    """Return the id of a line of the output, and whether it failed."""
    done = _parse(line)
    return done.id, done.reason is not None


def _finished(path: Path) -> list[_Done]:
    """Return the complete lines of a file of answers."""
    try:
        done = [_parse(line) for line in whole_lines(path)]
        if not done and not _may_be_ours(path):
            raise ValueError("no line is an answer")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} is not a file of answers", fix="give another file for the answers"
        ) from error
    return done


def _may_be_ours(path: Path) -> bool:
    """Return whether a file without a complete line is missing, empty, or begins like an answer."""
    if not path.exists():
        return True
    with path.open("rb") as file:
        begin = file.read(len(_START))
    return begin == _START[: len(begin)]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _seed(value: Any) -> int:
    """Return a seed derived from a value, in [0, 2**63)."""
    return int(_hash(value), 16) >> 1
