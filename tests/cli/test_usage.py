"""A command line that cannot be read, the order of the help, and what a shell completes."""

import os
import sys
from collections.abc import Sequence

import pytest
import typer

from desta import cli
from desta.cli.app import app
from desta.cli.usage import STAGES
from support.commands import desta, run_afresh, run_desta

COMMAND = typer.main.get_command(app)
VERBS = [verb for verbs in STAGES.values() for verb in verbs]

MISTAKES = {
    "trian": ("there is no command `desta trian`", "did you mean `desta train`?"),
    "foo": ("there is no command `desta foo`", "`desta --help` lists the commands"),
    "benchmarks mmau": ("no command `desta benchmarks mmau`", "`desta benchmarks show mmau`"),
    "sources tuxpaint": ("no command `desta sources tuxpaint`", "`desta sources show tuxpaint`"),
    "models verfy": ("no command `desta models verfy`", "did you mean `desta models verify`?"),
    "eval mmau --modle x": ("there is no option --modle", "did you mean --model?"),
    "--verbos train": ("there is no option --verbos", "did you mean --verbose?"),
    "chat -q": ("there is no option -q", "`desta chat --help` lists the options"),
    "evaluate mmau": ("there is no command `desta evaluate`", "did you mean `desta eval`?"),
    "ask clip.wav --temp 1": ("there is no option --temp", "did you mean --temperature?"),
    "train r.yaml --steps 9": ("there is no option --steps", "`desta train --help` lists the"),
    "train r.yaml --seed 9": ("there is no option --seed", "`desta train --help` lists the"),
    "eval mmau --limit": ("option '--limit' requires an argument", "see `desta eval --help`"),
    "--verbose=x train": ("option '--verbose' does not take a value", "see `desta --help`"),
    "models plan --set": ("option '--set' requires an argument", "see `desta models plan --help`"),
    "eval mmau --limit x": ("invalid value for '--limit'", "see `desta eval --help`"),
    "train": ("missing argument 'RECIPE'", "desta train [OPTIONS] RECIPE"),
    "describe meld": ("missing argument 'ROOT'", "desta describe [OPTIONS] SOURCE ROOT"),
    "describe meld corpora": ("missing option '--out'", "desta describe --help"),
    "answer in.jsonl": ("missing argument 'OUT'", "desta answer [OPTIONS] IN OUT"),
    "eval mmau mmar": ("unexpected extra argument", "desta eval [OPTIONS] BENCHMARK"),
}


def end(monkeypatch: pytest.MonkeyPatch, words: Sequence[str]) -> int:
    """Return the exit code of the program, run here as a shell runs it."""
    monkeypatch.setattr(sys, "argv", ["desta", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_sentence_and_a_fix(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end(monkeypatch, line.split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    error, fix = told.err.splitlines()
    assert error.startswith("error: ")
    assert fix.startswith("  fix: ")
    for part, words in zip((error, fix), MISTAKES[line], strict=True):
        assert words in part


def test_a_shell_sees_a_mistake_as_every_other_error() -> None:
    done = run_afresh("benchmarks", "mmau")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no command `desta benchmarks mmau`\n  fix: ")


@pytest.mark.parametrize("words", [[], ["models"]])
def test_without_a_verb_the_help_is_printed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end(monkeypatch, words) == 2
    told = capsys.readouterr()
    assert "Usage: " in told.out
    assert told.err == ""


def test_help_lists_every_verb_by_its_stage() -> None:
    assert sorted(VERBS) == sorted(COMMAND.commands)  # type: ignore[attr-defined]
    text = desta("--help").stdout
    rows = [line.strip("│╭─╮ ").split(" ")[0] for line in text.splitlines() if line[:1] in "│╭"]
    shown = [word for word in rows if word in (*VERBS, *STAGES)]
    assert shown == [word for stage, verbs in STAGES.items() for word in (stage, *verbs)]


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_neither_types_of_flags_nor_braces(verb: str) -> None:
    text = desta(verb, "--help").stdout
    for noise in ("<bool>", "{", "list["):
        assert noise not in text.replace('{"audios"', "")


def test_a_shell_completes_verbs_options_and_names() -> None:
    for line, expected in (
        ("desta tr", "train"),
        ("desta chat --quant", "--quantize"),
        ("desta eval saku", "sakura"),
        ("desta benchmarks show voiceb", "voicebench"),
        ("desta score mma", "mmar mmau"),
        ("desta score sakura saku", ""),  # a file, which the shell knows
        ("desta compare a b --benchmark saku", "sakura"),
        ("desta describe cust", "custom"),
        ("desta sources show dailyt", "dailytalk"),
        ("desta sources fetch dailyt", "dailytalk"),
    ):
        words = {"_DESTA_COMPLETE": "complete_bash", "COMP_WORDS": line}
        asked = os.environ | words | {"COMP_CWORD": str(line.count(" "))}
        assert run_desta(env=asked).stdout.split() == expected.split()
