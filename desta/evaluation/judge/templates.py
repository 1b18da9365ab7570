"""What a judge is asked about an answer, benchmark by benchmark, and how its reply is read.

The questions are in our own words: by them, or by another judge, a score is another number than the
published one. The official text can be given as a file; it has the same placeholders.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from desta.config import suggest
from desta.errors import ConfigError
from desta.evaluation.base import Result
from desta.evaluation.benchmarks import sakura
from desta.evaluation.benchmarks.speech_ifeval import judge as speech_ifeval_judge
from desta.evaluation.benchmarks.speech_ifeval.judge import read_judgement
from desta.evaluation.benchmarks.voicebench import judge as voicebench_judge
from desta.evaluation.benchmarks.voicebench.parse import read_rating
from desta.evaluation.benchmarks.voicebench.score import SUBSETS
from desta.evaluation.items import fill
from desta.model.backbone.sampling import Sampling
from desta.records import LOCATOR, Message

BUILT_IN = "own words"
_RULE = "---"


@dataclass(frozen=True, kw_only=True)
class Template:
    """A question with placeholders."""

    system: str
    question: str
    source: str = BUILT_IN
    """`BUILT_IN`, or the file that it was read from."""

    @property
    def sha256(self) -> str:
        """What tells it from others."""
        return hashlib.sha256(f"{self.system}\n{_RULE}\n{self.question}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Whether a reply can be read."""

    in_form: bool
    """By the official parser."""
    read: bool
    """By ours, which takes more forms."""


@dataclass(frozen=True, kw_only=True)
class Questions:
    """How a benchmark asks its judge."""

    templates: Mapping[str, Template]
    """Kind of question -> its default."""
    kind: Callable[[Result], str | None]
    """Which of them a result asks for; None: none, rules decide."""
    values: Callable[[Result], dict[str, str]]
    """Placeholder -> text."""
    read: Callable[[str, str], Reading]
    """(kind, reply) -> whether it can be read."""
    num_replies: int
    sampling: Sampling
    """As the benchmark samples its judge, where it says so."""

    def messages(self, result: Result, template: Template) -> tuple[Message, ...]:
        """Return what is asked about an answer."""
        values = {name: text.replace(LOCATOR, "") for name, text in self.values(result).items()}
        system = (Message(role="system", content=template.system),) if template.system else ()
        return (*system, Message(role="user", content=fill(template.question, values)))


def read_template(path: Path, default: Template) -> Template:
    """Read a question from a file.

    Where a line `---` stands, what is above it is the system prompt; else that of `default` is
    taken. The file must hold every placeholder of `default`.

    Raises:
        ConfigError: it cannot be read, or lacks a placeholder.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", fix="give a text file") from error
    above, rule, below = text.partition(f"\n{_RULE}\n")
    system, question = (above, below) if rule else (default.system, text)
    missing = [name for name in _placeholders(default) if name not in question]
    if missing:
        raise ConfigError(
            f"{path} does not hold {', '.join(missing)}", fix="put each where its text belongs"
        )
    return Template(system=system.strip(), question=question.strip(), source=str(path))


def find_questions(benchmark: str) -> Questions:
    """Return how a benchmark asks its judge.

    Raises:
        ConfigError: it needs none.
    """
    if benchmark not in QUESTIONS:
        raise ConfigError(
            f"{benchmark} is scored by rules alone and has no use for a judge",
            fix=f"leave the judge out; those that have one are {', '.join(QUESTIONS)}",
        )
    return QUESTIONS[benchmark]


def find_templates(questions: Questions, files: Mapping[str, Path]) -> dict[str, Template]:
    """Return the questions of all kinds, from files where they are given.

    Raises:
        ConfigError: there is no such kind, or a file cannot be used.
    """
    for kind in files:
        if kind not in questions.templates:
            fix = suggest(kind, list(questions.templates))
            raise ConfigError(f'unknown question "{kind}" of the judge', fix=fix)
    return {
        kind: read_template(files[kind], default) if kind in files else default
        for kind, default in questions.templates.items()
    }


def _placeholders(template: Template) -> list[str]:
    names = ("[QUESTION]", "[GROUND_TRUTH_ANSWER]", "[MODEL_GENERATED_RESPONSE]")
    braces = ("{prompt}", "{reference}", "{instruction}", "{label}", "{response}")
    return [name for name in (*names, *braces) if name in template.question]


def _sakura_values(result: Result) -> dict[str, str]:
    return {
        "[QUESTION]": result.question,
        "[GROUND_TRUTH_ANSWER]": result.target,
        "[MODEL_GENERATED_RESPONSE]": result.output or "",
    }


def _read_sakura(kind: str, reply: str) -> Reading:
    in_form = sakura.parse_judgement(reply).counted_as != "invalid"
    return Reading(in_form=in_form, read=in_form or sakura.read_leniently(reply) is not None)


def _voicebench_kind(result: Result) -> str | None:
    kind = SUBSETS[result.groups["subset"]].kind
    return kind if kind in ("open", "qa") else None


def _voicebench_values(result: Result) -> dict[str, str]:
    return {
        "{prompt}": str(result.record["prompt"]),
        "{reference}": str(result.record.get("reference", "")),
        "{response}": result.output or "",
    }


def _read_voicebench(kind: str, reply: str) -> Reading:
    read = read_rating(reply) is not None if kind == "open" else reply.lower() in ("yes", "no")
    return Reading(in_form=read, read=read)


def _speech_ifeval_kind(result: Result) -> str | None:
    metric = str(result.record["metric"])
    judged = metric == "cot" or (metric in ("wer", "accuracy") and result.target)
    return metric if judged else None


def _speech_ifeval_values(result: Result) -> dict[str, str]:
    return {
        "{instruction}": result.question,
        "{label}": result.target,
        "{response}": result.output or "",
    }


def _read_speech_ifeval(kind: str, reply: str) -> Reading:
    if kind == "wer":  # the reply is the transcription
        return Reading(in_form=bool(reply), read=bool(reply))
    judgement = read_judgement(reply)
    return Reading(in_form=judgement.in_form, read=judgement.verdict is not None)


QUESTIONS: dict[str, Questions] = {
    "sakura": Questions(
        templates={"sakura": Template(system=sakura.JUDGE_SYSTEM, question=sakura.JUDGE_PROMPT)},
        kind=lambda result: "sakura",
        values=_sakura_values,
        read=_read_sakura,
        num_replies=1,
        sampling=Sampling(top_p=0.9, max_new_tokens=1024),
    ),
    "voicebench": Questions(
        templates={
            "open": Template(system=voicebench_judge.SYSTEM, question=voicebench_judge.OPEN_PROMPT),
            "qa": Template(system=voicebench_judge.SYSTEM, question=voicebench_judge.QA_PROMPT),
        },
        kind=_voicebench_kind,
        values=_voicebench_values,
        read=_read_voicebench,
        num_replies=3,
        sampling=Sampling(temperature=0.5, top_p=0.95, max_new_tokens=1024),
    ),
    "speech_ifeval": Questions(
        templates={
            metric: Template(system=system, question=speech_ifeval_judge.QUESTIONS[metric])
            for metric, system in speech_ifeval_judge.SYSTEMS.items()
        },
        kind=_speech_ifeval_kind,
        values=_speech_ifeval_values,
        read=_read_speech_ifeval,
        num_replies=1,
        sampling=Sampling(temperature=1.0, max_new_tokens=1024),
    ),
}
