"""A judge: a model that says whether answers are right, where a benchmark leaves that to one.

Its replies are kept by content (`replies.py`): what was judged stays when the judge goes away, and
the same call asks only for what is missing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from desta.errors import ConfigError
from desta.evaluation.base import Benchmark, Judging, Result
from desta.evaluation.benchmarks.table import find_judging
from desta.evaluation.judge.cache import Replies, reply_key
from desta.evaluation.judge.templates import Template, find_templates
from desta.generators.base import Completion, Outcome, Refusal, TextGenerator
from desta.generators.batch import complete_batch
from desta.generators.config import EngineConfig, LocalEngine
from desta.model.backbone.sampling import Sampling
from desta.model.config import Dtype, Quantization
from desta.progress import progress_bar
from desta.reasons import Reasons
from desta.records import Message

NOT_IN_FORM = "not in the official form"
UNREADABLE = "says nothing that can be read"


@dataclass(frozen=True, kw_only=True)
class JudgeRecipe:
    """Recipe of a judge."""

    backbone: str
    """Hub id, zoo name, directory or GGUF file of the judge, or what an endpoint calls it."""
    engine: EngineConfig = field(default_factory=LocalEngine)
    """Engine: in this process, by vLLM, or behind any OpenAI-compatible endpoint."""
    prompts: Mapping[str, Path] = field(default_factory=dict)
    """Kind of question -> file with the text to ask instead of ours (docs/evaluation/judges.md)."""
    num_replies: int | None = None
    """Replies to each question; null: as the benchmark says."""
    temperature: float | None = None
    """Of its sampling; null: as the benchmark says."""
    cache: Path = Path("judge")
    """Folder in which replies are kept, for all evaluations."""
    batch_size: int = 16
    """Questions asked at once; what was replied to some of them is kept if the judge goes away."""
    dtype: Dtype = "auto"
    backbone_dtype: Dtype = "bfloat16"
    backbone_quantization: Quantization | None = None

    @property
    def replies(self) -> Path:
        """File in which replies are kept."""
        return self.cache / "replies.jsonl"

    def __post_init__(self) -> None:
        for name in ("batch_size", "num_replies"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value}", fix="give 1 or more")
        if self.temperature is not None and self.temperature < 0:
            raise ConfigError(f"temperature = {self.temperature}", fix="give 0 or more")


@dataclass(frozen=True, kw_only=True)
class _Request:
    key: str
    messages: tuple[Message, ...]
    seed: int


def judge(
    benchmark: Benchmark,
    results: Sequence[Result],
    recipe: JudgeRecipe,
    generator: TextGenerator,
) -> tuple[list[Result], dict[str, Any]]:
    """Judge answers, and score them by the replies.

    Args:
        benchmark: what was answered.
        results: of any systems; what nobody answered is not judged.
        recipe: how to ask.
        generator: who judges, loaded from that recipe.

    Returns:
        The results with the judge's replies, and what `judge.json` holds: `{id, revision, sampling,
        prompts: {kind: {source, sha256}}, num_replies, num_cached, num_in_form, num_read,
        unread: [{reason, count, example}], refused: {system: [id]}}`; refused are answers that have
        no reply because the judge does not take the question.

    Raises:
        ConfigError: the benchmark needs no judge, or a text to ask by cannot be used.
        UnavailableError: the judge does not answer now; what it replied is kept.
    """
    judging = find_judging(benchmark)
    templates = find_templates(judging.templates, recipe.prompts)
    sampling = judging.sampling
    if recipe.temperature is not None:
        sampling = replace(sampling, temperature=recipe.temperature)
    num_replies = recipe.num_replies or judging.num_replies
    asked = {
        number: list(_requests(judging, result, templates[kind], generator, sampling, num_replies))
        for number, result in enumerate(results)
        if result.output is not None and (kind := judging.kind(result)) is not None
    }
    replies = Replies(recipe.replies)
    wanted = {request.key: request for requests in asked.values() for request in requests}
    missing = [request for key, request in wanted.items() if replies.get(key) is None]
    refused = _ask(missing, generator, sampling, replies, recipe.batch_size, len(wanted))
    judged = list(results)
    for number, requests in asked.items():
        texts = [reply for r in requests if (reply := replies.get(r.key)) is not None]
        judged[number] = benchmark.rescore(replace(results[number], replies=tuple(texts)))
    facts = {
        **_describe(generator, sampling, templates),
        "num_cached": len(wanted) - len(missing),
        **_count(judging, [judged[number] for number in asked]),
        "refused": {},
    }
    for number, requests in asked.items():
        result = judged[number]
        if not result.replies:
            facts["refused"].setdefault(result.system, []).append(result.id)
        for request in requests:
            if request.key in refused:
                facts["unread"].add(f"no reply: {refused[request.key]}", result.id)
    return judged, {**facts, "unread": facts["unread"].rows()}


def _describe(
    generator: TextGenerator, sampling: Sampling, templates: Mapping[str, Template]
) -> dict[str, Any]:
    return {
        "id": generator.id,
        "revision": generator.revision,
        "sampling": {"temperature": sampling.temperature, "top_p": sampling.top_p},
        "prompts": {
            kind: {"source": template.source, "sha256": template.sha256}
            for kind, template in templates.items()
        },
    }


def _requests(
    judging: Judging,
    result: Result,
    template: Template,
    generator: TextGenerator,
    sampling: Sampling,
    num_replies: int,
) -> Iterator[_Request]:
    messages = judging.messages(result, template)
    for number in range(num_replies):
        key = reply_key(
            judge=generator.id,
            revision=generator.revision,
            prompt=template.sha256,
            messages=[[m.role, m.content] for m in messages],
            sampling=[sampling.temperature, sampling.top_p, sampling.max_new_tokens],
            number=number,
        )
        yield _Request(key=key, messages=messages, seed=int(key[:15], 16))


def _ask(
    requests: Sequence[_Request],
    generator: TextGenerator,
    sampling: Sampling,
    replies: Replies,
    batch_size: int,
    total: int,
) -> dict[str, str]:
    """Ask and keep, batch by batch; return why single requests were refused, by key."""
    refused: dict[str, str] = {}

    def keep(outcomes: Mapping[str, Outcome]) -> None:
        written = {k: o for k, o in outcomes.items() if isinstance(o, Completion)}
        there = {k: o for k, o in written.items() if not o.only_reasoning}
        reasoning = {k: o.reasoning for k, o in there.items() if o.reasoning}
        replies.add({k: o.text for k, o in there.items()}, reasoning)

    with progress_bar("judge", total=total, done=total - len(requests)) as advance:
        for start in range(0, len(requests), batch_size):
            batch = requests[start : start + batch_size]
            outcomes = complete_batch(
                generator,
                sampling,
                {request.key: request.messages for request in batch},
                seeds=[request.seed for request in batch],
                keep=keep,
            )
            refused |= {k: why for k, o in outcomes.items() if (why := _no_reply(o)) is not None}
            advance(items=len(batch))
    return refused


def _no_reply(outcome: Outcome) -> str | None:
    """Return why there is no reply; None where there is one."""
    if isinstance(outcome, Refusal):
        return outcome.message
    if outcome.only_reasoning:  # no verdict, whatever is weighed in it
        return f"nothing but reasoning{'' if outcome.finished else ', which was cut off'}"
    return None


def _count(judging: Judging, judged: Sequence[Result]) -> dict[str, Any]:
    """Count the replies that can be read, and those that cannot, with an example."""
    counts: Counter[str] = Counter()
    unread = Reasons[str]()
    for result in judged:
        for reply in result.replies:
            verdict = judging.read(judging.kind(result) or "", reply)
            counts["replies"] += 1
            counts["in_form"] += verdict.in_form
            counts["read"] += verdict.read
            if not verdict.in_form:
                unread.add(NOT_IN_FORM if verdict.read else UNREADABLE, result.id)
    names = ("replies", "in_form", "read")
    return {**{f"num_{name}": counts[name] for name in names}, "unread": unread}
