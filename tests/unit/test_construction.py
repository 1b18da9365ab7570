import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from desta.cli.app import app
from desta.construction.building import BUILDING, DROPPED
from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.description import DescriptionConfig, describe
from desta.construction.pipeline import construct
from desta.construction.plan import Job, Planner
from desta.construction.pool import ticket
from desta.construction.prompts import Prompt
from desta.construction.responses import generation_messages, training_messages
from desta.construction.survey import survey
from desta.errors import ConfigError, DataError
from desta.llm.base import Completion, Sampling, as_text
from desta.llm.chat import encode_chat, encode_text
from desta.llm.local import LocalGenerator
from desta.llm.scripted import ScriptedGenerator
from desta.model.backbones import load_backbone, revision
from desta.model.config import ModelConfig
from desta.model.weights import fingerprint
from desta.records import END_AUDIO, LOCATOR, START_AUDIO, AudioRef, Clip, Message, Segment
from desta.shards import RESPONSES, Manifest, read_pairs, verify

LANGUAGES = ("French", "Russian", "Spanish")
PROMPT = Prompt(text="What is it?", kind="ask", needs=frozenset(), needs_transcription=False)


def clip(number: int, **changes: Any) -> Clip:
    values: dict[str, Any] = {
        "id": f"c/{number}",
        "source": "c",
        "audio": f"{number}.wav",
        "duration": 1.0 + number,
        "domain": "speech",
        "segments": (Segment(start=0.0, end=1.0, text="word " * number),),
        "attributes": {"Language": LANGUAGES[number % 3]},
    }
    return Clip(**{**values, **changes})


def corpus(directory: Path, clips: Sequence[Clip]) -> ClipsConfig:
    path = directory / "clips.jsonl"
    path.write_text("".join(json.dumps(c.to_json()) + "\n" for c in clips))
    return ClipsConfig(path=path, root=Path("recordings"), prompts_per_clip=2)


@pytest.fixture
def config(tmp_path: Path) -> ConstructConfig:
    return ConstructConfig(
        clips=(corpus(tmp_path, [clip(n) for n in range(12)]),),
        backbone="scripted",
        sampling=Sampling(temperature=0.05, max_new_tokens=40),
        batch_size=5,
        shard_rows=7,
    )


def speak(content: str) -> str:
    return f"I hear {len(content)} things."


def plan(config: ConstructConfig) -> list[Job]:
    return [job for _, jobs in Planner(config).plan(survey(config)) for job in jobs or ()]


