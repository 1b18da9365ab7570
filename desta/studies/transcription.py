"""Study `transcription`: does the model learn to hear if the words of a clip are given?"""

import random
from dataclasses import dataclass, replace

from desta.evaluation.systems import CASCADE
from desta.records import NO_TRANSCRIPTION, AudioTextPair, with_audios
from desta.studies.recipe import Base
from desta.studies.variant import Family, Variant, variant

RATES = (0.1, 0.3)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Transcriptions with errors: words are dropped, or changed into other words of the same pair.

    Of text without spaces, such as Japanese, the characters are the words. A word that has no other
    is dropped.

    What the response says stays: the backbone read the description without errors.
    """

    rate: float
    """Share of words with an error, half of them dropped; 1 withholds all."""

    def __call__(self, pair: AudioTextPair) -> AudioTextPair:
        """Return the pair with errors that its id determines."""
        draw = random.Random(f"{self.rate} {pair.id}")  # noqa: S311  no secret
        refs = [ref for message in pair.messages for ref in message.audios]
        texts = [self._spoil(ref.text or "", draw) for ref in refs]
        changed = [
            replace(ref, text=text or NO_TRANSCRIPTION)
            for ref, text in zip(refs, texts, strict=True)
        ]
        return replace(pair, messages=with_audios(pair.messages, changed))

    def _spoil(self, text: str, draw: random.Random) -> str:
        space, words = " ", text.split()
        if len(words) == 1 and not text.isascii():
            space, words = "", list(words[0])
        kept = []
        for word in words:
            others = [other for other in words if other != word]
            if draw.random() >= self.rate:
                kept.append(word)
            elif others and self.rate < 1 and draw.random() < 0.5:
                kept.append(draw.choice(others))
        return space.join(kept)


def variants(base: Base) -> list[Variant]:
    """Return what the model is told of the words of training clips."""
    given = replace(base.construct, withhold=0.0)
    return [
        variant(base, "given", "every transcription is given", construct=given),
        variant(base, "withheld", "none is given", construct=given, change=Noise(rate=1.0)),
        *(
            variant(
                base,
                f"noisy-{rate:.0%}".removesuffix("%"),
                f"{rate:.0%} of their words dropped or changed",
                construct=given,
                change=Noise(rate=rate),
            )
            for rate in RATES
        ),
        variant(
            base,
            "cascade",
            "no connector: the backbone reads what the recogniser writes",
            construct=given,
            system=CASCADE,
        ),
    ]


FAMILY = Family(
    name="transcription",
    title="Are transcriptions given in training?",
    expected=(
        "With every transcription given, the model leans on the words and hears less beside them; "
        "withheld ones make it listen; a cascade knows nothing but the words."
    ),
    variants=variants,
)
