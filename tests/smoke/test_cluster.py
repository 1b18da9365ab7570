"""Construction on Ray: the bytes of the local run, however many workers there are and whoever dies.

The scripted engine notes every request that it answers: what was asked twice can be counted.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from desta.construction.cluster import construct_on_cluster
from desta.construction.cluster_config import ClusterConfig, check_room, per_worker
from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.pipeline import construct
from desta.errors import ConfigError, DataError, UnavailableError
from desta.generators.base import OnOutcome, Outcome, Refusal, as_text
from desta.generators.config import LocalEngine, OpenAIEngine, VllmEngine
from desta.generators.scripted import ScriptedGenerator
from desta.model.backbone.sampling import Sampling
from desta.records import Clip, Message
from desta.shards import RESPONSES, Manifest
from support.construction import contents

BATCH = 4


class Picky(ScriptedGenerator):
    """Refuses some requests for good, and is down after two of a batch where a file says so."""

    def __init__(self, notes: Path, seconds: float) -> None:
        super().__init__(partial(speak, notes=notes, seconds=seconds))
        self._down = notes.with_name("down")

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for messages, seed in zip(conversations, seeds, strict=True):
            if len(outcomes) == 2 and self._down.exists():
                raise UnavailableError("the endpoint died", fix="start it")
            [outcome] = super().complete([messages], sampling, seeds=[seed])
            content = as_text(messages[-1])
            if hashlib.sha256(content.encode()).hexdigest() > "e":
                outcome = Refusal(reason="refused: 400", message=f"400 {len(content)} characters")
            outcomes.append(outcome)
            if on_outcome is not None:
                on_outcome(len(outcomes) - 1, outcome)
        return outcomes


def speak(content: str, *, notes: Path, seconds: float) -> str:
    """Answer, and note by which process; a quarter is empty."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    if notes.with_name("poison").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    with notes.open("a") as file:
        file.write(f"{os.getpid()} {digest}\n")
    return "" if digest < "4" else f"I hear {digest}."


def load(notes: Path, seconds: float = 0.0) -> ScriptedGenerator:
    return Picky(notes, seconds)


def refuse() -> ScriptedGenerator:
    raise DataError("the endpoint is down", fix="start it")


def other_files(notes: Path) -> ScriptedGenerator:
    """Be another backbone in every process but the one that is asked first."""
    first = notes.with_name("first")
    generator = load(notes)
    if first.exists():
        generator.revision = "2"
    first.touch()
    return generator


def recipe(folder: Path, **changes: Any) -> ConstructConfig:
    values: dict[str, Any] = {
        "clips": (ClipsConfig(path=folder / "clips.jsonl", root=folder, prompts_per_clip=3),),
        "backbone": "scripted",
        "sampling": Sampling(temperature=0.05),
        "filters": ("empty", "cut_off"),
        "batch_size": BATCH,
        "shard_rows": 29,
    }
    return ConstructConfig(**{**values, **changes})


