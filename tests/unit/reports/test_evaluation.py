import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from desta.evaluation.base import Result
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.benchmarks.transcription.score import CER
from desta.evaluation.scores import sum_up
from desta.records import AudioRef, Message
from desta.reports import browser as browser
from desta.reports.browser import BETWEEN, RIGHT, UNSCORED, WRONG, collect_sounds, outcome
from desta.reports.evaluation import Evaluation, write_evaluation_report
from support.recordings import tone
from support.results import changed, make_result

HOSTILE = '</script><script>alert("x")</script><img src=x onerror=alert(1)> | `a` \u2028'
SAKURA = find_benchmark("sakura")


def result(number: int, output: str | None, system: str = "model", audio: str = "") -> Result:
    message = Message(role="user", content="<|AUDIO|> Which?", audios=(AudioRef(audio=audio),))
    raw = make_result(
        id=f"Animal/{number}.wav/single",
        system=system,
        groups={"track": "Animal", "hop": ("single", "multi")[number % 2]},
        question=f"Question {number} {HOSTILE}? (a) dog (b) cat",
        target="(a) dog",
        choices=("(a) dog", "(b) cat"),
        record={"options": {"a": "dog", "b": "cat"}},
        audio=(audio,) if audio else (),
        prompt=(message.to_json(),),
        output=output,
        skipped=None if output is not None else HOSTILE,
    )
    return SAKURA.rescore(raw)


def evaluation(results: list[Result], **scores: Any) -> Evaluation:
    found = sum_up(SAKURA, results, allow_missing=True)
    facts = {"benchmark": "sakura", "version": f"1 {HOSTILE}", "weights": None}
    return Evaluation(
        name=f"run {HOSTILE}",
        scores={**facts, **found, **scores},
        results=results,
        plan={"weights": "abc", "systems": ["model"]},
        environment={"command": HOSTILE, "versions": {"torch": "2"}},
    )


def test_the_plan_lists_systems_by_their_titles(tmp_path: Path) -> None:
    systems = ["model", "always_first"]
    plan = {"systems": systems, "config": {"systems": systems, "data": {"subsets": []}}}
    made = replace(evaluation([result(0, "a")]), plan=plan)
    _, markdown = write_evaluation_report(made, tmp_path / "r.html")
    text = markdown.read_text(encoding="utf-8")
    for row in ("systems", "config systems"):
        assert f"| {row} | model, always first |" in text
    assert "| config data subsets | none |" in text


def items_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="items-data">(.*?)</script>', html, re.S)
    assert found
    return json.loads(found.group(1))


def test_everything_that_comes_from_outside_is_escaped(tmp_path: Path) -> None:
    results = [result(n, HOSTILE) for n in range(3)] + [result(3, None)]
    judge = {
        "id": HOSTILE,
        "revision": "1",
        "num_replies": 4,
        "num_in_form": 1,
        "num_read": 2,
        "prompts": {"sakura": {"source": HOSTILE, "sha256": "0"}},
        "unread": [{"reason": HOSTILE, "count": 2, "example": HOSTILE}],
    }
    html_path, markdown = write_evaluation_report(
        evaluation(results, judge=judge), tmp_path / "r.html"
    )
    html = html_path.read_text(encoding="utf-8")

    assert len(re.findall("<script", html)) == 2, "the data and our script, nothing else"
    assert "<img" not in html
    assert 'alert("x")' not in html
    text = markdown.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) > 2 for row in rows)
    assert items_of(html)["items"][0]["answers"][0]["output"] == HOSTILE, "the data stay as is"


def test_only_our_script_may_run_and_nothing_is_fetched(tmp_path: Path) -> None:
    path, _ = write_evaluation_report(evaluation([result(0, "(a)")]), tmp_path / "r.html")
    html = path.read_text(encoding="utf-8")
    script = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy
    assert "default-src 'none'" in policy.group(1)
    assert f"script-src 'sha256-{digest}'" in policy.group(1)
    assert not re.search(r'(?:src|href)="https?:', html)
    assert "innerHTML" not in script[0]


def test_figures_groups_and_exceptions_are_told(tmp_path: Path) -> None:
    results = [result(n, "(a)") for n in range(3)] + [result(3, "what?")]
    results += [result(n, "(b)", "cascade") for n in range(4)]
    _, markdown = write_evaluation_report(evaluation(results), tmp_path / "r.html")
    text = markdown.read_text(encoding="utf-8")

    assert "| figure | model | cascade | chance |" in text
    # two of two even and one of two odd clips are right; 1/2 ± sqrt(1/4/2)
    assert "| Animal multi (rule: letter or text) | 0.5000 ± 0.3536 | 0.0000 | 0.5000 |" in text
    assert "rule: letter or text, by hop" in text
    assert "| model | no reply of a judge | 4 |" in text
    assert "| model | 4 | 3 | 75.0 % |" in text, "parse rate"
    assert "| weights | abc |" in text
    assert "| versions torch | 2 |" in text


