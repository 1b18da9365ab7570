"""Figures of a study: errors over items and seeds, paired contrasts, and the page about them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from desta.construction.messages import described_messages
from desta.evaluation.benchmarks.attributes.questions import load_examples
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.compare import sign_flip_test
from desta.evaluation.recipe import BenchmarkFiles
from desta.model.backbone.chat import encode_conversation, encode_text, end_id
from desta.records import AudioRef, AudioTextPair, Message
from desta.reports.study import write_study_report
from desta.studies.cost import Cost
from desta.studies.findings import Findings, contrast_of, find_all, outcome_of
from desta.studies.instructions import RULES, SECTION, write_questions
from desta.studies.likelihood import nats_per_token
from desta.studies.pairs import Budget
from desta.studies.plan import Plan
from desta.studies.recipe import Base
from support.studies import write_base

ITEMS = [f"item{n}" for n in range(30)]


def scores(seeds: int, level: float, draw: int) -> list[dict[str, float]]:
    generator = np.random.default_rng(draw)
    return [{item: float(generator.random() < level) for item in ITEMS} for _ in range(seeds)]


def test_errors_are_those_of_items_and_of_seeds() -> None:
    found = scores(4, 0.6, 0)
    table = np.array([[each[item] for item in ITEMS] for each in found])

    outcome = outcome_of("a", "m", found)

    assert outcome.value == pytest.approx(table.mean())
    assert outcome.item_error == pytest.approx(table.mean(0).std() / np.sqrt(30))
    assert outcome.seed_error == pytest.approx(table.mean(1).std(ddof=1) / 2)
    assert (outcome.num_items, outcome.num_seeds) == (30, 4)
    assert outcome_of("a", "m", found[:1]).seed_error is None


def test_a_contrast_is_paired_by_item_and_by_seed() -> None:
    first, second = scores(3, 0.3, 1), scores(3, 0.9, 2)
    del second[1]["item7"]  # without a score: left out of both
    kept = [item for item in ITEMS if item != "item7"]
    a, b = (np.array([[each[i] for i in kept] for each in side]) for side in (first, second))

    found = contrast_of("v", "m", first, second)

    assert found is not None
    deltas = (b - a).mean(0)
    assert found.difference == pytest.approx(deltas.mean())
    assert found.item_error == pytest.approx(deltas.std() / np.sqrt(29))
    assert found.seed_error == pytest.approx((b - a).mean(1).std(ddof=1) / np.sqrt(3))
    assert (found.num_agreeing, found.num_seeds) == (3, 3)
    p_value, method = sign_flip_test(deltas / 29)
    assert (found.p_value, found.method) == (pytest.approx(p_value, rel=1e-5), method)
    assert (found.num_items, found.num_better, found.num_worse) == (
        29, int((deltas > 0).sum()), int((deltas < 0).sum())
    )  # fmt: skip


def test_a_difference_of_one_seed_alone_is_shown_as_such() -> None:
    same = [dict.fromkeys(ITEMS, 0.0)] * 2
    lucky = [dict.fromkeys(ITEMS, 1.0), dict.fromkeys(ITEMS, 0.0)]
    found = contrast_of("v", "m", same, lucky)
    assert found is not None
    assert found.p_value < 1e-6, "the items say so"
    assert (found.num_agreeing, found.seed_error) == (1, pytest.approx(0.5))


def test_variants_of_unequal_seeds_have_no_error_over_seeds() -> None:
    found = contrast_of("v", "m", scores(3, 0.5, 0), scores(1, 0.5, 1))
    assert found is not None
    assert (found.seed_error, found.num_agreeing) == (None, None)
    assert contrast_of("v", "m", [{"a": 1.0}], [{"b": 1.0}]) is None


def test_nats_are_those_of_the_backbone_itself(published_tiny: Path) -> None:
    folder = published_tiny / "backbone"
    backbone = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = [_pair(n, "word " * n + "end") for n in range(1, 11)]

    found = nats_per_token(backbone, tokenizer, pairs)

    for pair, nats in zip(pairs, found, strict=True):
        messages = described_messages(pair)
        assert messages is not None
        context = encode_conversation(tokenizer, messages)
        response = [*encode_text(tokenizer, pair.response), end_id(tokenizer)]
        labels = torch.tensor([[-100] * len(context) + response])
        with torch.no_grad():
            loss = backbone(input_ids=torch.tensor([context + response]), labels=labels).loss
        assert nats == pytest.approx(loss.item(), rel=1e-4)


def test_questions_with_instructions_are_those_of_the_benchmark(
    tmp_path: Path, published_tiny: Path
) -> None:
    base = Base.load(write_base(tmp_path, published_tiny))
    items = load_examples(base.attributes.data)

    write_questions(items * 2, len(RULES), tmp_path / "questions")

    benchmark = find_benchmark("speech_ifeval")
    data = BenchmarkFiles(path=str(tmp_path / "questions"), subsets=(SECTION,))
    asked = benchmark.load(data)
    rules = {item.record["instruction_id_list"][0] for item in asked}
    assert rules == {rule.id for rule in RULES}
    for item in asked:
        assert "(Language: " in item.described[-1].content
        assert Path(item.clips[0].audio).is_file()
        assert benchmark.score(item, "x", ()).values["followed"] in (0.0, 1.0)

    two = replace(items[0], messages=items[0].messages * 2)
    write_questions([two], 1, tmp_path / "none")
    assert not benchmark.load(replace(data, path=str(tmp_path / "none"))), "of two clips"


def test_the_page_tells_the_test_the_budgets_and_what_it_does_not_show(
    tmp_path: Path, published_tiny: Path
) -> None:
    findings = _findings(tmp_path, published_tiny, seeds=2)

    written = write_study_report(findings, tmp_path / "page" / "loss.md")

    assert [path.name for path in written] == ["loss.md", "loss.svg", "loss.html"]
    text, html = (written[n].read_text() for n in (0, 2))
    for words in (
        *("sign-flip test", "independent of each other", "± ", " (s)", "What it does not show"),
        *("desta construct ", "desta eval attributes", "![Which loss?](loss.svg)", "1.50 GiB"),
        *("train.distillation: 1.0", "perplexity 2.72", "Expected beforehand"),
    ):
        assert words in text, words
        assert words.startswith("![") or words in html, words
    assert "seed-1" not in text.split("## Commands")[1].split("## How")[0]


def test_of_one_seed_the_page_says_that_seeds_are_not_known(
    tmp_path: Path, published_tiny: Path
) -> None:
    findings = _findings(tmp_path, published_tiny, seeds=1)
    [page, *_] = write_study_report(findings, tmp_path / "loss.md")
    text = page.read_text()
    assert "nothing is known of how far seeds vary" in text
    assert " (s)" not in text.replace("over seeds (s)", "")


def _pair(number: int, response: str) -> AudioTextPair:
    content = "<start_audio><|AUDIO|><end_audio>\n\nWhat?"
    turn = Message(role="user", content=content, audios=(AudioRef(audio="a.wav", text=" "),))
    return AudioTextPair(
        id=f"{number}",
        dataset="d",
        seed_description="[00:00-00:02] (Language: French)",
        prompt="What?",
        response=response,
        messages=(turn,),
    )


def _findings(folder: Path, published_tiny: Path, *, seeds: int) -> Findings:
    base = Base.load(write_base(folder, published_tiny))
    plan = Plan.make("loss", base, num_seeds=seeds, out=folder / "out")
    names = [variant.name for variant in plan.variants]
    found = {("withheld", name): scores(seeds, 0.5, n) for n, name in enumerate(names)}
    found |= {("nats", name): [{"a": 1.0, "b": 1.0}] for name in names}
    cost = Cost(seconds=2.0, peak_gib=1.5, joules=None, units=12)
    budget = Budget(pairs=12, clips=3, seconds=60.0, target_tokens=99)
    findings = find_all(
        plan,
        found,
        dict.fromkeys(names, budget),
        {name: [12] * seeds for name in names},
        {"train/written/0": cost},
    )
    return Findings(**{**vars(findings), "peak_gib": 1.5})
