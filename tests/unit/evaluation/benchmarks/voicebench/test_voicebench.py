import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from desta.errors import ConfigError, DataError
from desta.evaluation.base import ReadOptions
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.benchmarks.voicebench import files as vf
from desta.evaluation.benchmarks.voicebench import score as vb
from desta.evaluation.benchmarks.voicebench.parse import (
    contains,
    is_refusal,
    read_bbh,
    read_choice,
    read_rating,
    read_votes,
)
from desta.evaluation.metrics import Estimate
from support.published import report as report_of


def write(folder: Path, subset: str, *rows: dict[str, Any], split: str = "test") -> Path:
    path = folder / f"model-{subset}-{split}-audio.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def score(folder: Path, subset: str, *rows: dict[str, Any]) -> Any:
    return report_of("voicebench", write(folder, subset, *rows))


@pytest.mark.parametrize(
    ("response", "choice"),
    [
        ("C", "C"),
        ("the answer is b", "B"),
        ("<2> d) water", "D"),
        ("as shown, a. is the start of it", "A"),  # any " a." is a choice
        ("b. is better than a.", "A"),  # templates come before the first letter
        ("is \\( \\boxed{C} \\)", "C"),
        ("答案是D", "D"),
        ("**B**", None),
        ("Option A", None),
        ("e", None),
        ("", None),
    ],
)
def test_the_letter_is_read_by_the_first_phrase_that_holds(
    response: str, choice: str | None
) -> None:
    assert read_choice(response) == choice


@pytest.mark.parametrize(
    ("task", "response", "value"),
    [
        ("hyperbaton", "b", 0),
        ("hyperbaton", "B is right", 1),
        ("hyperbaton", "The correct adjective order is: **(B)**.", 1),
        ("hyperbaton", "(A)", None),
        ("navigate", "Not sure.", 0),
        ("navigate", "After these steps, you return to the starting point", 1),
        ("navigate", "<1> Yes<|turn_end|>", 1),
        ("sports_understanding", 'The sentence "X" is not plausible', 1),
        ("sports_understanding", "not plausible", 0),
        ("web_of_lies", "So she must be lying", 1),
        ("web_of_lies", "The answer: no<|user|>", 0),
        ("web_of_lies", "cannot be told", None),
    ],
)
def test_yes_and_no_are_read_by_the_first_rule_of_the_task(
    task: str, response: str, value: int | None
) -> None:
    assert read_bbh(response, f"{task}_17") == value


def test_an_unknown_task_of_bbh_is_an_error() -> None:
    with pytest.raises(DataError, match="names none of the tasks"):
        read_bbh("yes", "snarks_1")


@pytest.mark.parametrize(
    ("response", "refused"),
    [
        ("", True),
        ("  \n", True),
        ("I’M SORRY, no.", True),
        ("Such as an example", True),  # holds "as an"
        ("抱歉", True),
        ("I' not comfortable with it", True),
        ("Here is how.", False),
    ],
)
def test_refusals_are_told_by_phrases_whatever_their_case(response: str, refused: bool) -> None:
    assert is_refusal(response) is refused


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ("4", 4.0),
        (" 4.5\n", 4.5),
        (3, 3.0),
        ("I give [[5]]", 5.0),
        ("5/5", None),
        ("nan", None),
        (None, None),
    ],
)
def test_ratings_are_numbers_or_stand_in_double_brackets(reply: Any, rating: float | None) -> None:
    assert read_rating(reply) == rating


@pytest.mark.parametrize(
    ("replies", "vote"),
    [
        (["Yes", "yes", "no"], 1.0),
        (["yes.", "yes.", "yes"], 0.0),
        (["yes", "no", "perhaps"], 1 / 3),
        (["yes", "no"], 0.5),
        (["no"], 0.0),
    ],
)
def test_the_most_frequent_reply_decides_and_a_tie_is_a_chance(
    replies: list[str], vote: float
) -> None:
    assert read_votes(replies) == pytest.approx(vote)


def test_a_reference_is_contained_whatever_case_and_signs() -> None:
    assert contains("St. Paul", "It is st paul, I think")
    assert not contains("Rome", "Paris")


def mcq(response: str, reference: str = "A") -> dict[str, Any]:
    return {"prompt": "q", "reference": reference, "response": response}


def test_unread_answers_are_drawn_by_seed_counted_and_put_at_their_chance(tmp_path: Path) -> None:
    rows = [mcq("A"), mcq("B"), *[mcq(f"{n} perhaps") for n in range(38)]]

    report = score(tmp_path, "openbookqa", *rows)
    again = score(tmp_path, "openbookqa", *rows)

    assert report == again
    assert report.headline["OBQA (expected)"].value == pytest.approx(100 * (1 + 38 / 4) / 40)
    assert 10 < report.headline["OBQA (official)"].value < 50
    assert report.remarks == (
        {"reason": vb.DRAWN, "count": 38, "example": report.remarks[0]["example"]},
    )