def test_every_link_leads_to_a_section(tmp_path: Path) -> None:
    path, _ = write_evaluation_report(evaluation([result(0, "(a)")]), tmp_path / "r.html")
    html = path.read_text(encoding="utf-8")
    links = re.findall(r'<a href="#([^"]+)"', html)
    assert "items" in links
    assert links == re.findall(r'<section id="([^"]+)"', html)


def test_withheld_scores_are_said(tmp_path: Path) -> None:
    results = [result(0, "(a)"), result(1, None)]
    found = sum_up(SAKURA, results, allow_missing=False)
    scores = {"benchmark": "sakura", "version": "1", "weights": None, **found}
    made = Evaluation(name="x", scores=scores, results=results)
    path, markdown = write_evaluation_report(made, tmp_path / "r.html")
    assert "not all items have an answer" in path.read_text(encoding="utf-8")
    assert "not answered" in markdown.read_text(encoding="utf-8")


def test_sounds_are_embedded_up_to_a_size_then_linked(tmp_path: Path) -> None:
    folder = tmp_path / "sound clips"
    folder.mkdir()
    clips = [str(tone(folder / f"{n} & co.wav", 0.5)) for n in range(3)]
    one = collect_sounds(clips[:1], tmp_path / "r.html")
    size = len(one.sources[clips[0]] or "")
    sounds = collect_sounds(
        [*clips, *clips, str(folder / "gone.wav")], tmp_path / "out" / "r.html", limit=size
    )

    assert (sounds.num_embedded, sounds.num_linked, sounds.num_missing) == (1, 2, 1)
    first, second, _, gone = sounds.sources.values()
    assert first is not None
    assert first.startswith("data:audio/mpeg;base64,")
    assert second == "../sound%20clips/1%20%26%20co.wav"
    assert gone is None


def test_items_hold_what_is_filtered_by(tmp_path: Path) -> None:
    sound = str(tone(tmp_path / "a.wav", 0.5))
    results = [result(0, "(a)", audio=sound), result(1, "(b)", audio=sound), result(2, None)]
    results += [replace(r, system="cascade") for r in results]
    path, _ = write_evaluation_report(evaluation(results), tmp_path / "r.html")
    data = items_of(path.read_text(encoding="utf-8"))

    assert (len(data["items"]), len(data["sounds"])) == (3, 1)
    assert data["systems"] == ["model", "cascade"]
    assert data["metrics"][0] == "rule: letter or text", "one that scores something comes first"
    assert [d["name"] for d in data["dimensions"]] == ["hop"], "of one track nothing is to choose"
    outcomes = [item["answers"][0]["outcomes"][0] for item in data["items"]]
    assert outcomes == [RIGHT, WRONG, UNSCORED]
    assert data["items"][0]["answers"][0]["prompt"] == ["user: <|AUDIO|> Which?"]


@pytest.mark.parametrize(
    ("name", "groups", "metric", "value", "expected"),
    [
        ("voicebench", {"subset": "commoneval"}, "official", 1.0, WRONG),
        ("voicebench", {"subset": "commoneval"}, "official", 5.0, RIGHT),
        ("voicebench", {"subset": "openbookqa"}, "official", 1.0, RIGHT),
        ("voicebench", {"subset": "openbookqa"}, "expected", 0.25, BETWEEN),
        ("transcription", {}, "wer", 0.0, RIGHT),
        ("transcription", {}, "wer", 1.0, BETWEEN),
        ("transcription", {}, CER, 0.0, RIGHT),
        ("mmau", {}, "model_output", 0.0, WRONG),
    ],
)
def test_what_is_right_depends_on_the_scale(
    name: str, groups: dict[str, str], metric: str, value: float, expected: int
) -> None:
    one = changed(result(0, "x"), groups=groups, values={metric: value})
    assert outcome(find_benchmark(name), one, metric) == expected


def test_a_thousand_items_stay_small(tmp_path: Path) -> None:
    results = [result(n, "(a) dog") for n in range(1000)]
    markup = browser.browser(SAKURA, results, collect_sounds([], tmp_path / "r.html"))
    assert sum(map(len, markup)) < 1_500_000
    assert "".join(markup).count("<article") == 0, "items are drawn when they are looked at"


