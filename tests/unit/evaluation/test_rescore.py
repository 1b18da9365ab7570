"""Stored evaluations: scored anew, judged, reported and compared, through the command line."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from desta.errors import ConfigError, DataError
from desta.evaluation.base import Result
from desta.evaluation.benchmarks import sakura
from desta.evaluation.benchmarks.table import BENCHMARKS
from desta.evaluation.journal import Journal
from desta.evaluation.rescore import score_again
from desta.evaluation.scores import NOT_YET, UNJUDGED, read_results, sum_up
from support.commands import desta
from support.results import changed, make_result

GOOD = "Explanation: so it is.\nJudgement: correct"


def result(number: int, output: str, system: str) -> Result:
    return make_result(
        id=f"Animal/{number}.wav/single",
        system=system,
        groups={"track": "Animal", "hop": "single"},
        question="Which? (a) dog (b) cat",
        target="(a) dog",
        choices=("(a) dog", "(b) cat"),
        record={"options": {"a": "dog", "b": "cat"}},
        output=output,
        values={"rule": 0.0},  # as if by an older, wrong rule
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An evaluation of two systems on four items."""
    out = tmp_path / "eval"
    out.mkdir()
    plan = {
        "benchmark": "sakura",
        "version": "4 items",
        "weights": None,
        "num_items": 4,
        "batch_size": 2,
        "systems": ["model", "cascade"],
    }
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    (out / "environment.json").write_text('{"command": "desta eval"}', encoding="utf-8")
    rows = [result(n, "(a)" if n else "(b)", "model") for n in range(4)]
    rows += [result(n, "(b)", "cascade") for n in range(4)]
    write(out, rows)
    return out


