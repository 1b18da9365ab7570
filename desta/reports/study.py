"""Report of a study: Markdown for the documentation, a drawing beside it, and an HTML page.

All three are made from the findings alone, so they can be made again without a run.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from desta.evaluation.metrics import Estimate
from desta.files import UNWRITABLE, write_atomic
from desta.paths import check_output
from desta.reports import markdown
from desta.reports.figures import draw_scores
from desta.reports.html import contents, flatten, page, paragraph, section, svg_figure, table
from desta.studies.findings import Contrast, Findings, Outcome
from desta.studies.measures import LIKELIHOOD, Measure

_ERRORS = (
    "Each figure is a mean over seeds and items, with its standard error over items (i) and over "
    "seeds (s)."
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A titled part of the report: sentences, a table, lines of code."""

    title: str
    sentences: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    code: Sequence[str] = ()


def write_study_report(findings: Findings, out: Path) -> tuple[Path, ...]:
    """Write the Markdown page `out`, with an SVG drawing and an HTML page beside it.

    Returns:
        The files.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawing, html = out.with_suffix(".svg"), out.with_suffix(".html")
    for path in (out, drawing, html):
        check_output(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    drawn = _draw(findings)
    lines = list(_markdown(findings, drawing.name if drawn else None))
    write_atomic(out, "\n".join(lines).encode(errors=UNWRITABLE))
    written = [out]
    if drawn:
        write_atomic(drawing, drawn.replace("currentColor", "#444").encode(errors=UNWRITABLE))
        written.append(drawing)
    text = page(f"Study {findings.study}", list(_body(findings, drawn)))
    write_atomic(html, text.encode(errors=UNWRITABLE))
    return (*written, html)


def parts(findings: Findings) -> Iterator[Part]:
    """Yield the parts of the report, in order."""
    first, *_ = findings.variants
    yield Part(
        title="What is compared",
        sentences=[f"Expected beforehand: {findings.expected}"],
        header=("variant", "what it is", f"otherwise than {first}"),
        rows=[
            [name, about, "; ".join(f"{k}: {v}" for k, v in findings.differs.get(name, {}).items())]
            for name, about in findings.variants.items()
        ],
    )
    yield _budgets(findings)
    yield Part(
        title="What was found",
        sentences=[_ERRORS],
        header=("measure", *findings.variants),
        rows=[_figures(findings, measure) for measure in findings.measures],
    )
    yield Part(
        title=f"Against {first}",
        sentences=[findings.test],
        header=(
            *("measure", "variant", "difference", "seeds of that sign", "p", "items"),
            *("higher / lower", "method"),
        ),
        rows=[
            _contrast(measure, contrast)
            for measure in findings.measures
            for name in findings.variants
            if (contrast := findings.contrast(name, measure.id))
        ],
    )
    yield _limits(findings)
    yield _costs(findings)
    yield Part(
        title="Commands",
        sentences=[
            f"`{findings.environment['command']}` does all of it, and goes on where it stopped. "
            "Its steps, of the first seed's runs, with the recipes that it has written; the pairs "
            "that all variants have are chosen between the first and the others:"
        ],
        code=_of_first_seed(findings.commands),
    )
    yield Part(
        title="How it was made",
        header=("what", ""),
        rows=[
            [name, value]
            for name, value in [*flatten(findings.recipe), *flatten(findings.environment)]
        ],
    )


def _markdown(findings: Findings, drawing: str | None) -> Iterator[str]:
    yield f"# {findings.title}\n"
    yield f"{_headline(findings)}\n"
    if drawing:
        yield f"![{findings.title}]({drawing})\n"
    for part in parts(findings):
        yield f"## {part.title}\n"
        yield from (f"{sentence}\n" for sentence in part.sentences)
        if part.header:
            yield from markdown.table(part.header, part.rows)
        if part.code:
            yield "\n".join(["```", *part.code, "```", ""])


def _body(findings: Findings, drawing: str | None) -> Iterator[str]:
    found = list(parts(findings))
    yield f"<h1>{escape(findings.title)}</h1>"
    yield paragraph(_headline(findings), "soft")
    yield contents([part.title for part in found])
    if drawing:
        yield svg_figure(drawing, "Bars: one standard error, of items and seeds together.")
    for part in found:
        body = [paragraph(sentence) for sentence in part.sentences]
        if part.header:
            body.append(table(part.header, part.rows))
        if part.code:
            body.append(f"<pre>{escape(chr(10).join(part.code))}</pre>")
        yield section(part.title, *body)


def _headline(findings: Findings) -> str:
    backbone, seeds = findings.recipe["backbone"], findings.num_seeds
    return (
        f"Study {findings.study}, by a script: {len(findings.variants)} variants on {backbone}, "
        f"{seeds} seed{'s' if seeds != 1 else ''} each, desta {findings.environment['desta']} "
        f"(commit {findings.environment['commit']})."
    )


def _budgets(findings: Findings) -> Part:
    rows = []
    for name, budget in findings.budgets.items():
        read = findings.pairs_read[name]
        read_by_seed = f"{read[0]:,}" if len(set(read)) == 1 else ", ".join(map(str, read))
        cells = [f"{budget.pairs:,}", f"{budget.clips:,}", f"{budget.seconds / 60:.1f}"]
        rows.append(
            [name, *cells, f"{findings.steps[name]:,}", read_by_seed, f"{budget.target_tokens:,}"]
        )
    return Part(
        title="Budgets",
        sentences=[
            "Every variant is trained on the same clips and prompts: the pairs that passed the "
            "filters of all writers. Only the length of the targets differs."
        ],
        header=(
            *("variant", "pairs", "clips", "minutes of audio", "steps", "pairs read in them"),
            "tokens of the targets",
        ),
        rows=rows,
    )


def _figures(findings: Findings, measure: Measure) -> list[str]:
    outcomes = [findings.outcome(name, measure.id) for name in findings.variants]
    sign = " (lower is better)" if measure.lower_is_better else ""
    return [f"{measure.title}{sign}", *(_figure(measure, outcome) for outcome in outcomes)]


def _figure(measure: Measure, outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    errors = _errors(measure, outcome.item_error, outcome.seed_error)
    if measure is LIKELIHOOD:
        return f"{outcome.value:.3f} {errors}, perplexity {math.exp(outcome.value):.2f}"
    return f"{100 * outcome.value:.1f} % {errors}, {outcome.num_items:,} items"


def _errors(measure: Measure, items: float, seeds: float | None) -> str:
    scale, digits = (1, 3) if measure is LIKELIHOOD else (100, 1)
    told = f"± {scale * items:.{digits}f} (i)"
    return told if seeds is None else f"{told} ± {scale * seeds:.{digits}f} (s)"


def _contrast(measure: Measure, found: Contrast) -> list[str]:
    scale, digits, unit = (1, 3, " nats") if measure is LIKELIHOOD else (100, 1, " points")
    errors = _errors(measure, found.item_error, found.seed_error)
    return [
        measure.title,
        found.variant,
        f"{scale * found.difference:+.{digits}f}{unit} {errors}",
        "-" if found.num_agreeing is None else f"{found.num_agreeing} of {found.num_seeds}",
        f"{found.p_value:.2g}" if found.p_value >= 1e-4 else "< 0.0001",
        f"{found.num_items:,}",
        f"{found.num_better:,} / {found.num_worse:,}",
        found.method,
    ]


def _limits(findings: Findings) -> Part:
    recipe = findings.recipe
    seeds = (
        "one seed was run: nothing is known of how far seeds vary"
        if findings.num_seeds == 1
        else f"{findings.num_seeds} were run, which change the connector's first weights and the "
        "order of the pairs; the responses were written once"
    )
    return Part(
        title="What it does not show",
        sentences=[
            f"One base recipe: {recipe['backbone']}, {recipe['pairs']:,} pairs, one set of clips. "
            "What holds here may not hold for a larger backbone or more data.",
            f"Of the seeds: {seeds}.",
            "Pairs that a filter dropped for one variant are missing in all, so the targets are "
            "those of clips and prompts that every writer copes with.",
        ],
    )


def _costs(findings: Findings) -> Part:
    kinds: dict[str, list[str]] = {}
    for step in findings.costs:
        kinds.setdefault(step.partition("/")[0], []).append(step)
    rows = []
    for kind, steps in kinds.items():
        costs = [findings.costs[step] for step in steps]
        seconds, units = sum(c.seconds for c in costs), sum(c.units for c in costs)
        known = [c.joules for c in costs if c.joules is not None]
        joules = f"{sum(known):,.0f}" if len(known) == len(costs) else "not told by the machine"
        rate = f"{units / seconds:.2f}" if seconds else "-"
        rows.append([kind, str(len(steps)), f"{units:,}", f"{seconds:,.1f}", rate, joules])
    return Part(
        title="What it cost",
        sentences=[
            f"Largest resident memory: {findings.peak_gib:.2f} GiB. Of a step that was killed, the "
            "call that finished it is counted."
        ],
        header=("step", "times", "pairs or answers", "seconds", "a second", "joules"),
        rows=rows,
    )


def _of_first_seed(commands: Sequence[str]) -> list[str]:
    return [line for line in commands if "seed-" not in line or "seed-0" in line]


def _draw(findings: Findings) -> str | None:
    shares = [measure for measure in findings.measures if measure is not LIKELIHOOD]
    scores = {
        name: [_estimate(findings.outcome(name, measure.id)) for measure in shares]
        for name in findings.variants
    }
    return draw_scores([measure.title for measure in shares], scores, "share of items")


def _estimate(outcome: Outcome | None) -> Estimate | None:
    if outcome is None:
        return None
    error = math.hypot(outcome.item_error, outcome.seed_error or 0.0)
    return Estimate(value=outcome.value, standard_error=error)