def test_the_first_sentence_says_whether_the_model_beats_those_that_do_not_hear(
    tmp_path: Path,
) -> None:
    results = [result(n, "(a)") for n in range(12)]
    results += [result(n, "(b)", "no_audio") for n in range(12)]
    results += [result(n, "(a)" if n else "(b)", "cascade") for n in range(12)]
    path, markdown = write_evaluation_report(evaluation(results), tmp_path / "r.html")
    sentence = (
        "By `rule: letter or text`, the model beats no audio by +100.0 ± 0.0 points (p = 0.00049, "
        "12 items) and does not beat the cascade: +8.3 ± 8.0 points (p = 1, 12 items)."
    )
    assert sentence in markdown.read_text(encoding="utf-8")
    html = path.read_text(encoding="utf-8")
    assert sentence in html
    assert html.index(sentence) < html.index("<table")

    worse = [result(n, "(b)") for n in range(12)] + [result(n, "(a)", "cascade") for n in range(12)]
    verdict = evaluation(worse).scores["verdict"]
    assert "is worse than the cascade by -100.0 ± 0.0 points" in verdict["sentence"]
    assert (
        "Whether it beats no audio is not known: ask them too (--system no_audio)"
        in (verdict["sentence"])
    )
    assert verdict["against"][0]["num_items"] == 12
    assert evaluation([result(n, "(a)", "oracle") for n in range(3)]).scores["verdict"] is None


def test_fewer_errors_are_better() -> None:
    spoken = find_benchmark("transcription")
    rows = [
        spoken.rescore(
            changed(
                result(n, said, system),
                groups={"source": "s", "language": "English"},
                target="here is the dog",
            )
        )
        for system, said in (("model", "here is the dog"), ("cascade", "here is"))
        for n in range(8)
    ]
    found = sum_up(spoken, rows, allow_missing=False)["verdict"]
    assert "lower is better, the model beats the cascade by -50.0 ± 0.0 points" in found["sentence"]


def test_every_table_says_what_figures_rest_on_and_whose_rules_they_are(tmp_path: Path) -> None:
    judged = [
        SAKURA.rescore(replace(result(n, "(a)"), replies=(reply,)))
        for n, reply in enumerate(["Explanation: x\nJudgement: correct"] * 6 + ["hm", "yes?"])
    ]
    results = [*judged, SAKURA.rescore(result(8, "(a)")), result(9, None)]
    made = evaluation(results)
    _, markdown = write_evaluation_report(made, tmp_path / "r.html")
    text = markdown.read_text(encoding="utf-8")

    # even clips are of one hop: 0 2 4 6 8, of which 6 is not readable and 8 is not judged
    assert "| Animal single (judge) | 0.7500 ± 0.2165 |" in text
    rows = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| Animal")}
    assert "| 4 / 5 |" in rows["| Animal single (judge)"]
    assert rows["| Animal single (judge)"].endswith("| official |")
    assert "| 3 / 5 |" in rows["| Animal single (judge, leniently read)"]
    assert rows["| Animal single (judge, leniently read)"].endswith("| ours |")
    assert "4 / 5" in rows["| Animal multi (rule: letter or text)"], "one has no answer"
    assert "judge, by hop (official)" in text
    assert "rule: letter or text, by hop (ours)" in text
    assert "Official figures" not in text
    noted = {line.split(" | ")[1]: line for line in text.splitlines() if line.startswith("| model")}
    unread = "the judge's reply names no judgement in any form: counted as wrong"
    assert noted[unread].endswith("| judge, leniently read |")
    assert "judge; judge, leniently read |" in noted["no reply of a judge"]
    figure = made.scores["systems"][0]["headline"]["Average single (judge_lenient)"]
    assert (figure["num_scored"], figure["num_items"]) == (3, 5)
    assert figure["metric"] not in made.scores["official"]
    left = made.scores["systems"][0]["left_out"]
    assert {"metrics", "reason", "count", "example"} == set(left[0])


def test_a_drawing_that_is_wider_than_a_phone_says_so(tmp_path: Path) -> None:
    path, _ = write_evaluation_report(
        evaluation([result(n, "(a)") for n in range(4)]), tmp_path / "r.html"
    )
    html = path.read_text(encoding="utf-8")
    assert html.count("Swipe the drawing sideways") == html.count("<svg") > 0
    assert re.search(r'<div class="scroll"><svg', html)
    assert "overflow-wrap: anywhere" in html
