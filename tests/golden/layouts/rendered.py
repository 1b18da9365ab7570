"""Rendered clips: the table of what each was rendered from."""

import json
from pathlib import Path

from corpora import NOT_WHOLE, Corpus, record, write

ROWS = (
    {"id": "af_heart/en-000", "voice": "af_heart", "text": "The keys are on the shelf."},
    {"id": "em_santa/es-031", "voice": "em_santa", "text": "De pronto, la puerta se abrió."},
    {
        "id": "fluidr3/note-0000",
        "font": "fluidr3",
        "parts": [{"program": 40, "notes": [[0.0, 1.0, 69, 90]]}],
    },
    {
        "id": "timgm6mb/note-0001",
        "font": "timgm6mb",
        "parts": [{"program": 116, "notes": [[0.0, 1.0, 50, 90]]}],
    },
    {
        "id": "musescore/pair-0000",
        "font": "musescore",
        "parts": [{"program": 0, "notes": [[0.0, 0.6, 60, 90], [0.7, 0.6, 55, 90]]}],
    },
    {
        "id": "timgm6mb/pair-0001",
        "font": "timgm6mb",
        "parts": [{"program": 16, "notes": [[0.0, 0.6, 60, 90], [0.7, 0.6, 72, 90]]}],
    },
    {
        "id": "timgm6mb/note-0002",
        "font": "timgm6mb",
        "parts": [{"program": 78, "notes": [[0.0, 1.0, 89, 90]]}],
    },
    {
        "id": "sonivox/note-0003",
        "font": "sonivox",
        "parts": [{"program": 14, "notes": [[0.0, 1.0, 62, 90]]}],
    },
    {
        "id": "fluidr3/tune-0000",
        "font": "fluidr3",
        "bpm": 150,
        "parts": [
            {"program": 73, "notes": [[0.0, 0.4, 72, 90]]},
            {"program": 33, "notes": [[0.0, 0.4, 36, 90]]},
        ],
    },
    {"id": "nobody/en-000", "voice": "nobody", "text": "Who speaks?"},
)


def make_rendered(root: Path) -> None:
    rows = [{**row, "audio": f"clips/{row['id']}-0.flac"} for row in ROWS]
    record(root, *(row["audio"] for row in rows))
    write(root, "rendered.jsonl", *(json.dumps(row, ensure_ascii=False) for row in rows))


CORPORA = {"rendered": Corpus(build=make_rendered, needed=("rendered.jsonl",), left={NOT_WHOLE: 1})}