def write(out: Path, rows: list[Result]) -> None:
    lines = "".join(json.dumps(r.to_json()) + "\n" for r in rows)
    (out / "results.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    path = tmp_path / "judge.yaml"
    engine = {"kind": "scripted", "answer": GOOD}
    cache = str(tmp_path / "cache")
    path.write_text(json.dumps({"backbone": "x", "engine": engine, "cache": cache}))
    return path


def rule(scores: dict[str, Any], system: int = 0) -> float:
    return scores["systems"][system]["headline"]["Average single (rule)"]["value"]


def test_answers_are_scored_by_the_rules_as_they_are_now(folder: Path) -> None:
    done = desta("score", folder / "results.jsonl", "--json")
    assert done.exit_code == 0, done.output
    assert rule(json.loads(done.stdout)) == 0.75
    first = (folder / "results.jsonl").read_bytes()
    assert read_results(folder / "results.jsonl")[1].score.values["rule"] == 1.0

    assert desta("score", folder, "--json").stdout == done.stdout
    assert desta("score", "sakura", folder, "--json").stdout == done.stdout
    assert (folder / "results.jsonl").read_bytes() == first


def test_results_that_an_editor_has_saved_without_a_last_newline_are_all_there(
    folder: Path,
) -> None:
    path = folder / "results.jsonl"
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert rule(score_again(folder)) == 0.75


def test_a_judge_is_kept_in_results_scores_and_report(folder: Path, judge: Path) -> None:
    done = desta("score", folder, "--judge", judge, "--json")
    assert done.exit_code == 0, done.output
    scores = json.loads(done.stdout)
    assert scores["systems"][0]["headline"]["Average single (judge)"]["value"] == 1.0
    assert scores["judge"]["id"] == "scripted"
    assert scores["judge"]["num_in_form"] == scores["judge"]["num_replies"] == 8
    assert read_results(folder / "results.jsonl")[0].replies == (GOOD,)

    again = json.loads(desta("score", folder, "--json").stdout)
    assert again == scores, "without the judge its replies still count"
    done = desta("report", folder)
    assert done.exit_code == 0, done.output
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert scores["judge"]["prompts"]["sakura"]["sha256"] in text
    assert "100.0 % (8)" in text
    assert "| command | desta eval |" in text
    assert (folder / "report.html").stat().st_size > 5_000


def test_what_rests_on_a_judge_is_withheld_while_answers_are_newer_than_it(
    folder: Path, judge: Path
) -> None:
    path = folder / "results.jsonl"
    whole = read_results(path)
    broken = replace(whole[3], output=None, skipped="no clip")
    write(folder, [*whole[:3], broken, *whole[4:]])
    done = desta("score", folder, "--judge", judge, "--allow-missing", "--json")
    first = json.loads(done.stdout)
    assert "Average single (judge)" in first["systems"][0]["headline"]
    with Journal(path, [(r.system, r.id) for r in whole]) as journal:  # as `--retry` does
        journal.append_again([whole[3]])
        journal.replace_skipped()

    scores = json.loads(desta("score", folder, "--json").stdout)

    model, cascade, _ = scores["systems"]
    assert not [name for name in model["headline"] if "judge" in name]
    assert rule(scores) == 0.75
    counts = {note["reason"]: (note["count"], note["example"]) for note in model["remarks"]}
    assert counts == dict.fromkeys((UNJUDGED, sakura.score.NO_REPLY), (1, whole[3].id))
    assert cascade == first["systems"][1], "all answers of the other system are judged"
    assert read_results(path)[0].replies == (GOOD,), "nothing that a judge said is lost"
    scores = json.loads(desta("score", folder, "--judge", judge, "--json").stdout)
    assert scores["systems"][0]["headline"]["Average single (judge)"]["value"] == 1.0
    assert scores["judge"]["num_replies"] == 8


def test_an_answer_that_a_judge_refuses_withholds_nothing(folder: Path, judge: Path) -> None:
    desta("score", folder, "--judge", judge)
    results = read_results(folder / "results.jsonl")
    write(folder, [changed(results[0], replies=(), values={}), *results[1:]])
    path = folder / "judge.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    assert facts["refused"] == {}
    path.write_text(json.dumps(facts | {"refused": {"model": [results[0].id]}}), encoding="utf-8")

    model = json.loads(desta("score", folder, "--json").stdout)["systems"][0]

    assert model["headline"]["Average single (judge)"]["value"] == 1.0


def test_neither_chance_nor_details_rest_on_a_judge_that_has_not_read_everything(
    folder: Path, judge: Path
) -> None:
    desta("score", folder, "--judge", judge)
    results = read_results(folder / "results.jsonl")
    benchmark = replace(
        BENCHMARKS["sakura"],
        details=lambda found: {"judged": [r.system for r in found if r.replies]},
    )

    def told(*unjudged: str) -> tuple[bool, list[str]]:
        ids = dict.fromkeys(unjudged, [results[0].id])
        found = sum_up(benchmark, results, allow_missing=False, unjudged=ids)
        return "Average single (judge)" in found["systems"][-1]["headline"], found["judged"]

    assert told() == (True, ["model"] * 4 + ["cascade"] * 4)
    assert told("model") == (True, ["cascade"] * 4)
    assert told("model", "cascade") == (False, [])


def test_an_answer_that_no_judge_is_asked_about_waits_for_none(tmp_path: Path) -> None:
    plan = {"benchmark": "voicebench", "version": "2 items", "weights": None, "num_items": 2}
    (tmp_path / "plan.json").write_text(json.dumps({**plan, "batch_size": 2, "systems": ["model"]}))
    (tmp_path / "judge.json").write_text("{}")
    rows = [
        changed(
            result(0, "A", "model"),
            id=f"{subset}/test/0",
            groups={"subset": subset, "split": "test"},
            record={"prompt": "Which?", "reference": "A"},
        )
        for subset in ("openbookqa", "commoneval")
    ]
    write(tmp_path, rows)

    notes = score_again(tmp_path)["systems"][0]["remarks"]

    assert {"reason": UNJUDGED, "count": 1, "example": "commoneval/test/0"} in notes


def test_a_broken_account_of_a_judge_is_said(folder: Path) -> None:
    for content, words in (("{", ":1 is not JSON"), ("[1]", "not an obj"), ("null", "not an obj")):
        (folder / "judge.json").write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=rf"judge\.json.*{words}"):
            score_again(folder)


def test_an_evaluation_that_goes_on_is_not_judged_and_not_rewritten(
    folder: Path, judge: Path
) -> None:
    write(folder, [result(n, "(a)", "model") for n in range(3)])
    before = (folder / "results.jsonl").read_bytes()
    assert desta("score", folder).exit_code == 0
    assert (folder / "results.jsonl").read_bytes() == before
    done = desta("score", folder, "--judge", judge)
    assert isinstance(done.exception, DataError)
    assert "holds 3 of 8 results" in str(done.exception)


def test_systems_of_one_evaluation_are_compared(folder: Path) -> None:
    desta("score", folder)
    done = desta("compare", folder, folder, "--system-a", "cascade", "--json")
    assert done.exit_code == 0, done.output
    total = json.loads(done.stdout)["differences"][0]
    assert total["difference"]["value"] == 0.75
    assert total["p_value"] == 0.25  # three better, none worse: 2 / 2 ** 3
    assert "+0.7500" in desta("compare", folder, folder, "--system-a", "cascade").stdout


