"""A folder of rendered clips: kept, resumed, counted."""

import json
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from desta.audio import load_audio
from desta.errors import DataError
from desta.sources.rendered.folder import SILENT, Job, Renderer, interleave, render
from support.forks import Fork
from support.renderings import hum, jobs_of, make_hum, render_until_a_row_is_due


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def table_of(folder: Path) -> bytes:
    return (folder / "rendered.jsonl").read_bytes()


def test_clips_are_lossless_at_sixteen_kilohertz_and_in_the_table(tmp_path: Path) -> None:
    done = render(jobs_of(440), tmp_path, make_hum)

    [row] = map(json.loads, (tmp_path / "rendered.jsonl").read_text().splitlines())
    assert row == {
        "id": "hum/0", "audio": jobs_of(440)[0].audio, "seconds": 0.1, "hertz": 440, "dropped": ""
    }  # fmt: skip
    heard = load_audio(tmp_path / row["audio"])
    assert np.abs(heard - hum({"hertz": 440})[0]).max() < 1e-4
    assert (done.rendered, done.kept, done.seconds) == (1, 0, pytest.approx(0.1))


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    jobs = jobs_of(300, 400, 500, 600)
    calls = []

    def killed(facts: Mapping[str, Any]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(facts)
        return hum(facts)

    render(jobs, tmp_path / "whole", make_hum)
    with pytest.raises(KeyboardInterrupt):
        render(jobs, tmp_path / "killed", lambda: killed)
    with (tmp_path / "killed/rendered.jsonl").open("a") as file:
        file.write('{"id": "hum/2", "au')  # of a write that was cut off
    done = render(jobs, tmp_path / "killed", make_hum)

    assert (done.rendered, done.kept) == (2, 2)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_what_is_there_is_not_rendered_again(tmp_path: Path) -> None:
    render(jobs_of(300, 400), tmp_path, make_hum)

    def never(facts: Mapping[str, Any]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        raise AssertionError(facts)

    assert render(jobs_of(300, 400), tmp_path, lambda: never).kept == 2


def test_a_clip_of_other_facts_or_without_its_file_is_rendered_again(tmp_path: Path) -> None:
    render(jobs_of(300, 400, 500), tmp_path, make_hum)
    (tmp_path / jobs_of(300)[0].audio).unlink()

    done = render(jobs_of(300, 450, 500), tmp_path, make_hum)

    assert (done.rendered, done.kept) == (2, 1)
    rows = [json.loads(line) for line in (tmp_path / "rendered.jsonl").read_text().splitlines()]
    assert [row["hertz"] for row in rows] == [300, 450, 500]
    assert sorted(row["audio"] for row in rows) == [n for n in content(tmp_path) if "clips" in n]


def test_a_row_of_other_facts_is_not_taken_for_a_clip_that_is_there(tmp_path: Path) -> None:
    render(jobs_of(400), tmp_path, make_hum)
    before = (tmp_path / "rendered.jsonl").read_bytes()
    render(jobs_of(450), tmp_path, make_hum)
    (tmp_path / "rendered.jsonl").write_bytes(before)  # killed between the file and its row

    render(jobs_of(450), tmp_path, make_hum)

    assert json.loads((tmp_path / "rendered.jsonl").read_text())["hertz"] == 450


def test_a_run_that_is_killed_between_a_clip_and_its_row_leaves_every_clip_once_in_the_table(
    tmp_path: Path,
) -> None:
    changed = jobs_of(350, 450, 500)
    render(jobs_of(300, 400, 500), tmp_path / "killed", make_hum)
    killed = Fork(render_until_a_row_is_due, changed, tmp_path / "killed", 2)

    assert killed.wait() == -signal.SIGKILL, killed.stderr
    lines = (tmp_path / "killed/rendered.jsonl").read_text().splitlines()
    rows = {row["id"]: row for row in map(json.loads, lines)}
    assert sorted(row["hertz"] for row in rows.values()) == [350, 500]
    assert len(rows) == len(lines)
    assert (tmp_path / "killed" / changed[1].audio).exists()
    assert all((tmp_path / "killed" / row["audio"]).exists() for row in rows.values())

    done = render(changed, tmp_path / "killed", make_hum)

    assert (done.rendered, done.kept) == (1, 2)
    render(changed, tmp_path / "whole", make_hum)
    assert table_of(tmp_path / "killed") == table_of(tmp_path / "whole")


def test_a_table_that_holds_a_clip_twice_is_mended_before_anything_is_rendered(
    tmp_path: Path,
) -> None:
    render(jobs_of(300, 400), tmp_path, make_hum)
    whole = table_of(tmp_path)
    with (tmp_path / "rendered.jsonl").open("ab") as file:
        file.write(whole)

    seen = []

    def look(facts: Mapping[str, Any]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        seen.append(table_of(tmp_path))
        return hum(facts)

    render(jobs_of(300, 400, 500), tmp_path, lambda: look)

    assert seen == [whole]


def test_the_table_is_in_the_order_of_ids(tmp_path: Path) -> None:
    jobs = jobs_of(300, 400, 500)
    render(jobs, tmp_path / "forwards", make_hum)
    render(jobs[::-1], tmp_path / "backwards", make_hum)

    assert content(tmp_path / "forwards") == content(tmp_path / "backwards")


def test_clips_of_earlier_runs_stay_in_the_table(tmp_path: Path) -> None:
    first, second = jobs_of(300, 400)
    render([first], tmp_path, make_hum)
    render([second], tmp_path, make_hum)

    assert len((tmp_path / "rendered.jsonl").read_text().splitlines()) == 2


def test_what_cannot_be_rendered_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    done = render(jobs_of(300, 0, -1, 400, -2), tmp_path, make_hum)

    assert (done.rendered, done.skipped[SILENT].count) == (2, 1)
    assert done.skipped["fails with ValueError"].count == 2
    assert done.skipped["fails with ValueError"].example == "hum/2"
    summary = json.loads((tmp_path / "render.json").read_text())
    assert (summary["clips"], len(summary["skipped"])) == (2, 2)


def test_nothing_at_all_is_an_error_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=SILENT):
        render(jobs_of(0), tmp_path, make_hum)


def test_symbols_that_are_left_out_are_counted_by_clip(tmp_path: Path) -> None:
    jobs = [
        Job(id=f"hum/{n}", facts={"hertz": 300, "odd": odd}) for n, odd in enumerate(("", "qqx"))
    ]

    done = render(jobs, tmp_path, make_hum)

    assert {reason[-8:]: found.count for reason, found in done.dropped.items()} == {
        "(U+0071)": 1,
        "(U+0078)": 1,
    }


def test_processes_render_the_same_bytes(tmp_path: Path) -> None:
    jobs = jobs_of(300, 400, 500, 0)

    alone = render(jobs, tmp_path / "one", make_hum)
    together = render(jobs, tmp_path / "two", partial(make_hum), workers=2)

    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert alone == together


def test_two_commands_do_not_render_into_one_folder(tmp_path: Path) -> None:
    def nested(facts: Mapping[str, Any]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        render(jobs_of(400), tmp_path, make_hum)
        return hum(facts)

    with pytest.raises(DataError, match="being rendered into"):
        render(jobs_of(300), tmp_path, lambda: nested)


def test_what_is_missing_is_found_before_anything_is_changed(tmp_path: Path) -> None:
    def make() -> Renderer:
        raise DataError("no voices", fix="fetch them")

    render(jobs_of(400), tmp_path, make_hum)
    before = content(tmp_path)
    for workers in (1, 2):
        with pytest.raises(DataError, match="no voices"):
            render(jobs_of(300), tmp_path, make, workers=workers)
    assert content(tmp_path) == before


def test_groups_take_turns() -> None:
    first, second = jobs_of(1, 2, 3), jobs_of(4)

    assert interleave([first, second]) == [first[0], second[0], first[1], first[2]]
