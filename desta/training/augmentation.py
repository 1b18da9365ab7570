"""Check of a recipe's augmentation against the data, before the first step."""

import logging
from collections import Counter
from itertools import islice

from desta.audio.augment.codecs import check_codecs
from desta.audio.augment.config import KINDS, AugmentConfig
from desta.data.dataset import PairDataset
from desta.data.protected import changing_kinds, unknown_attributes
from desta.records import AudioTextPair

log = logging.getLogger(__name__)

_SAMPLE = 512  # pairs that are looked at


def check_augmentation(config: AugmentConfig, rows: PairDataset) -> None:
    """Try the codecs, and log how many pairs may get each kind.

    Raises:
        ConfigError: a codec cannot be encoded here.
    """
    if config.codec is not None:
        check_codecs(config.codec.names)
    first = (rows[row] for row in range(len(rows)))
    pairs = [pair for pair in islice(first, _SAMPLE) if isinstance(pair, AudioTextPair)]
    ruled_out = Counter(kind for pair in pairs for kind in changing_kinds(pair, config.changes))
    unknown = Counter(
        name for pair in pairs for name in set(unknown_attributes(pair, config.changes))
    )
    allowed = ", ".join(
        f"{kind} {len(pairs) - ruled_out[kind]}"
        for kind in KINDS
        if getattr(config, kind) is not None
    )
    log.info("augmentation: of the first %d pairs may get %s", len(pairs), allowed or "nothing")
    for name, count in unknown.most_common():
        log.warning(
            'augmentation: the attribute "%s" of %d pairs is not known, so they get none; '
            "list it in data.augment.changes with the kinds that change it, or none",
            *(name, count),
        )
