"""What a stored result lacks of what its benchmark needs to score it and to count it."""

from collections.abc import Callable, Mapping

from desta.errors import DataError
from desta.evaluation.base import Result
from desta.evaluation.benchmarks.speech_ifeval import files as speech_ifeval_files
from desta.evaluation.benchmarks.voicebench.parse import REFERENCES, bbh_task
from desta.evaluation.benchmarks.voicebench.score import SUBSETS
from desta.evaluation.ifeval.following import read_instructions
from desta.schema import find_json_fault as find_fault_of_kind


def find_fault(benchmark: str, result: Result) -> str | None:
    """Return what is wrong, by its key; None if nothing is."""
    for name in _GROUPS.get(benchmark, ()):
        if name not in result.groups:
            return f"groups.{name} is missing"
    return _FAULTS[benchmark](result) if benchmark in _FAULTS else None


def _attributes(result: Result) -> str | None:
    for name, value in (("target", result.target), ("extracted", result.extracted)):
        if value not in (*result.choices, None):
            return f"{name} is {value!r}, which is none of the choices"
    return None


def _sakura(result: Result) -> str | None:
    options = result.record.get("options")
    if fault := find_fault_of_kind(options, dict[str, str], "record.options"):
        return fault
    if result.target[1:2] not in (options or {}):
        return f"target is {result.target!r}, which has no letter of record.options"
    return None


def _voicebench(result: Result) -> str | None:
    subset = SUBSETS.get(result.groups["subset"])
    if subset is None:
        return f"groups.subset is {result.groups['subset']!r}, which is no subset"
    for name in ("prompt", "id") if subset.kind == "bbh" else ("prompt",):
        if fault := find_fault_of_kind(result.record.get(name), str, f"record.{name}"):
            return fault
    if subset.kind == "bbh" and result.target.lower() not in REFERENCES:
        return f"target is {result.target!r}, which is none of {', '.join(REFERENCES)}"
    return _told_by(lambda: _voicebench_record(result, subset.kind))


def _voicebench_record(result: Result, kind: str) -> None:
    if kind == "bbh":
        bbh_task(result.record["id"])
    elif kind == "ifeval":
        given = result.record.get("kwargs")
        kept = [each or {} for each in given] if isinstance(given, list) else given
        read_instructions({**result.record, "kwargs": kept})


def _speech_ifeval(result: Result) -> str | None:
    section, _, line = result.id.partition("/")
    if section not in speech_ifeval_files.FILES or not (line.isascii() and line.isdigit()):
        return f"id is {result.id!r}, not a section and a line"
    return _told_by(lambda: speech_ifeval_files.read_item(result.id, result.record))


def _told_by(read: Callable[[], object]) -> str | None:
    try:
        read()
    except DataError as error:
        return f"record: {error.message}"
    return None


_GROUPS: Mapping[str, tuple[str, ...]] = {
    "attributes": ("task", "group"),
    "sakura": ("track", "hop"),
    "dynamic_superb": ("instance", "dimension"),
    "voicebench": ("subset",),
    "speech_ifeval": ("section", "dataset"),
}
_FAULTS: Mapping[str, Callable[[Result], str | None]] = {
    "attributes": _attributes,
    "sakura": _sakura,
    "voicebench": _voicebench,
    "speech_ifeval": _speech_ifeval,
}