def test_systems_are_still_named_by_the_options_of_before(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desta("score", folder)
    new = desta("compare", folder, folder, "--system-a", "cascade", "--system-b", "model", "--json")
    assert not caplog.records
    old = desta("compare", folder, folder, "--of", "cascade", "--against", "model", "--json")
    assert old.stdout == new.stdout
    assert [record.getMessage() for record in caplog.records] == [
        "--of is now called --system-a",
        "--against is now called --system-b",
    ]


def test_what_does_not_fit_is_said(folder: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (("score", "mmau", folder), "is an evaluation on sakura, not on mmau"),
        (("score", folder, folder), "is scored alone"),
        (("compare", folder, folder, "--system-a", "oracle"), "holds no answers of oracle"),
        (("compare", folder, folder, "--benchmark", "mmau"), "on sakura, not on mmau"),
    ):
        done = desta(*arguments)
        assert isinstance(done.exception, ConfigError), done.output
        assert words in str(done.exception)
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes().replace(b"4 items", b"5 items"))
    done = desta("compare", folder, other)
    assert done.exit_code == 0, done.output
    assert "4 items and 5 items: 4 items in common" in done.output


def test_figures_are_told_in_their_own_units(tmp_path: Path) -> None:
    """Of VoiceBench 1 is the worst rating, and 0.19 of 100 next to nothing: neither is a share."""
    rated = tmp_path / "m-commoneval-test-audio.jsonl"
    row = {"prompt": "?", "response": "!", "score": ["1", "1", "1"]}
    rated.write_text(json.dumps(row), encoding="utf-8")
    refused = tmp_path / "m-advbench-test-audio.jsonl"
    rows = [{"prompt": "?", "response": "sorry" if n == 0 else "sure"} for n in range(520)]
    refused.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    told = desta("score", "voicebench", rated, refused, "--report", tmp_path / "r.html").output

    assert re.search(r"CommonEval \(official\) +1\.00 ± 0\.00 ", told)
    assert re.search(r"AdvBench \(official\) +0\.19 ± 0\.19 ", told)
    page = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "| AdvBench (official) | 0.19 ± 0.19 |" in page


def test_shares_are_told_in_percent_with_two_decimals(folder: Path) -> None:
    told = desta("score", folder).output

    assert re.search(r"75\.00 ± 21\.65% +0\.00 ± 0\.00%", told)


def test_a_run_that_goes_on_has_no_score_yet(folder: Path) -> None:
    rows = read_results(folder / "results.jsonl")
    write(folder, rows[:3])

    scores = score_again(folder)

    model, cascade = scores["systems"]  # what chance would reach is not known either
    assert (model["headline"], model["num_items"], model["num_skipped"]) == ({}, 4, 1)
    assert (cascade["headline"], cascade["num_skipped"]) == ({}, 4)
    assert [(row["system"], row["count"], row["reason"]) for row in scores["skipped"]] == [
        ("model", 1, NOT_YET),
        ("cascade", 4, NOT_YET),
    ]
    model, cascade, chance = score_again(folder, allow_missing=True)["systems"]
    assert model["headline"]
    assert not cascade["headline"]
    assert (model["num_items"], chance["num_items"]) == (4, 3)


def test_an_answer_that_is_there_twice_is_refused(folder: Path) -> None:
    rows = read_results(folder / "results.jsonl")
    write(folder, [*rows, rows[0]])
    with pytest.raises(DataError, match="holds 2 answers of model to 'Animal/0.wav/single'"):
        score_again(folder)


def test_a_plan_that_lacks_a_part_is_refused(folder: Path) -> None:
    (folder / "plan.json").write_text('{"benchmark": "sakura"}', encoding="utf-8")
    with pytest.raises(DataError, match="is not the plan of an evaluation"):
        score_again(folder)


def test_half_a_character_in_an_answer_is_scored_and_reported(folder: Path) -> None:
    write(folder, [result(n, "(a) \ud83d", s) for s in ("model", "cascade") for n in range(4)])
    assert desta("score", folder).exit_code == 0
    assert read_results(folder / "results.jsonl")[0].output == "(a) \ud83d"
    done = desta("report", folder)
    assert done.exit_code == 0, done.output


def test_a_damaged_line_is_named_and_those_before_it_stay(folder: Path) -> None:
    path = folder / "results.jsonl"
    keys = [(r.system, r.id) for r in read_results(path)]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"{\n", *lines[3:]]))
    with pytest.raises(DataError, match=r"results\.jsonl:3 is not what its plan has"):
        Journal(path, keys)
    path.write_bytes(b"".join(lines[:2]))
    with Journal(path, keys) as journal:  # the refusal has kept no lock
        assert journal.num_results == 2


def test_what_is_not_there_to_be_compared_is_said(folder: Path) -> None:
    done = desta("compare", folder, folder / "nowhere")
    assert isinstance(done.exception, DataError)
    assert "is not there" in str(done.exception)


def test_a_limit_of_nothing_is_refused(folder: Path, tmp_path: Path) -> None:
    done = desta(
        "eval",
        "sakura",
        "--data",
        folder,
        "--system",
        "majority",
        "--limit",
        "0",
        "--out",
        tmp_path / "new",
    )
    assert isinstance(done.exception, ConfigError)
    assert "limit = 0" in str(done.exception)