def contents(directory: Path) -> dict[str, bytes]:
    """Return all that must be the same after every interruption: not how the journal lies."""
    names = {path.name for path in directory.iterdir()} - {RESPONSES}
    return {name: (directory / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def tokenizer(published_tiny: Path) -> Any:
    return AutoTokenizer.from_pretrained(published_tiny / "backbone")


@pytest.fixture(scope="module")
def generator(published_tiny: Path) -> LocalGenerator:
    place = published_tiny / "backbone"
    config = ModelConfig(backbone=str(place), encoder="none", dtype="float32")
    model, tokenizer = load_backbone(str(place), config)
    return LocalGenerator(model, tokenizer, id="tiny", revision=revision(str(place), config))


# -- conversations -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["Hello", "<|im_end|>\n<|AUDIO|> <end_audio>", "[x](y)>"])
@pytest.mark.parametrize("system", ["", "Listen between <start_audio> and <end_audio>."])
def test_messages_differ_only_between_the_tags(text: str, system: str) -> None:
    spoken = clip(1, segments=(Segment(start=0.0, end=1.0, text=text),))
    description = describe(spoken)
    training = training_messages(system, PROMPT, AudioRef(audio="1.wav", text=text))
    generation = generation_messages(training, description)

    before, after = training[-1].content.split(LOCATOR)
    assert before.endswith(START_AUDIO)
    assert after.startswith(END_AUDIO)
    assert [m.content for m in generation] == [m.content for m in training]
    assert as_text(generation[-1]) == before + description + after


def test_a_locator_in_a_prompt_is_an_error() -> None:
    with pytest.raises(ConfigError, match="holds <|AUDIO|>"):
        training_messages("", replace(PROMPT, text="<|AUDIO|>?"), AudioRef(audio="1.wav"))


@pytest.mark.parametrize(
    "description", ["[00:00-00:01] Hi (A: b)", "> <|im_end|> <|AUDIO|><", "a<"]
)
def test_tokens_differ_only_between_the_tags(
    tokenizer: Any, generator: LocalGenerator, description: str
) -> None:
    system = "Listen between <start_audio> and <end_audio>."
    training = training_messages(system, PROMPT, AudioRef(audio="1.wav"))
    before, after = encode_chat(tokenizer, training, locator=LOCATOR)

    found = generator.encode(generation_messages(training, description))

    assert found[: len(before)] == before
    assert found[-len(after) :] == after
    middle = found[len(before) : -len(after)]
    assert middle == encode_text(tokenizer, description)
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") not in middle


def test_every_clip_of_a_message_is_read_as_its_own_description(
    tokenizer: Any, generator: LocalGenerator
) -> None:
    training = training_messages("", PROMPT, AudioRef(audio="1.wav"), AudioRef(audio="2.wav"))
    before, between, after = encode_chat(tokenizer, training, locator=LOCATOR)
    first, second = "[00:00-00:01] (A: <|AUDIO|>)", "[00:00-00:02] (A: b)"

    found = generator.encode(generation_messages(training, first, second))

    texts = [encode_text(tokenizer, first), encode_text(tokenizer, second)]
    assert found == [*before, *texts[0], *between, *texts[1], *after]


# -- the plan ------------------------------------------------------------------------------------


def test_only_the_split_and_the_values_asked_for_are_planned(
    tmp_path: Path, config: ConstructConfig
) -> None:
    clips = [clip(n, split="test" if n < 6 else "train") for n in range(12)]
    chosen = replace(corpus(tmp_path, clips), where={"Language": ("French", "Spanish")})
    chosen_only = replace(config, clips=(chosen,))
    assert {job.clip.id for job in plan(chosen_only)} == {"c/6", "c/8", "c/9", "c/11"}
    found = survey(chosen_only)
    assert found.closed_sets["speech", "Language"] == {"french", "russian", "spanish"}
    assert found.num_prompts == 4 * 2


def test_a_cap_holds_for_every_value_and_new_clips_displace_few(
    tmp_path: Path, config: ConstructConfig
) -> None:
    def drawn(num_clips: int) -> set[str]:
        capped = replace(
            corpus(tmp_path, [clip(n) for n in range(num_clips)]), per_value={"Language": 4}
        )
        return {job.clip.id for job in plan(replace(config, clips=(capped,)))}

    few, more = drawn(60), drawn(63)
    assert len(few) == len(more) == 3 * 4
    assert len(few - more) <= 3


def test_a_second_cap_holds_for_what_the_first_one_left(
    tmp_path: Path, config: ConstructConfig
) -> None:
    clips = [
        clip(n, attributes={"Language": LANGUAGES[n % 3]} | ({"Gender": "Male"} if n % 2 else {}))
        for n in range(60)
    ]
    capped = replace(corpus(tmp_path, clips), per_value={"Language": 8, "Gender": 5})
    twice = replace(config, clips=(capped,))
    used = [c.id for c, _ in Planner(twice).plan(survey(twice))]

    lots = {c.id: ticket(config.seed, c.id) for c in clips}
    left = []
    for language in LANGUAGES:
        speaking = [c for c in clips if c.attributes["Language"] == language]
        left += sorted(speaking, key=lambda c: lots[c.id])[:8]
    male = sorted((c for c in left if "Gender" in c.attributes), key=lambda c: lots[c.id])
    expected = {c.id for c in left} - {c.id for c in male[5:]}
    assert len(male) > 5
    assert used == [c.id for c in clips if c.id in expected]


def test_prompts_about_words_are_not_drawn_where_the_words_are_left_out(
    config: ConstructConfig,
) -> None:
    silent = replace(config, description=DescriptionConfig(transcription=False))
    assert any(job.prompt.needs_transcription for job in plan(config))
    assert not any(job.prompt.needs_transcription for job in plan(silent))


def test_the_last_prompt_of_the_stated_share_of_clips_asks_for_the_unknown(
    tmp_path: Path, config: ConstructConfig
) -> None:
    many = replace(config, clips=(corpus(tmp_path, [clip(n) for n in range(200)]),))
    before = plan(many)
    after = plan(replace(many, unknown_share=0.25))

    assert [job.id for job in after] == [job.id for job in before]
    assert [job for job in after if not job.unknown] == [
        old for old, new in zip(before, after, strict=True) if not new.unknown
    ]
    unknown = [job for job in after if job.unknown]
    assert len(unknown) / 200 == pytest.approx(0.25, abs=0.09)  # 3 standard errors
    assert all(job.id.endswith("#1") for job in unknown)
    assert not any(job.unknown for job in before)


def test_what_a_prompt_needs_is_never_dropped_from_the_description(
    tmp_path: Path, config: ConstructConfig
) -> None:
    rich = {"Language": "French", "Gender": "Female", "Emotion": "Sad", "Accent": "Breton"}
    some = corpus(tmp_path, [clip(n, attributes=rich) for n in range(100)])
    dropping = DescriptionConfig(drop=0.9, order="random")
    jobs = plan(replace(config, clips=(some,), description=dropping))

    assert any(job.prompt.needs for job in jobs)
    for job in jobs:
        assert all(f"{name}: " in job.description for name in job.prompt.needs)
        assert job.description in as_text(job.request[-1])
    firsts, seconds = jobs[::2], jobs[1::2]
    same = sum(a.description == b.description for a, b in zip(firsts, seconds, strict=True))
    assert same < 60  # two prompts about a clip draw on their own


def test_pairs_about_the_unknown_are_counted(tmp_path: Path, config: ConstructConfig) -> None:
    asking = replace(config, unknown_share=1.0)
    manifest = construct(asking, tmp_path / "out", ScriptedGenerator(speak))

    assert manifest.num_unknown == 12
    assert construct(config, tmp_path / "plain", ScriptedGenerator(speak)).num_unknown == 0


def test_a_pool_gives_pairs_different_system_prompts(config: ConstructConfig) -> None:
    drawn = replace(config, systems="pool")
    plain, pooled = plan(config), plan(drawn)

    assert {job.messages[0].content for job in plain} == {config.system}
    assert len({job.messages[0].content for job in pooled}) > 12
    assert [job.prompt for job in pooled] == [job.prompt for job in plain]
    assert all(job.request[0].content == job.messages[0].content for job in pooled)
    assert Planner(drawn).prompt_pool != Planner(config).prompt_pool


@pytest.mark.parametrize("name", ["withhold", "unknown_share", "max_dropped_share"])
def test_a_share_outside_0_to_1_is_an_error(config: ConstructConfig, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} = 1.5 is no share"):
        replace(config, **{name: 1.5})
    with pytest.raises(ConfigError, match=f"{name} = nan is no share"):
        replace(config, **{name: math.nan})


@pytest.mark.parametrize("temperature", [-1.0, math.nan, math.inf])
def test_a_temperature_that_is_no_number_from_0_is_an_error(temperature: float) -> None:
    with pytest.raises(ConfigError, match="is not 0 or a positive number"):
        Sampling(temperature=temperature)


def test_the_same_clip_twice_is_an_error(tmp_path: Path, config: ConstructConfig) -> None:
    twice = replace(config, clips=config.clips * 2)
    with pytest.raises(DataError, match="two clips have the id 'c/0'"):
        plan(twice)


def test_an_empty_selection_is_an_error(config: ConstructConfig) -> None:
    with pytest.raises(DataError, match='no clip of split "test"'):
        plan(replace(config, split="test"))


# -- construction --------------------------------------------------------------------------------


def test_every_job_becomes_one_pair_in_plan_order(tmp_path: Path, config: ConstructConfig) -> None:
    out = tmp_path / "out"
    manifest = construct(config, out, ScriptedGenerator(speak))

    pairs = list(read_pairs(out))
    jobs = plan(config)
    assert manifest.num_kept == len(pairs) == len(jobs) == 24
    for pair, job in zip(pairs, jobs, strict=True):
        assert pair == job.pair(speak(as_text(job.request[-1])))
        assert pair.messages[-1].audios[0].audio == f"recordings/{job.clip.audio}"
    assert set(contents(out)) == {
        *(f"audio-0000{n}.jsonl" for n in range(4)),
        "manifest.json",
        DROPPED,
    }
    assert (out / RESPONSES).exists()


def test_every_drop_is_counted_with_reason_and_first_example(
    tmp_path: Path, config: ConstructConfig
) -> None:
    jobs = plan(config)
    unlucky = {as_text(jobs[n].request[-1]) for n in (3, 4)}
    script = ScriptedGenerator(lambda content: "" if content in unlucky else "Fine.")

    manifest = construct(config, tmp_path / "out", script)

    assert manifest.dropped["empty"].count == 2
    assert manifest.dropped["empty"].example == jobs[3].id
    assert manifest.num_kept == len(jobs) - 2
    lines = (tmp_path / "out" / DROPPED).read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [jobs[3].id, jobs[4].id]


def test_too_many_drops_fail_and_other_filters_judge_the_same_responses(
    tmp_path: Path, config: ConstructConfig
) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"24 of 24 .* empty: 24 \(first: c/0#0\)"):
        construct(config, out, ScriptedGenerator(lambda _: ""))
    assert len((out / BUILDING / DROPPED).read_text().splitlines()) == 24
    assert Manifest.read(out) is None

    never_asked = ScriptedGenerator(lambda _: pytest.fail("generated again"))
    manifest = construct(replace(config, filters=()), out, never_asked)
    assert manifest.num_kept == 24


def test_a_finished_data_set_is_not_made_again(tmp_path: Path, config: ConstructConfig) -> None:
    out = tmp_path / "out"
    first = construct(config, out, ScriptedGenerator(speak))
    before = contents(out)
    never_asked = ScriptedGenerator(lambda _: pytest.fail("generated again"))
    assert construct(config, out, never_asked) == first
    assert contents(out) == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="shows no open files")
