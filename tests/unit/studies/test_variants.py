"""What variants do to pairs and prompts."""

from dataclasses import replace
from pathlib import Path

import pytest

from desta.construction.prompts import load_pool
from desta.errors import ConfigError, DataError
from desta.records import NO_TRANSCRIPTION, AudioRef, AudioTextPair, Message
from desta.shards import ShardWriter
from desta.studies.pairs import Budget, choose, read_pairs, write_pairs
from desta.studies.prompts import draw_prompts, write_prompts
from desta.studies.recipe import Base
from desta.studies.targets import FromAttributes
from desta.studies.transcription import Noise
from desta.studies.variant import Change
from support.studies import PROMPTS, write_base

WORDS = " ".join(f"word{n}" for n in range(200))


def pair(id: str, prompt: str = "Which language is it?", text: str = "some words") -> AudioTextPair:
    content = "<start_audio><|AUDIO|><end_audio>"
    turn = Message(role="user", content=content, audios=(AudioRef(audio="a.wav", text=text),))
    return AudioTextPair(
        id=id,
        dataset="d",
        seed_description="[00:00-00:02] (Language: French, Gender: Female, Duration: 2s)",
        prompt=prompt,
        response=f"response of {id}",
        messages=(turn,),
    )


def heard(pair: AudioTextPair) -> str:
    return str(pair.messages[0].audios[0].text)


@pytest.fixture
def base(tmp_path: Path, published_tiny: Path) -> Base:
    return Base.load(write_base(tmp_path, published_tiny))


def test_sentences_and_labels_hold_what_was_asked_for_or_all_that_is_known(base: Base) -> None:
    said = {
        (form, prompt): FromAttributes(form=form, prompts=base.construct.prompts)(
            pair("a", prompt)
        ).response
        for form in ("sentences", "labels")
        for prompt in ("Which language is it?", "Describe it.")
    }
    assert said == {
        ("sentences", "Which language is it?"): "The language is French.",
        ("sentences", "Describe it."): "The language is French. The gender is Female.",
        ("labels", "Which language is it?"): "French",
        ("labels", "Describe it."): "French, Female",
    }


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_so_many_words_are_dropped_or_changed(rate: float) -> None:
    change = Noise(rate=rate)
    spoiled = [heard(change(pair(f"{n}", text=WORDS))).split() for n in range(20)]
    assert spoiled[0] == heard(change(pair("0", text=WORDS))).split(), "drawn by the id"
    num_words = sum(map(len, spoiled)) / 20
    assert num_words == pytest.approx(200 * (1 - rate / 2), rel=0.05)
    kept = [len({*words} & {*WORDS.split()}) for words in spoiled]
    assert sum(kept) / 20 < 200 * (1 - rate / 2.5)
    assert all({*words} <= {*WORDS.split()} for words in spoiled)


def test_a_text_without_spaces_is_spoiled_by_its_characters() -> None:
    text = "村里没有人记得那棵歪脖子树是谁种的" * 10
    spoiled = [heard(Noise(rate=0.3)(pair(f"{n}", text=text))) for n in range(20)]
    assert sum(map(len, spoiled)) / 20 == pytest.approx(len(text) * 0.85, rel=0.05)
    assert not any(" " in words for words in spoiled)


def test_a_word_is_never_changed_into_itself() -> None:
    spoiled = [heard(Noise(rate=0.3)(pair(f"{n}", text="no no no no"))) for n in range(200)]
    num_words = sum(len(text.split()) for text in spoiled if text != NO_TRANSCRIPTION)
    assert num_words / 800 == pytest.approx(0.7, abs=0.05), "no other word: all are dropped"


def test_at_rate_one_nothing_is_left_but_the_response() -> None:
    changed = Noise(rate=1.0)(pair("a"))
    assert heard(changed) == NO_TRANSCRIPTION
    assert replace(changed, messages=pair("a").messages) == pair("a")


def test_few_prompts_lie_in_the_more_and_the_one_describes(base: Base) -> None:
    drawn = {count: draw_prompts(base.construct, count) for count in (1, 2, 3, 100)}
    texts = {count: [p.text for p in pools["speech"]] for count, pools in drawn.items()}
    assert [len(each) for each in texts.values()] == [1, 2, 3, 4]
    assert texts[1] == texts[2][:1] == texts[3][:1]
    assert {*texts[2]} < {*texts[3]} < {*texts[100]}
    assert drawn[1]["speech"][0].kind == "describe"


def test_written_pools_are_read_back_as_they_were_drawn(base: Base, tmp_path: Path) -> None:
    write_prompts(base.construct, 3, tmp_path / "few")
    for domain, prompts in draw_prompts(base.construct, 3).items():
        assert {*load_pool(domain, tmp_path / "few")} == {*prompts}


def test_prompts_that_suit_no_clip_are_not_drawn(base: Base) -> None:
    pool = base.construct.prompts
    assert pool is not None
    text = PROMPTS["speech"] + "[ask Emotion]\nWhich emotion is it?\n"
    (pool / "speech.txt").write_text(text)
    assert all("Emotion" not in p.needs for p in draw_prompts(base.construct, 100)["speech"])
    (pool / "speech.txt").write_text("[ask Language]\nWhich language is it?\n")
    with pytest.raises(ConfigError, match="no prompt of the pool speech asks for a description"):
        draw_prompts(base.construct, 1)


def test_only_pairs_that_all_have_are_chosen_and_those_of_a_clip_together(tmp_path: Path) -> None:
    ids = [f"clip{n}#{m}" for n in range(20) for m in range(2)]
    for name, left_out in (("one", {"clip3#0"}), ("two", {"clip4#1", "clip5#0", "clip5#1"})):
        (tmp_path / name).mkdir()
        writer = ShardWriter(tmp_path / name, rows_per_shard=7)
        for id in ids:
            if id not in left_out:
                writer.add(pair(id))
        writer.close()
    folders = [tmp_path / "one", tmp_path / "two"]

    chosen = choose(folders, 20)

    assert len({*chosen}) == 20
    clips = [id.partition("#")[0] for id in chosen]
    assert len({*clips}) <= 12, "pairs of a clip come together"
    assert {*choose(folders, 36)} == {*ids} - {"clip3#0", "clip4#1", "clip5#0", "clip5#1"}
    assert choose(folders, 10) == chosen[:10]
    with pytest.raises(DataError, match="36 pairs in common, and the study trains on 37") as caught:
        choose(folders, 37)
    assert "pairs=36" in caught.value.fix


def test_written_pairs_are_the_chosen_ones_changed_with_their_budget(
    tmp_path: Path, published_tiny: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(published_tiny / "backbone")
    (tmp_path / "all").mkdir()
    writer = ShardWriter(tmp_path / "all", rows_per_shard=9)
    for id in ("x#0", "y#0", "z#0"):
        writer.add(pair(id))
    writer.close()
    change: Change = FromAttributes(form="labels", prompts=None)

    def budget(change: Change | None) -> Budget:
        return write_pairs(
            tmp_path / "all",
            tmp_path / "out",
            ["z#0", "x#0"],
            change=change,
            tokenizer=tokenizer,
            audio_root=published_tiny,
        )

    before = budget(None)
    assert [p.id for p in read_pairs(tmp_path / "out")] == ["x#0", "z#0"]
    found = budget(change)
    assert [p.response for p in read_pairs(tmp_path / "out")] == ["French, Female"] * 2
    assert found == Budget.read(tmp_path / "out")
    assert (found.pairs, found.clips) == (2, 1)
    assert found.seconds == before.seconds > 0
    assert found.target_tokens != before.target_tokens
