"""The pairs that all variants have: equal budgets by construction.

A filter drops other responses of every writer. So that variants are trained on the same clips and
prompts, only pairs that all of them have are used; of these, whole clips are drawn by lot.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from desta import audio
from desta.errors import DataError
from desta.files import write_atomic, write_json
from desta.model.backbone.chat import encode_text
from desta.records import AudioTextPair, read_jsonl
from desta.schema import read_json
from desta.shards import shard_paths
from desta.studies.variant import Change

BUDGET = "budget.json"
_SHARD = "audio-00000.jsonl"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Training data of a variant; within a study all but `target_tokens` is equal."""

    pairs: int
    clips: int
    seconds: float
    """Of audio, of all pairs together."""
    target_tokens: int
    """Tokens of the responses with their end tokens, in the vocabulary of the trained backbone."""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the budget of a folder; None if its pairs were not written yet."""
        path = folder / BUDGET
        again = f"delete {folder}; the same command writes it again"
        return cls(**read_json(path, cls, fix=again)) if path.is_file() else None


def choose(folders: Sequence[Path], count: int) -> list[str]:
    """Return the ids of pairs that all data sets have, drawn by lot, those of a clip together.

    Raises:
        DataError: they have fewer in common.
    """
    common = set.intersection(*({pair.id for pair in read_pairs(each)} for each in folders))
    if len(common) < count:
        raise DataError(
            f"the variants have {len(common)} pairs in common, and the study trains on {count}",
            fix=f"give --set pairs={len(common)}, more clips, or more prompts a clip",
        )
    return sorted(common, key=lambda id: (draw_lot(_clip(id)), id))[:count]


def write_pairs(
    source: Path,
    out: Path,
    chosen: Sequence[str],
    *,
    change: Change | None,
    tokenizer: Any,
    audio_root: Path,
) -> Budget:
    """Write the chosen pairs of a data set, changed, and what they cost.

    Args:
        source: the data set.
        out: folder for a shard and `budget.json`, which is written last.
        chosen: ids.
        change: change of every pair; None for none.
        tokenizer: that of the backbone to be trained.
        audio_root: folder that the paths of the clips are relative to.
    """
    wanted = set(chosen)
    pairs = [pair for pair in read_pairs(source) if pair.id in wanted]
    if change is not None:
        pairs = [change(pair) for pair in pairs]
    out.mkdir(parents=True, exist_ok=True)
    lines = [f"{_json(pair)}\n" for pair in pairs]
    write_atomic(out / _SHARD, "".join(lines).encode())
    heard = [audio_root / ref.audio for pair in pairs for m in pair.messages for ref in m.audios]
    seconds = {path: _seconds(path) for path in set(heard)}
    budget = Budget(
        pairs=len(pairs),
        clips=len(seconds),
        seconds=round(sum(seconds[path] for path in heard), 3),
        target_tokens=sum(len(encode_text(tokenizer, pair.response)) + 1 for pair in pairs),
    )
    write_json(out / BUDGET, asdict(budget))
    return budget


def read_pairs(folder: Path) -> Iterator[AudioTextPair]:
    """Yield the pairs of a data set."""
    for path in shard_paths(folder):
        yield from map(AudioTextPair.from_json, read_jsonl(path))


def _json(pair: AudioTextPair) -> str:
    return json.dumps(pair.to_json(), ensure_ascii=False)


def _seconds(path: Path) -> float:
    try:
        return audio.probe_duration(path)
    except audio.AudioError:  # training skips it, with its reason
        return 0.0


def _clip(id: str) -> str:
    return id.rpartition("#")[0] or id


def draw_lot(text: str) -> str:
    """Return a text whose place in an order is that of a lot."""
    return hashlib.sha256(text.encode()).hexdigest()
