"""Ask, journal, score: the loop that all benchmarks share.

An evaluation is a folder:

    plan.json         what is asked of whom; another plan in the same folder is an error
    environment.json  command, commit and versions of the first call
    results.jsonl     one answer a line (`Result`), in the order of the plan; also the journal
    scores.json       what follows from plan and results alone (`scores.py`)
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from desta.config import to_plain
from desta.errors import ConfigError, DataError
from desta.evaluation.attributes import ATTRIBUTES, EvalConfig, load_examples
from desta.evaluation.base import MODEL, Answerer, Benchmark, Example, Result
from desta.evaluation.baselines import BASELINES
from desta.evaluation.scores import PLAN, RESULTS, read_plan, score, write_json
from desta.llm.base import Sampling
from desta.progress import progress_bar
from desta.records import NO_TRANSCRIPTION, Message
from desta.training.tracking import environment

logger = logging.getLogger(__name__)

Batch = tuple[str, Sequence[Example]]
"""A system and the examples it answers at once."""


def evaluate(config: EvalConfig, answerer: Answerer, out: Path) -> dict[str, Any]:
    """Ask the benchmark `attributes` and return what `scores.json` holds.

    The same call continues after an interruption, and gives the same bytes as without one.

    Args:
        config: the recipe.
        answerer: the model of `config.model`; also answers for the baselines.
        out: folder for plan, results and scores; made if missing.

    Raises:
        ConfigError: the recipe fits no clips, or `out` holds another evaluation.
        DataError: clips cannot be read, or too many of them cannot be heard.
    """
    examples = load_examples(config)
    _write_plan(ATTRIBUTES, config, examples, out)
    sampling = Sampling(max_new_tokens=config.max_new_tokens)
    batches = [
        (system, examples[start : start + config.batch_size])
        for system in config.systems
        for start in range(0, len(examples), config.batch_size)
    ]
    answer_all(batches, answerer, sampling, out / RESULTS)
    scores = score(out / RESULTS)

    num_skipped = sum(row["count"] for row in scores["skipped"])
    if num_skipped > config.max_skipped_share * len(examples):
        first = scores["skipped"][0]
        raise DataError(
            f"{num_skipped} of {len(examples)} questions have clips that cannot be heard, "
            f"for example {first['example']}: {first['reason']}",
            fix=f"mend the clips and delete {out}, or raise max_skipped_share",
        )
    return scores


def answer_all(
    batches: Sequence[Batch], answerer: Answerer, sampling: Sampling, results: Path
) -> None:
    """Append the answers that the journal does not hold yet.

    Batches are the same whether interrupted or not: a batch that was cut off is answered again.

    Raises:
        DataError: the journal holds answers to other examples.
    """
    done = _open_journal(results, batches)
    num_done, num_left = (sum(len(b[1]) for b in part) for part in (batches[:done], batches[done:]))
    with (
        results.open("a", encoding="utf-8") as journal,
        progress_bar("answer", total=num_done + num_left, done=num_done) as advance,
    ):
        for system, examples in batches[done:]:
            for result in _answer(system, examples, answerer, sampling):
                journal.write(_line(result.to_json()))
            journal.flush()
            os.fsync(journal.fileno())
            advance(system, items=len(examples))


def _answer(
    system: str, examples: Sequence[Example], answerer: Answerer, sampling: Sampling
) -> list[Result]:
    """Answer a batch; if a clip of it fails, answer one by one, so that only this one is lost."""
    conversations = [_conversation(system, example) for example in examples]
    try:
        answers = answerer.answer(conversations, sampling)
    except DataError as error:
        if len(examples) > 1:
            return [r for e in examples for r in _answer(system, [e], answerer, sampling)]
        return [_result(system, examples[0], conversations[0], answer=None, skipped=error.message)]
    return [
        _result(system, example, conversation, answer=answer)
        for example, conversation, answer in zip(examples, conversations, answers, strict=True)
    ]


def _conversation(system: str, example: Example) -> tuple[Message, ...]:
    return example.messages if system == MODEL else BASELINES[system](example)


def _result(
    system: str,
    example: Example,
    conversation: Sequence[Message],
    *,
    answer: str | None,
    skipped: str | None = None,
) -> Result:
    heard = [ref for message in conversation for ref in message.audios]
    return Result(
        id=example.id,
        system=system,
        task=example.task,
        group=example.group,
        audio=tuple(ref.audio for ref in heard),
        transcription=" ".join(ref.text or NO_TRANSCRIPTION for ref in heard) or NO_TRANSCRIPTION,
        spoken=example.transcription,
        question=example.question,
        target=example.target,
        choices=example.choices,
        answer=answer,
        skipped=skipped,
    )


def _key(line: bytes) -> tuple[str, str] | None:
    """Return who answered what; None where a line is damaged."""
    try:
        record = json.loads(line)
        return record["system"], record["id"]
    except (ValueError, KeyError, TypeError):
        return None


def _open_journal(results: Path, batches: Sequence[Batch]) -> int:
    """Cut the journal after its last whole batch; return how many batches it holds."""
    if not results.exists():
        return 0
    lines = results.read_bytes().split(b"\n")[:-1]  # what follows the last newline was cut off
    expected = [(system, example.id) for system, examples in batches for example in examples]
    for line, (system, id) in zip(lines, expected, strict=False):
        if _key(line) != (system, id):
            raise DataError(f"{results} is not in the order of its plan", fix="delete its folder")
    done = kept = 0
    for _, examples in batches:
        if kept + len(examples) > len(lines):
            break
        done, kept = done + 1, kept + len(examples)
    os.truncate(results, sum(len(line) + 1 for line in lines[:kept]))
    if kept:
        logger.info("%s holds %d of %d answers already", results, kept, len(expected))
    return done


def _write_plan(
    benchmark: Benchmark, config: EvalConfig, examples: Sequence[Example], out: Path
) -> None:
    """Write what the answers depend on; the model's weights and the examples by their hashes."""
    asked = "".join(_line(to_plain(example)) for example in examples)
    plan = {
        "benchmark": benchmark.name,
        "version": benchmark.version,
        "weights": _sha256(config.model / "model.safetensors"),
        "num_examples": len(examples),
        "examples": hashlib.sha256(asked.encode()).hexdigest(),
        "config": to_plain(config),
    }
    path = out / PLAN
    if path.exists():
        old = read_plan(path)
        changed = sorted(key for key in plan if old.get(key) != plan[key])
        if changed:
            raise ConfigError(
                f"{out} holds another evaluation (changed since: {', '.join(changed)})",
                fix=f"give another folder, or delete {out}",
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "environment.json", environment())
    write_json(path, plan)


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path} is not a file", fix="give the directory of a trained model")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