def asked(notes: Path) -> list[str]:
    return [line.split()[1] for line in notes.read_text().splitlines()] if notes.exists() else []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    clips = [
        Clip(
            id=f"c/{number}",
            source="c",
            audio=f"{number}.wav",
            duration=1.0 + number,
            domain="sound",
            attributes={"Sound class": f"Thing {number % 7}"},
        )
        for number in range(40)
    ]
    lines = [json.dumps(clip.to_json()) + "\n" for clip in clips]
    (folder / "clips.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """The data set of a local run."""
    construct(recipe(folder), folder / "whole", load(folder / "whole.notes"))
    return folder / "whole"


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    ray = pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    pytest.importorskip("ray.data")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=100 << 20,
        log_to_driver=False,
        logging_level="warning",
    )
    yield
    ray.shutdown()


# -- without Ray ----------------------------------------------------------------------------------


def machine(**resources: float) -> dict[str, Any]:
    return {"Alive": True, "Resources": resources}


def test_workers_that_have_no_room_are_refused() -> None:
    check_room([machine(CPU=2)], ClusterConfig(workers=2))
    with pytest.raises(ConfigError, match="3 workers need a CPU each, and the cluster has 2"):
        check_room([machine(CPU=1), machine(CPU=1)], ClusterConfig(workers=3))
    dead = {**machine(CPU=8), "Alive": False}
    with pytest.raises(ConfigError, match="cluster has 1"):
        check_room([machine(CPU=1), dead], ClusterConfig(workers=2))


def test_a_worker_of_two_gpus_finds_no_room_on_two_machines_of_one() -> None:
    two = ClusterConfig(workers=1, gpus_per_worker=2)
    check_room([machine(CPU=8, GPU=2)], two)
    with pytest.raises(ConfigError, match="need 2 GPU each, and the cluster has room for 0"):
        check_room([machine(CPU=8, GPU=1), machine(CPU=8, GPU=1)], two)


def test_no_worker_is_refused() -> None:
    with pytest.raises(ConfigError, match="workers = 0"):
        ClusterConfig(workers=0)


@pytest.mark.ray
def test_an_address_where_nobody_listens_is_told_at_once(folder: Path) -> None:
    pytest.importorskip("ray.data", reason="the extra `cluster` is not installed")
    cluster = ClusterConfig(address="127.0.0.1:1")
    with pytest.raises(ConfigError, match="no Ray cluster at 127.0.0.1:1"):
        construct_on_cluster(recipe(folder), folder / "nowhere", refuse, cluster)


def test_workers_share_the_rates_of_an_endpoint_and_take_gpus_of_their_own(folder: Path) -> None:
    limits = {"requests_per_minute": 600.0, "tokens_per_minute": None}
    engine = OpenAIEngine(base_url="http://localhost:1/v1", **limits)
    config, cluster = per_worker(recipe(folder, engine=engine), "local", 3)
    assert isinstance(config.engine, OpenAIEngine)
    assert config.engine.requests_per_minute == 200
    assert config.engine.tokens_per_minute is None
    assert cluster.gpus_per_worker == 0

    config = recipe(folder, engine=VllmEngine(num_gpus=2))
    assert per_worker(config, "auto", 3)[1].gpus_per_worker == 2
    config = recipe(folder, engine=LocalEngine(device="cuda"))
    assert per_worker(config, "auto", 3)[1].gpus_per_worker == 1
    with pytest.raises(ConfigError, match="every worker has its own"):
        per_worker(recipe(folder, engine=LocalEngine(device="cuda:1")), "auto", 3)


# -- on Ray ---------------------------------------------------------------------------------------


@pytest.mark.ray
@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_writes_the_bytes_of_the_local_run(
    folder: Path, whole: Path, workers: int
) -> None:
    out, notes = folder / f"by-{workers}", folder / f"by-{workers}.notes"
    cluster = ClusterConfig(workers=workers)
    construct_on_cluster(recipe(folder), out, partial(load, notes), cluster)
    assert contents(out) == contents(whole)
    assert sorted(asked(notes)) == sorted(asked(folder / "whole.notes"))


@pytest.mark.ray
@pytest.mark.usefixtures("_ray")
def test_another_recipe_asks_only_for_what_is_new(folder: Path, whole: Path) -> None:
    out, notes = folder / "again", folder / "again.notes"
    shutil.copytree(whole, out)
    construct_on_cluster(
        recipe(folder, filters=("empty",)), out, partial(load, notes), ClusterConfig(workers=2)
    )
    assert asked(notes) == []
    assert contents(out) != contents(whole)


@pytest.mark.ray
@pytest.mark.usefixtures("_ray")
def test_a_corpus_that_joins_is_all_that_is_asked(
    tmp_path: Path, folder: Path, whole: Path
) -> None:
    lines = (folder / "clips.jsonl").read_text().replace('"c', '"d').replace("Thing", "Other thing")
    (tmp_path / "clips.jsonl").write_text(lines)
    joined = ClipsConfig(path=tmp_path / "clips.jsonl", root=tmp_path)
    both = recipe(folder, clips=(joined, *recipe(folder).clips))
    out, notes = tmp_path / "out", tmp_path / "notes"
    shutil.copytree(whole, out)
    # the corpus of which nothing is left to ask is planned long before the other is answered
    construct_on_cluster(both, out, partial(load, notes, 0.1), ClusterConfig(workers=2))
    assert len(set(asked(notes))) == len(asked(notes)) == 40
    construct(both, tmp_path / "local", load(tmp_path / "local.notes"))
    assert contents(out) == contents(tmp_path / "local")


@pytest.mark.ray
@pytest.mark.usefixtures("_ray")
def test_answers_of_a_batch_that_ends_early_are_kept(tmp_path: Path, folder: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    run = partial(
        construct_on_cluster, recipe(folder), out, partial(load, notes), ClusterConfig(workers=1)
    )
    notes.with_name("down").touch()
    with pytest.raises(UnavailableError, match="the endpoint died"):
        run()
    for line in notes.read_text().splitlines():
        with contextlib.suppress(ProcessLookupError):  # a worker that ends may answer once more
            while os.kill(int(line.split()[0]), 0) is None:
                time.sleep(0.1)
    with contextlib.closing(sqlite3.connect(out / RESPONSES)) as journal:
        [[kept]] = journal.execute(
            "SELECT count(*) FROM (SELECT key FROM responses UNION SELECT key FROM refusals)"
        )
    assert kept == 2
    notes.with_name("down").unlink()
    notes.unlink()
    manifest = run()
    assert manifest.dropped["refused: 400"].count > 0
    construct(recipe(folder), tmp_path / "local", load(tmp_path / "local.notes"))
    assert contents(out) == contents(tmp_path / "local")
    assert len(asked(notes)) == len(asked(tmp_path / "local.notes")) - kept


@pytest.mark.ray
@pytest.mark.usefixtures("_ray")
def test_a_killed_worker_costs_its_batch(folder: Path, whole: Path) -> None:
    out, notes = folder / "killed-worker", folder / "killed-worker.notes"

    def kill() -> None:
        while len(asked(notes)) < 20:
            time.sleep(0.02)
        os.kill(int(notes.read_text().split("\n")[-2].split()[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    construct_on_cluster(recipe(folder), out, partial(load, notes, 0.02), ClusterConfig(workers=2))
    killer.join()
    assert contents(out) == contents(whole)
    expected = asked(folder / "whole.notes")
    assert set(asked(notes)) == set(expected)
    assert len(asked(notes)) - len(expected) <= BATCH


@pytest.mark.ray
@pytest.mark.usefixtures("_ray")
def test_a_killed_driver_goes_on_where_the_journal_ends(folder: Path, whole: Path) -> None:
    out, notes = folder / "killed-driver", folder / "killed-driver.notes"
    child = subprocess.Popen(
        [sys.executable, __file__, str(folder), str(out), str(notes)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )
    while len(asked(notes)) < 30:
        assert child.poll() is None
        time.sleep(0.02)
    child.kill()
    child.wait()
    before: list[str] = []
    while before != asked(notes):  # its workers end
        before = asked(notes)
        time.sleep(0.5)
    expected = asked(folder / "whole.notes")
    assert len(before) < len(expected)
    with contextlib.closing(sqlite3.connect(out / RESPONSES)) as journal:
        [[journalled]] = journal.execute(
            "SELECT count(*) FROM (SELECT key FROM responses UNION SELECT key FROM refusals)"
        )
    assert journalled >= BATCH
    assert Manifest.read(out) is None

    construct_on_cluster(recipe(folder), out, partial(load, notes), ClusterConfig(workers=3))
    assert contents(out) == contents(whole)
    assert len(asked(notes)) - len(before) == len(expected) - journalled


@pytest.mark.ray
@pytest.mark.usefixtures("_ray")
def test_rows_are_answered_anew(folder: Path, whole: Path) -> None:
    config = recipe(folder, clips=(), regenerate=whole, batch_size=BATCH)
    construct(config, folder / "anew", load(folder / "anew.notes"))
    notes = folder / "anew-by-2.notes"
    construct_on_cluster(
        config, folder / "anew-by-2", partial(load, notes), ClusterConfig(workers=2)
    )
    assert contents(folder / "anew-by-2") == contents(folder / "anew")


@pytest.mark.ray
@pytest.mark.usefixtures("_ray")
def test_what_is_wrong_with_an_engine_is_told_as_it_is_locally(folder: Path) -> None:
    with pytest.raises(DataError, match="the endpoint is down") as told:
        construct_on_cluster(recipe(folder), folder / "down", refuse, ClusterConfig(workers=2))
    assert told.value.fix == "start it"

    notes = folder / "other.notes"
    with pytest.raises(DataError, match="a worker holds 2, and another 1"):
        construct_on_cluster(
            recipe(folder), folder / "other", partial(other_files, notes), ClusterConfig(workers=2)
        )


@pytest.mark.ray
@pytest.mark.usefixtures("_ray")
def test_a_batch_that_kills_every_worker_ends_the_run(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "poison").touch()
    with pytest.raises(DataError, match="a batch was given up"):
        construct_on_cluster(
            recipe(folder),
            tmp_path / "out",
            partial(load, tmp_path / "n"),
            ClusterConfig(workers=1),
        )


if __name__ == "__main__":
    folder, out, notes = map(Path, sys.argv[1:])
    construct_on_cluster(recipe(folder), out, partial(load, notes, 0.02), ClusterConfig(workers=2))
