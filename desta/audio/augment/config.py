"""Recipe of augmentation: kinds, each with a probability and a range."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from desta.config import suggest
from desta.errors import ConfigError

Range = tuple[float, float]
"""Lowest and highest value; a value is drawn uniformly between them."""
Colour = Literal["white", "pink", "brown"]
CodecName = Literal["mp3", "opus", "gsm", "mu_law"]


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Keep one part, anywhere in the clip; a clip that is shorter stays whole."""

    probability: float
    seconds: tuple[float, float] = (2.0, 6.0)
    """Length of the part."""

    def __post_init__(self) -> None:
        _check(self, "crop", seconds=(0.5, 30))


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Play faster or slower: tempo, pitch and duration change together."""

    probability: float
    factor: tuple[float, float] = (0.95, 1.05)
    """Above 1 is faster and higher."""

    def __post_init__(self) -> None:
        _check(self, "speed", factor=(0.9, 1.1))


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Put silence before and after the clip; a clip is never made longer than one window."""

    probability: float
    seconds: tuple[float, float] = (0.0, 1.0)
    """Drawn for each end."""

    def __post_init__(self) -> None:
        _check(self, "silence", seconds=(0, 30))


@dataclass(frozen=True, kw_only=True)
class Room:
    """Reverberate: convolve with exponentially decaying noise."""

    probability: float
    seconds: tuple[float, float] = (0.1, 0.6)
    """Reverberation time RT60: until the reverberation has fallen by 60 dB."""
    direct: tuple[float, float] = (0.0, 12.0)
    """Energy of the direct sound over that of the reverberation, dB."""

    def __post_init__(self) -> None:
        _check(self, "room", seconds=(0.02, 5), direct=(-20, 60))


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Add steady noise."""

    probability: float
    decibels: tuple[float, float] = (10.0, 30.0)
    """Signal-to-noise ratio; words get lost below about 10 dB."""
    colours: tuple[Colour, ...] = ("white", "pink", "brown")

    def __post_init__(self) -> None:
        _check(self, "noise", decibels=(-20, 100))


@dataclass(frozen=True, kw_only=True)
class Clipping:
    """Cut the peaks off."""

    probability: float
    decibels: tuple[float, float] = (1.0, 9.0)
    """Clipping level below the peak."""

    def __post_init__(self) -> None:
        _check(self, "clipping", decibels=(0, 40))


@dataclass(frozen=True, kw_only=True)
class LowPass:
    """Remove high frequencies, as a low sampling rate does: 4000 Hz is that of 8 kHz."""

    probability: float
    hertz: tuple[float, float] = (2500.0, 7000.0)

    def __post_init__(self) -> None:
        _check(self, "low_pass", hertz=(100, 8000))


@dataclass(frozen=True, kw_only=True)
class Telephone:
    """Transmit by a telephone line: 300 to 3,400 Hz, 8 kHz, mu-law."""

    probability: float

    def __post_init__(self) -> None:
        _check(self, "telephone")


@dataclass(frozen=True, kw_only=True)
class Codec:
    """Encode and decode with a lossy codec."""

    probability: float
    names: tuple[CodecName, ...] = ("mp3", "opus", "gsm", "mu_law")
    """`gsm` and `mu_law` at 8 kHz."""
    kilobits: tuple[float, float] = (8.0, 32.0)
    """Bit rate of mp3 and opus, kbit/s."""

    def __post_init__(self) -> None:
        _check(self, "codec", kilobits=(8, 160))


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Make louder or quieter; never louder than full scale."""

    probability: float
    decibels: tuple[float, float] = (-20.0, 6.0)

    def __post_init__(self) -> None:
        _check(self, "gain", decibels=(-60, 30))


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Kinds of augmentation, in the order in which they are applied; null: not at all."""

    crop: Crop | None = None
    speed: Speed | None = None
    silence: Silence | None = None
    room: Room | None = None
    noise: Noise | None = None
    clipping: Clipping | None = None
    low_pass: LowPass | None = None
    telephone: Telephone | None = None
    codec: Codec | None = None
    gain: Gain | None = None
    changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Attribute of your own -> kinds that change it. A clip that states an unknown attribute, which
    is neither listed here nor known to desta, is never augmented."""

    def __post_init__(self) -> None:
        for name, kinds in self.changes.items():
            for kind in kinds:
                if kind not in KINDS:
                    raise ConfigError(
                        f'data.augment.changes.{name} names the unknown kind "{kind}"',
                        fix=suggest(kind, KINDS),
                    )


KINDS = tuple(f.name for f in fields(AugmentConfig) if f.name != "changes")
"""All kinds, in the order in which they are applied."""


def _check(effect: Any, kind: str, **bounds: tuple[float, float]) -> None:
    """Raise ConfigError for a probability, a range or a list outside its bounds."""
    where = f"data.augment.{kind}"
    if not 0 <= effect.probability <= 1:
        raise ConfigError(
            f"{where}.probability = {effect.probability} is no probability", fix="give 0 to 1"
        )
    for name, (lowest, highest) in bounds.items():
        value = getattr(effect, name)
        ordered = len(value) == 2 and lowest <= value[0] <= value[1] <= highest
        if not ordered:
            raise ConfigError(
                f"{where}.{name} = {list(value)} is not a range within {lowest} and {highest}",
                fix=f"give two numbers, the lower one first, from {lowest} to {highest}",
            )
    for name in ("names", "colours"):
        if getattr(effect, name, None) == ():
            raise ConfigError(f"{where}.{name} is empty", fix="list at least one")
