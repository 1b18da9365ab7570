"""Following of instructions: strict and loose readings of an answer.

Strict: the answer as it is. Loose: any of eight readings, without its first line, its last line and
its asterisks, so that "Sure, here it is:" and bold type are forgiven.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from desta.config import suggest
from desta.errors import DataError
from desta.evaluation.ifeval.arguments import Arguments
from desta.evaluation.ifeval.checkers import CHECKERS, Predicate, Variant


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction of a question."""

    id: str
    """For example `length_constraints:number_words`."""
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Following:
    """Instructions that an answer followed, in order."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]
    drawn: tuple[str, ...]
    """Arguments that the question leaves out and that were drawn, as `instruction: argument`."""


def read_instructions(record: Mapping[str, Any]) -> tuple[Instruction, ...]:
    """Read `instruction_id_list` and `kwargs` of a question as IFEval publishes them.

    Raises:
        DataError: they are missing, of the wrong type, or not equally many.
    """
    ids, arguments = record.get("instruction_id_list"), record.get("kwargs")
    if (
        not isinstance(ids, list)
        or not isinstance(arguments, list)
        or len(ids) != len(arguments)
        or not all(isinstance(each, str) for each in ids)
        or not all(isinstance(each, dict) for each in arguments)
    ):
        raise DataError(
            f"question {record.get('id', record.get('key', '?'))!r}: `instruction_id_list` and "
            "`kwargs` are not lists of equal length",
            fix="take the question file of the benchmark as it was published",
        )
    return tuple(
        Instruction(id=name, arguments=values) for name, values in zip(ids, arguments, strict=True)
    )


def build(instruction: Instruction, variant: Variant, *, seed: str) -> tuple[Predicate, list[str]]:
    """Return the check of an instruction, and the arguments that had to be drawn for it.

    The draw hangs on the instruction and on `seed`, for example the id of the question.

    Raises:
        DataError: the instruction is unknown, or its arguments are wrong.
    """
    checkers = CHECKERS[variant]
    if instruction.id not in checkers:
        raise DataError(
            f'unknown instruction "{instruction.id}"', fix=suggest(instruction.id, list(checkers))
        )
    arguments = Arguments(instruction.id, instruction.arguments, seed=seed)
    check = checkers[instruction.id](arguments)
    arguments.check_all_read()
    return check, [f"{instruction.id}: {name}" for name in arguments.drawn]


def follow_strictly(
    instructions: Sequence[Instruction], answer: str, variant: Variant, *, seed: str
) -> tuple[bool, ...]:
    """Return for each instruction whether the answer as it is follows it; a blank one: none."""
    checks = [build(each, variant, seed=seed)[0] for each in instructions]
    return tuple(_holds(check, answer) for check in checks)


def follow(
    instructions: Sequence[Instruction], answer: str, variant: Variant, *, seed: str
) -> Following:
    """Return for each instruction whether the answer follows it, strictly and loosely."""
    built = [build(each, variant, seed=seed) for each in instructions]
    readings = _loose_readings(answer)
    return Following(
        strict=tuple(_holds(check, answer) for check, _ in built),
        loose=tuple(any(_holds(check, each) for each in readings) for check, _ in built),
        drawn=tuple(name for _, names in built for name in names),
    )


def _holds(check: Predicate, answer: str) -> bool:
    return bool(answer.strip()) and check(answer)


def _loose_readings(answer: str) -> list[str]:
    lines = answer.split("\n")
    cuts = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    readings = [answer, *cuts]
    return readings + [reading.replace("*", "") for reading in readings]
