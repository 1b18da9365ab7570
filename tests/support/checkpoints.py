"""Changes to the configuration of a model directory."""

import json
from pathlib import Path


def change(directory: Path, **fields: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
