"""Results files that others published, as they are: read, scored by our rules, told apart.

    mmau, mmar       JSON list of the questions with `model_output` or `model_prediction`
    sakura           {"results": {...}} of the official scripts, one file for each hop
    dynamic_superb   {"predictions": [...]} or a bare list, one file for each instance
    voicebench       JSONL, one file for each subset
    speech_ifeval    JSONL: raw outputs, `rule_eval@*`, `llm_eval@*`, one file for each section
    transcription    tables or texts, see `transcription_files`

All of them may be gzipped. What a file does not hold, such as clips, is missing in the results too.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from desta.config import suggest
from desta.errors import ConfigError, DataError
from desta.evaluation.answered import Answered
from desta.evaluation.base import Benchmark, Result
from desta.evaluation.benchmarks import dynamic_superb, mmau, sakura
from desta.evaluation.benchmarks.speech_ifeval import items as speech_ifeval_items
from desta.evaluation.benchmarks.table import load_questions
from desta.evaluation.benchmarks.transcription import files as transcription_files
from desta.evaluation.benchmarks.voicebench import files as voicebench_files
from desta.evaluation.benchmarks.voicebench import score as voicebench
from desta.evaluation.items import Item, Score, check_same
from desta.evaluation.scores import sum_up

_BETWEEN = "-_.@ "
_ANY_SYSTEM = re.compile(
    "|".join(
        (
            "reports?|results?|outputs?|pred(iction)?s?|answers?|responses?|eval(uation)?s?|scores?",
            "judged?|judge?ments?|rule|llm|tmp|test|mini|single|multi|hop|audio|text|data|files?",
            "published|logs?|runs?|closed|ended|questions|creative|writing|chain|of|thought",
            "woprompt|animal|emotion|gender|language|mmau|mmar|sakura|voicebench|dynamic|superb",
            "speech|ifeval",
        )
    )
)
"""Words in names of files and folders that tell nothing of a system."""
_NUM_NAMED = 3
NOT_ANSWERED = "the results file does not answer it"
PUBLISHED_OTHERWISE = "the file itself says otherwise of the score"


@dataclass(frozen=True, kw_only=True)
class Published:
    """Results files of one system."""

    benchmark: Benchmark
    version: str
    """Of the questions, as far as the files tell, or of those they were compared with."""
    results: tuple[Result, ...]
    num_told: int
    """Answers of which the files themselves say whether they are right."""
    told_otherwise: tuple[str, ...]
    """Ids of those that are scored otherwise here."""


def read_results(
    benchmark: Benchmark,
    paths: Sequence[Path],
    *,
    name: str | None = None,
    subset: str | None = None,
    questions: Sequence[Item] = (),
    data: str | None = None,
    references: Path | None = None,
    language: str | None = None,
) -> Published:
    """Read and score results files of one system.

    Args:
        benchmark: what they answer.
        paths: the files.
        name: what the system is called; by default after the files.
        subset: the part that they answer, where their names do not tell: of SAKURA the hop.
        questions: what they should answer; what they do not is kept as not answered. Without
            them the files alone tell what was asked.
        data: where these questions lie, in place of `questions`; parts that are asked only by name
            are among them if the files answer them.
        references: of transcriptions, where what was said stands in a file of its own.
        language: of all transcriptions, code or English name; None: as the files say.

    Raises:
        ConfigError: the benchmark has no published form, or a subset is unknown.
        DataError: a file is missing, broken, in another form, or answers other questions, or a
            question is answered twice.
    """
    if benchmark.name not in FORMS:
        raise ConfigError(
            f"{benchmark.name} has no published form of results",
            fix=f"give one of {', '.join(FORMS)}, or the results.jsonl of an evaluation",
        )
    read = FORMS[benchmark.name]
    if benchmark.name == "transcription":
        if data and references:
            raise ConfigError("--data and --references both say what was said", fix="give one")
        references, data = references or (Path(data) if data else None), None
        if references is None and (references := transcription_files.find_references(paths)):
            paths = [path for path in paths if path != references]
        found = transcription_files.read_answered(paths, references, language)
    elif references or language:
        raise ConfigError(
            f"--{'references' if references else 'language'} says nothing to {benchmark.name}",
            fix="leave it out; transcriptions alone have it",
        )
    else:
        found = read(paths, subset)
    where = ", ".join(str(path) for path in paths)
    name = name or name_of(paths)
    results = [_result(answered, name) for answered in found]
    told = [answered for answered in found if answered.told]
    items = [answered.item for answered in found]
    version = benchmark.version(items)
    if data is not None:
        questions = load_questions(benchmark, data, items)
    if questions:
        if benchmark.name == "speech_ifeval":
            results = _by_content(results, questions, where)
        results, version = _complete(results, questions, where, name), benchmark.version(questions)
    return Published(
        benchmark=benchmark,
        version=version,
        results=tuple(results),
        num_told=len(told),
        told_otherwise=tuple(each.item.id for each in told if _scored_otherwise(each)),
    )


def score_published(published: Published, *, allow_missing: bool = False) -> dict[str, Any]:
    """Return what `scores.json` holds of an evaluation, for results files of others.

    Args:
        published: what they answer, and what they name or should answer without an answer.
        allow_missing: score what was answered, where not everything was.
    """
    scores = {
        "benchmark": published.benchmark.name,
        "version": published.version,
        "weights": None,
        **sum_up(
            published.benchmark,
            published.results,
            published.version,
            allow_missing=allow_missing,
        ),
    }
    if published.told_otherwise:
        scores["systems"][0]["notes"].append(
            {
                "reason": PUBLISHED_OTHERWISE,
                "count": len(published.told_otherwise),
                "example": published.told_otherwise[0],
            }
        )
    return scores


def _result(answered: Answered, system: str) -> Result:
    item = answered.item
    result = Result(
        id=item.id,
        system=system,
        groups=item.groups,
        question=item.question,
        target=item.target,
        choices=item.choices,
        record=item.record,
        audio=tuple(ref.audio for message in item.messages for ref in message.audios),
        transcription=item.transcription,
        prompt=(),
        output=answered.output,
        skipped=None if answered.output is not None else answered.skipped or NOT_ANSWERED,
        replies=answered.replies,
    )
    return result.scored(answered.score)


def _complete(
    results: Sequence[Result], questions: Sequence[Item], where: str, system: str
) -> list[Result]:
    """Return a result for every question, with what the questions know beside the file."""
    answered = {result.id: result for result in results}
    check_same(questions, answered, where)
    completed = []
    for item in questions:
        result = answered.get(item.id)
        if result is None:
            score = _unanswered(item)
            completed.append(_result(score, system))
            continue
        if not item.question.startswith(result.question):
            raise DataError(
                f"{where}: {item.id!r} is {result.question!r}, and {item.question!r} in the "
                "questions",
                fix="score it with the questions it was made from, in their order",
            )
        if result.target and item.target and result.target != item.target:
            raise DataError(
                f"{where}: the right answer of {item.id!r} is {result.target!r}, and "
                f"{item.target!r} in the questions",
                fix="score it with the questions it was made from",
            )
        audio = tuple(ref.audio for message in item.messages for ref in message.audios)
        completed.append(replace(result, audio=audio, transcription=item.transcription))
    return completed


def _unanswered(item: Item) -> Answered:
    score = Score(id=item.id, groups=item.groups, extracted=None, values={})
    return Answered(item=item, output=None, score=score)


def name_of(paths: Sequence[Path]) -> str:
    """Name a system after what its files share, or the nearest folder whose name tells anything.

    >>> name_of([Path("qwen-bbh-test-audio.jsonl"), Path("qwen-ifeval-test-audio.jsonl")])
    'qwen'
    >>> name_of([Path("desta2/reports/rule_eval@creative_writing.jsonl")])
    'desta2'
    >>> name_of([Path("salmonn-7b/results.json"), Path("salmonn-13b/results.json")])
    'salmonn-7b + salmonn-13b'
    """
    stems = [path.name.split(".")[0] for path in paths]
    shared = os.path.commonprefix(stems)
    if len(set(stems)) > 1 and not shared.endswith(tuple(_BETWEEN)):
        shared = shared[: 1 + max(shared.rfind(sign) for sign in _BETWEEN)]
    shared = shared.rstrip(_BETWEEN)
    if _tells(shared):
        return shared
    folders = list(dict.fromkeys(_folder_of(path) or stems[0] for path in paths))
    more = [f"{len(folders) - _NUM_NAMED} more"] if len(folders) > _NUM_NAMED else []
    return " + ".join([*folders[:_NUM_NAMED], *more])


def _folder_of(path: Path) -> str | None:
    """Return the name of the nearest folder that tells anything."""
    return next((folder.name for folder in path.resolve().parents if _tells(folder.name)), None)


def _tells(name: str) -> bool:
    return any(
        word and not _ANY_SYSTEM.fullmatch(word) for word in re.split(r"[-_.@ \d]+", name.lower())
    )


def _scored_otherwise(answered: Answered) -> bool:
    values = answered.score.values
    return any(values.get(name) not in (None, right) for name, right in answered.told.items())


def _by_content(results: Sequence[Result], questions: Sequence[Item], where: str) -> list[Result]:
    """Number answers to Speech-IFEval as the questions: their files are in any order."""
    ids = {speech_ifeval_items.key_of(item): item.id for item in questions}
    if strangers := [r for r in results if speech_ifeval_items.key_of(r.item) not in ids]:
        raise DataError(
            f"{where} answers {len(strangers)} questions that are not in this version of the "
            f"benchmark, for example {strangers[0].question!r}",
            fix="score it with the questions it was made from",
        )
    return [replace(r, id=ids[speech_ifeval_items.key_of(r.item)]) for r in results]


def _each(
    read: Callable[[Path, str | None], list[Answered]],
) -> Callable[[Sequence[Path], str | None], list[Answered]]:
    def read_all(paths: Sequence[Path], subset: str | None) -> list[Answered]:
        files = enumerate(paths)
        found = [(f, row, a) for f, path in files for row, a in enumerate(read(path, subset))]
        _check_once(found, paths)
        return [answered for _, _, answered in found]

    return read_all


def _check_once(found: Sequence[tuple[int, int, Answered]], paths: Sequence[Path]) -> None:
    """Raise DataError, which names the two places, if an item is answered in two files.

    Files of Dynamic-SUPERB begin an id with the name of the instance, or not, and the split of
    VoiceBench is told by the name of a file, if at all.

    Args:
        found: number of the file and of the row, and the answer.
        paths: of the files.
    """
    places: dict[tuple[object, ...], tuple[int, int, bool]] = {}
    for file, row, answered in found:
        item = answered.item
        forms: list[tuple[object, ...]] = [(item.id,)]
        if instance := item.groups.get("instance"):
            forms.append((instance, Path(item.id).stem.removeprefix(f"{instance}_")))
        known = True
        if subset := voicebench.SUBSETS.get(item.groups.get("subset", "")):
            known = item.groups.get("split", "test") in ("test", *subset.splits, *subset.others)
            forms.append((subset, item.question, row))
        for form in forms:
            other, other_row, other_known = places.setdefault(form, (file, row, known))
            same = form[0] == item.id or not (known and other_known) or "instance" in item.groups
            if same and other != file:
                raise DataError(
                    f"id {item.id!r} occurs 2 times, in {paths[other]} (row {other_row + 1}) "
                    f"and in {paths[file]} (row {row + 1})",
                    fix="give one file of each part, and one answer to every question",
                )


def _read_sakura(path: Path, subset: str | None) -> list[Answered]:
    named = [
        hop for hop in sakura.HOPS if re.search(rf"(?<![a-z]){hop}(?![a-z])", path.name.lower())
    ]
    hop = subset or (named[0] if len(named) == 1 else None)
    if hop is None or hop not in sakura.HOPS:
        raise ConfigError(
            f"{path.name} does not tell which question of each clip it answers",
            fix=f"give --subset {' or --subset '.join(sakura.HOPS)}",
        )
    which: Literal["single", "multi"] = "single" if hop == "single" else "multi"
    return sakura.read_answered(path, which)


def _read_voicebench(path: Path, subset: str | None) -> list[Answered]:
    if subset is not None and subset not in voicebench.SUBSETS:
        raise ConfigError(
            f'unknown subset "{subset}"', fix=suggest(subset, list(voicebench.SUBSETS))
        )
    return voicebench_files.read_answered(path, subset or voicebench_files.subset_of(path))


FORMS: dict[str, Callable[[Sequence[Path], str | None], list[Answered]]] = {
    "mmau": _each(lambda path, subset: mmau.read_answered(path, mmau.MMAU)),
    "mmar": _each(lambda path, subset: mmau.read_answered(path, mmau.MMAR)),
    "sakura": _each(_read_sakura),
    "dynamic_superb": _each(lambda path, subset: dynamic_superb.read_answered(path)),
    "voicebench": _each(_read_voicebench),
    "speech_ifeval": lambda paths, subset: speech_ifeval_items.read_answered(paths),
    "transcription": lambda paths, subset: transcription_files.read_answered(paths),
}
"""Benchmark -> (files, subset) -> answers."""