def test_no_file_stays_open_when_the_backbone_fails(
    tmp_path: Path, config: ConstructConfig
) -> None:
    def script(content: str) -> str:
        asked.append(content)
        if len(asked) == 400:
            raise KeyboardInterrupt
        return speak(content)

    asked: list[str] = []
    config = replace(config, batch_size=1, clips=(replace(config.clips[0], prompts_per_clip=60),))
    with pytest.raises(KeyboardInterrupt) as caught:
        construct(config, tmp_path / "out", ScriptedGenerator(script))

    assert caught.tb is not None  # and with it all that the work held
    opened = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
    assert [path for path in opened if str(tmp_path) in path] == []


class Counting:
    """A generator that keeps every batch it was asked."""

    id, revision = "scripted", "1"
    order: Literal["length", "prefix"] = "length"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.count_tokens = ScriptedGenerator(speak).count_tokens

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
    ) -> list[Completion]:
        assert len(seeds) == len(conversations)
        self.batches.append([as_text(messages[-1]) for messages in conversations])
        return ScriptedGenerator(speak).complete(conversations, sampling, seeds=seeds)


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"filters": ("empty",)}, 0),
        ({"shard_rows": 3}, 0),
        ({"withhold": 0.5}, 0),
        ({"batch_size": 4}, 0),
        ({"max_dropped_share": 0.1}, 0),
        ({"seed": 1}, 24),
        ({"dtype": "float32"}, 24),
        ({"system": "Other."}, 24),
        ({"sampling": Sampling(temperature=0.1, max_new_tokens=40)}, 24),
    ],
)
def test_another_recipe_takes_the_place_and_asks_only_what_is_new(
    tmp_path: Path, config: ConstructConfig, changes: dict[str, Any], again: int
) -> None:
    out = tmp_path / "out"
    construct(config, out, ScriptedGenerator(speak))
    changed = replace(config, **changes)
    generator = Counting()

    construct(changed, out, generator)

    assert sum(map(len, generator.batches)) == again
    construct(changed, tmp_path / "afresh", ScriptedGenerator(speak))
    assert contents(out) == contents(tmp_path / "afresh")
    assert verify(out).num_kept == 24