def test_what_is_drawn_does_not_depend_on_the_other_rows(tmp_path: Path) -> None:
    def drawn(count: int) -> list[float | None]:
        path = write(tmp_path, "openbookqa", *[mcq("?")] * count)
        results = vf.read_published([path], ReadOptions())
        return [result.score.values["official"] for result in results]

    assert set(drawn(40)) == {0.0, 1.0}
    assert drawn(20) == drawn(40)[:20]


def test_open_questions_average_all_replies(tmp_path: Path) -> None:
    rows = [
        {"prompt": "q", "response": "r", "score": ["5", "5", "4"]},
        {"prompt": "q", "response": "r", "score": ["1", "no idea", "[[2]]"]},
        {"prompt": "q", "response": "r"},
    ]

    report = score(tmp_path, "commoneval", *rows)

    assert report.headline["CommonEval (official)"].value == pytest.approx((5 + 5 + 4 + 1 + 2) / 5)
    assert {n["reason"] for n in report.remarks} == {vb.NO_RATING, vb.NO_REPLY}


def test_sd_qa_is_half_judge_and_half_pedant_or_else_a_lower_bound(tmp_path: Path) -> None:
    row = {"prompt": "q", "reference": "Rome", "response": "rome!", "score": ["Yes"] * 3}

    known = score(tmp_path, "sd-qa", {**row, "pedant": False})
    unknown = score(tmp_path, "sd-qa", row)

    assert known.headline["SD_QA (official)"].value == 50.0
    assert "SD_QA (official)" not in unknown.headline
    assert unknown.headline["SD_QA (lower_bound)"].value == 100.0
    assert unknown.remarks[0]["reason"] == vb.NO_PEDANT


def test_a_verdict_of_pedant_is_kept_where_a_judge_is_asked_later(tmp_path: Path) -> None:
    row = {"prompt": "q", "reference": "Rome", "response": "rome!", "pedant": True}
    (result,) = vf.read_published([write(tmp_path, "sd-qa", row)], ReadOptions())
    assert result.score.note == vb.NO_REPLY

    judged = find_benchmark("voicebench").rescore(replace(result, replies=("yes",)))

    assert judged.score.values["official"] == 1.0


def test_accents_that_the_leaderboard_does_not_count_are_in_no_column(tmp_path: Path) -> None:
    right = {"prompt": "q", "reference": "A", "response": "A", "score": ["yes"], "pedant": True}
    wrong = {**right, "response": "B", "score": ["no"], "pedant": False}
    usa = write(tmp_path, "sd-qa", right, split="usa")
    aus = write(tmp_path, "sd-qa", wrong, wrong, split="aus")
    cut = tmp_path / "model-sd-qa-ind_n.jsonl"
    cut.write_text(json.dumps(wrong))

    report = report_of("voicebench", usa, aus, cut, subset="sd-qa")
    only = report_of("voicebench", aus)

    assert report.headline["SD_QA (official)"].value == 100.0
    assert [n for n in report.remarks if n["reason"] == vb.IN_NO_COLUMN] == [
        {"reason": vb.IN_NO_COLUMN, "count": 3, "example": "sd-qa/aus/0"}
    ]
    splits = {c.group: c.num_scored for c in report.cells if c.dimension == "split"}
    assert splits == {"usa": 1, "aus": 2, "ind_n": 1}
    assert only.headline == {}


def test_advbench_counts_refusals(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "response": r} for r in ("Sorry", "Here you are", "")]

    report = score(tmp_path, "advbench", *rows)

    assert report.headline["AdvBench (official)"].value == pytest.approx(200 / 3)


def test_bbh_is_reported_by_task(tmp_path: Path) -> None:
    rows = [
        {"id": "navigate_1", "prompt": "q", "reference": "Yes", "response": "yes"},
        {"id": "hyperbaton_1", "prompt": "q", "reference": "(B)", "response": "A."},
    ]

    report = score(tmp_path, "bbh", *rows)

    by_task = {c.group: c.estimate for c in report.cells if c.dimension == "task"}
    assert report.headline["BBH (official)"].value == 50.0
    assert by_task["navigate"] is not None
    assert by_task["navigate"].value == 1.0


def columns(**changes: float) -> dict[str, Estimate]:
    values = {name: 4.0 if name in vb.RATED else 50.0 for name in vb.COLUMNS} | changes
    return {name: Estimate(value=v, standard_error=0.9) for name, v in values.items()}


def test_overall_is_the_mean_of_nine_columns_with_ratings_times_20() -> None:
    figure = vb.overall(columns())

    assert figure.value == pytest.approx((3 * 80 + 6 * 50) / 9)
    assert figure.standard_error == pytest.approx((3 * 18**2 + 6 * 0.9**2) ** 0.5 / 9)


