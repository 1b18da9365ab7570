"""Cache of a judge's replies on disk, by the content of the requests.

One reply a line, appended as it comes: nothing that was paid for is lost, and nothing asked twice,
by whatever run. Runs at the same time may share a file, so it is not locked as those of
`desta.lines` are, and a torn line is ended, not cut off: another run may be writing it.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.files import UNWRITABLE
from desta.generators.reasoning import separate
from desta.paths import check_output

log = logging.getLogger(__name__)

_NONE: Mapping[str, str] = {}


class Replies:
    """The replies in a file."""

    def __init__(self, path: Path) -> None:
        """Read the file, where there is one.

        Raises:
            DataError: it cannot be read.
            ConfigError: it is a folder, a pipe or a device.
        """
        check_output(path)
        self._path = path
        self._texts: dict[str, str] = {}
        try:
            lines = path.read_bytes().split(b"\n") if path.exists() else []
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error}", fix="name another cache") from error
        self._torn = bool(lines and lines[-1])
        damaged = 0
        for line in filter(None, lines):
            try:
                record = json.loads(line)
                _, reply = separate(record["reply"])  # from before it was kept apart
                if reply or not record["reply"]:
                    self._texts[record["key"]] = reply
            except (ValueError, KeyError, TypeError):
                damaged += 1
        if damaged:
            log.warning("%s: %d damaged lines; they are asked again", path, damaged)

    def get(self, key: str) -> str | None:
        """Return a reply, or None if it is not there."""
        return self._texts.get(key)

    def add(self, replies: Mapping[str, str], reasoning: Mapping[str, str] = _NONE) -> None:
        """Keep replies, so that they outlast a loss of power.

        Args:
            replies: key -> reply.
            reasoning: key -> what the judge wrote to itself before, where it did.
        """
        if not replies:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps(
                {"key": key, "reply": reply}
                | ({"reasoning": reasoning[key]} if key in reasoning else {}),
                ensure_ascii=False,
            )
            for key, reply in replies.items()
        ]
        text = ("\n" if self._torn else "") + "".join(f"{line}\n" for line in lines)
        with self._path.open("ab") as file:
            file.write(text.encode(errors=UNWRITABLE))
            file.flush()
            os.fsync(file.fileno())
        self._torn = False
        self._texts |= replies


def reply_key(**content: Any) -> str:
    """Return the hash of everything that a reply depends on."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