def test_new_clips_are_all_that_is_asked(tmp_path: Path, config: ConstructConfig) -> None:
    out = tmp_path / "out"
    construct(config, out, ScriptedGenerator(speak))
    more = replace(config, clips=(corpus(tmp_path, [clip(n) for n in range(15)]),))
    generator = Counting()

    assert construct(more, out, generator).num_kept == 30

    asked = [text for batch in generator.batches for text in batch]
    assert len(asked) == 6
    assert set(asked) == {as_text(job.request[-1]) for job in plan(more)[24:]}


def test_a_request_that_comes_twice_is_answered_once(
    tmp_path: Path, config: ConstructConfig
) -> None:
    alike = [replace(clip(1), id=f"c/{n}", audio=f"{n}.wav") for n in range(400)]
    twice = replace(config, clips=(corpus(tmp_path, alike),))
    generator = Counting()

    manifest = construct(twice, tmp_path / "out", generator)

    asked = [text for batch in generator.batches for text in batch]
    assert manifest.num_kept == 800
    assert len(set(asked)) == len(asked) < 800


def test_batches_hold_the_longest_requests_first(tmp_path: Path, config: ConstructConfig) -> None:
    generator = Counting()
    construct(config, tmp_path / "out", generator)

    sizes = [len(text.split()) for batch in generator.batches for text in batch]
    assert [len(batch) for batch in generator.batches] == [5, 5, 5, 5, 4]
    assert sizes == sorted(sizes, reverse=True)