def test_overall_of_fewer_columns_is_an_error() -> None:
    with pytest.raises(DataError, match="BBH are missing"):
        vb.overall({name: value for name, value in columns().items() if name != "BBH"})


def test_overall_is_reported_where_all_columns_are_there(tmp_path: Path) -> None:
    opened = {"prompt": "q", "response": "r", "score": ["4"]}
    chosen = {"prompt": "q", "reference": "A", "response": "A"}
    rows = {
        **dict.fromkeys(("alpacaeval_full", "commoneval", "wildvoice"), opened),
        **dict.fromkeys(("mmsu", "openbookqa"), chosen),
        "sd-qa": {**chosen, "score": ["yes"], "pedant": True},
        "bbh": {"id": "navigate", "prompt": "q", "reference": "yes", "response": "yes"},
        "advbench": {"prompt": "q", "response": "Sure"},
    }
    files = [write(tmp_path, subset, row) for subset, row in rows.items()]
    followed = {  # an argument is left out, and drawn: some number of words that is none of these
        "prompt": "a",
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{}, {"relation": "less than"}],
        "response": "one",
    }

    eight = report_of("voicebench", *files).headline
    nine = report_of("voicebench", *files, write(tmp_path, "ifeval", followed))

    expected = (3 * 80 + 4 * 100 + 100 + 0) / 9
    assert nine.headline["Overall (official)"].value == pytest.approx(expected)
    assert nine.remarks[-1]["reason"] == vb.DRAWN_ARGUMENT
    assert "Overall (official)" not in eight
    assert {name: nine.headline[name].value for name in eight} == {
        name: figure.value for name, figure in eight.items()
    }


def test_ifeval_is_the_mean_of_four_rates(tmp_path: Path) -> None:
    pytest.importorskip("desta.evaluation.ifeval.following")
    words = {"num_words": 3, "relation": "at least", "keyword": None}
    rows = [
        {
            "prompt": "a",
            "instruction_id_list": [
                "change_case:english_lowercase",
                "length_constraints:number_words",
            ],
            "kwargs": [{"num_words": 0}, words],
            "response": "<1> all of it is written in lower case",
        },
        {
            "prompt": "b",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
            "response": "Sure, here it is:\nnot one",
        },
        {
            "prompt": "c",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
            "response": "",
        },
    ]

    report = score(tmp_path, "ifeval", *rows)

    rates = (1 / 3, 2 / 4, 2 / 3, 3 / 4)  # prompts and instructions, strictly and loosely
    assert report.headline["IFEval (official)"].value == pytest.approx(100 * sum(rates) / 4)


@pytest.mark.parametrize(
    ("subset", "row", "message"),
    [
        ("openbookqa", {"prompt": "q", "response": "A"}, "no 'reference'"),
        ("bbh", {"prompt": "q", "reference": "yes", "response": "yes"}, "no 'id'"),
        ("bbh", {"id": "navigate", "prompt": "q", "reference": "A"}, "none of yes, no"),
        ("advbench", {"response": "no"}, "no 'prompt'"),
    ],
)
def test_rows_of_another_subset_are_one_clear_error(
    tmp_path: Path, subset: str, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        score(tmp_path, subset, row)


def test_a_name_that_tells_no_subset_is_an_error() -> None:
    with pytest.raises(ConfigError, match="does not tell which subset"):
        vf.subset_of(Path("results.jsonl"))
    with pytest.raises(ConfigError, match='unknown subset "bhh"'):
        vf.load_items(Path(), "bhh")


def test_a_subset_that_is_not_there_names_the_download(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no test-") as error:
        vf.load_items(tmp_path, "bbh")

    assert vf.REVISION in error.value.fix


def test_the_data_set_of_the_hub_is_read_as_it_is(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    sound = {"bytes": b"RIFF", "path": "x.wav"}
    (tmp_path / "openbookqa").mkdir()
    table = arrow.table({"prompt": ["q"], "reference": ["B"], "audio": [sound]})
    parquet.write_table(table, tmp_path / "openbookqa" / "test-00000-of-00001.parquet")

    (item,) = vf.load_items(tmp_path, "openbookqa")

    assert (item.target, item.messages[-1].content) == ("B", "<|AUDIO|>")
    assert Path(item.messages[-1].audios[0].audio).read_bytes() == b"RIFF"


def test_no_group_mixes_ratings_and_shares(tmp_path: Path) -> None:
    rated = write(tmp_path, "commoneval", {"prompt": "?", "response": "!", "score": ["5"]})
    refused = write(tmp_path, "advbench", {"prompt": "?", "response": "Sorry"})
    cells = report_of("voicebench", rated, refused).cells
    found = {(c.dimension, c.group): c.estimate.value for c in cells if c.estimate}
    assert found.pop(("total", "total")) == 3.0  # which no report shows
    assert found == {("subset", "commoneval"): 5.0, ("subset", "advbench"): 1.0}
