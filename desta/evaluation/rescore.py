"""Score the answers of an evaluation anew: by the rules as they are now, or by a judge."""

from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.evaluation.benchmarks.table import BENCHMARKS
from desta.evaluation.journal import RESULTS, line_of, lock
from desta.evaluation.judge.ask import JudgeRecipe, judge
from desta.evaluation.scores import JUDGE_FILE, PLAN, read_plan, read_results, score_folder
from desta.files import UNWRITABLE, write_json
from desta.generators.base import TextGenerator
from desta.records import read_jsonl


def score_again(
    out: Path,
    *,
    allow_missing: bool = False,
    recipe: JudgeRecipe | None = None,
    generator: TextGenerator | None = None,
) -> dict[str, Any]:
    """Score all answers anew, keep that in `results.jsonl`, and return what `scores.json` holds.

    Args:
        out: the folder of a finished evaluation; of one that goes on, nothing but its scores is
            written.
        allow_missing: score systems that could not be asked everything, by what they answered.
        recipe: how a judge is asked; None: replies that are there already count.
        generator: the judge of that recipe.

    Raises:
        DataError: files are missing, empty or broken, a judge is to read what is not finished, or
            another process writes the results.
        UnavailableError: the judge does not answer now; what it replied is kept.
    """
    plan = read_plan(out / PLAN)
    benchmark = BENCHMARKS[plan["benchmark"]]
    path = out / RESULTS
    num_results = sum(1 for _ in read_jsonl(path))
    wanted = plan["num_items"] * len(plan["systems"])
    if num_results < wanted:
        if recipe is not None:
            raise DataError(
                f"{out} holds {num_results} of {wanted} results",
                fix="finish the evaluation, then let it be judged",
            )
        return score_folder(out, allow_missing=allow_missing)
    with lock(path) as lines:  # what is asked again meanwhile would be overwritten
        results = read_results(path, benchmark)
        if recipe is not None and generator is not None:
            scored, facts = judge(benchmark, results, recipe, generator)
            write_json(out / JUDGE_FILE, facts)
        else:
            scored = [benchmark.rescore(result) for result in results]
        if scored != results:
            lines.rewrite(line_of(result).encode(errors=UNWRITABLE) for result in scored)
        return score_folder(out, scored, allow_missing=allow_missing)