def test_batches_hold_requests_of_one_beginning_where_prefixes_are_cached(
    tmp_path: Path, config: ConstructConfig
) -> None:
    generator = Counting()
    generator.order = "prefix"
    construct(config, tmp_path / "out", generator)

    asked = [text for batch in generator.batches for text in batch]
    assert asked == sorted(asked)


@pytest.mark.parametrize("order", ["length", "prefix"])
def test_an_interrupted_run_goes_on_with_the_same_batches(
    tmp_path: Path, config: ConstructConfig, order: Literal["length", "prefix"]
) -> None:
    whole, first, second = Counting(), Counting(), Counting()
    whole.order = first.order = second.order = order
    construct(config, tmp_path / "whole", whole)
    complete = first.complete

    def fail_after_two(*args: Any, **options: Any) -> list[Completion]:
        if len(first.batches) == 2:
            raise KeyboardInterrupt
        return complete(*args, **options)

    first.complete = fail_after_two  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        construct(config, tmp_path / "out", first)
    construct(config, tmp_path / "out", second)

    assert first.batches + second.batches == whole.batches
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_kept_and_dropped_are_counted_by_source_and_kind(
    tmp_path: Path, config: ConstructConfig
) -> None:
    jobs = plan(config)
    unlucky = as_text(jobs[3].request[-1])
    script = ScriptedGenerator(lambda content: "" if content == unlucky else "Fine.")

    manifest = construct(config, tmp_path / "out", script)

    kinds = {job.prompt.kind for job in jobs}
    assert set(manifest.counts) == {"c"}
    assert set(manifest.counts["c"]) == kinds
    assert sum(count["kept"] for count in manifest.counts["c"].values()) == 23
    assert manifest.counts["c"][jobs[3].prompt.kind]["dropped"] == 1
    assert Manifest.read(tmp_path / "out") == manifest


def test_clips_that_no_prompt_suits_are_counted(tmp_path: Path, config: ConstructConfig) -> None:
    folder = tmp_path / "pools"
    folder.mkdir()
    for domain in ("speech", "sound", "music"):
        (folder / f"{domain}.txt").write_text("[ask Age]\nHow old?\n")
    clips = [clip(n, attributes={"Age": "Old"} if n else {}) for n in range(3)]
    asking = replace(config, clips=(corpus(tmp_path, clips),), prompts=folder)

    manifest = construct(asking, tmp_path / "out", ScriptedGenerator(speak))

    assert manifest.num_kept == 2
    dropped = manifest.dropped["no prompt suits the clip"]
    assert (dropped.count, dropped.example) == (1, "c/0")


def test_an_unfinished_data_set_is_not_taken_for_a_published_one(
    tmp_path: Path, config: ConstructConfig
) -> None:
    out = tmp_path / "out"
    construct(config, out, ScriptedGenerator(speak))
    (out / "manifest.json").unlink()
    with pytest.raises(DataError, match="not finished"):
        list(read_pairs(out))


def test_a_data_set_without_its_journal_is_kept_but_not_replaced(
    tmp_path: Path, config: ConstructConfig
) -> None:
    out = tmp_path / "out"
    first = construct(config, out, ScriptedGenerator(speak))
    (out / RESPONSES).unlink()
    never_asked = ScriptedGenerator(lambda _: pytest.fail("generated again"))

    assert construct(config, out, never_asked) == first
    with pytest.raises(ConfigError, match=f"no {RESPONSES}"):
        construct(replace(config, seed=1), out, never_asked)
    assert list(read_pairs(out))


def test_missing_clips_are_an_error(tmp_path: Path, config: ConstructConfig) -> None:
    [clips] = config.clips
    gone = replace(config, clips=(replace(clips, path=tmp_path / "gone.jsonl"),))
    with pytest.raises(DataError, match=r"gone\.jsonl is not a file"):
        construct(gone, tmp_path / "out", ScriptedGenerator(speak))


def test_shards_of_another_origin_are_left_alone(tmp_path: Path, config: ConstructConfig) -> None:
    out = tmp_path / "published"
    out.mkdir()
    (out / "audio.0.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="another origin"):
        construct(config, out, ScriptedGenerator(speak))


# -- the local generator -------------------------------------------------------------------------

QUESTIONS = [
    (Message(role="user", content="Hi."),),
    (Message(role="system", content="Be brief."), Message(role="user", content="Who are you?")),
    (Message(role="user", content="Tell a long story of many words, please."),),
]


def answer(
    generator: LocalGenerator, conversations: Sequence[Sequence[Message]], **sampling: Any
) -> list[Completion]:
    seeds = [3 + row for row in range(len(conversations))]
    return generator.complete(conversations, Sampling(**sampling), seeds=seeds)


def test_greedy_completions_equal_those_of_transformers(
    published_tiny: Path, tokenizer: Any, generator: LocalGenerator
) -> None:
    reference = AutoModelForCausalLM.from_pretrained(published_tiny / "backbone").eval()
    for messages, completion in zip(
        QUESTIONS, answer(generator, QUESTIONS, max_new_tokens=16), strict=True
    ):
        ids = torch.tensor([generator.encode(messages)])
        out = reference.generate(ids, do_sample=False, max_new_tokens=16, repetition_penalty=1.0)
        new = out[0, ids.shape[1] :]
        assert completion.text == tokenizer.decode(new, skip_special_tokens=True).strip()


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_rows_that_end_early_leave_the_others_as_they_were(
    published_tiny: Path, tokenizer: Any, temperature: float
) -> None:
    model = AutoModelForCausalLM.from_pretrained(published_tiny / "backbone")
    model.generation_config.eos_token_id = list(range(4, 60))  # random weights end soon
    ending = LocalGenerator(model, tokenizer, id="tiny", revision="1")
    many = [QUESTIONS[n % 3] for n in range(12)]

    together = answer(ending, many, temperature=temperature, max_new_tokens=24)

    assert {c.finished for c in together} == {True, False} or temperature == 0
    assert all(c.finished == (c.num_tokens < 24) for c in together)
    assert together == answer(ending, many, temperature=temperature, max_new_tokens=24)
    if temperature == 0:
        alone = [answer(ending, [m], max_new_tokens=24)[0] for m in many]
        assert together == alone


def test_sampling_follows_the_seed_and_leaves_the_random_state_alone(
    generator: LocalGenerator,
) -> None:
    hot = Sampling(temperature=1.5, max_new_tokens=12)
    state = torch.get_rng_state()
    first = generator.complete(QUESTIONS, hot, seeds=[1, 2, 3])
    assert first == generator.complete(QUESTIONS, hot, seeds=[1, 2, 3])
    assert first != generator.complete(QUESTIONS, hot, seeds=[2, 3, 4])
    assert first[::-1] == generator.complete(QUESTIONS[::-1], hot, seeds=[3, 2, 1])
    assert torch.equal(state, torch.get_rng_state())


def test_a_tiny_top_p_is_greedy(generator: LocalGenerator) -> None:
    narrow = answer(generator, QUESTIONS, temperature=1.0, top_p=1e-6, max_new_tokens=12)
    assert narrow == answer(generator, QUESTIONS, max_new_tokens=12)


@pytest.mark.parametrize("stored", [None, "int8"])
def test_the_command_writes_with_the_backbone_as_training_loads_it(
    published_tiny: Path, tmp_path: Path, config: ConstructConfig, stored: str | None
) -> None:
    if stored:
        pytest.importorskip("torchao")
    [clips] = config.clips
    place = published_tiny / "backbone"
    fields = {
        "clips": [{"path": str(clips.path), "root": "recordings"}],
        "backbone": str(place),
        "backbone_quantisation": stored,
        "dtype": "float32",
        "sampling": {"max_new_tokens": 4},
        "filters": [],
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(fields))
    run = CliRunner().invoke(app, ["construct", str(recipe), "--out", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output

    manifest = Manifest.read(tmp_path / "out")
    assert manifest is not None
    weights = "bfloat16 in int8" if stored else "bfloat16"
    assert manifest.revision == (
        f"fingerprint {fingerprint(place)} as {weights}, computed in float32"
    )
    assert manifest.num_kept == 12
