"""Who is evaluated: a model that hears, its baselines, endpoints that hear, and fixed answers."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from desta.config import suggest
from desta.errors import ConfigError, DataError, UnavailableError
from desta.evaluation.base import MODEL, Benchmark, Item
from desta.evaluation.baselines import (
    BASELINES,
    FIXED,
    NO_CHOICES,
    always_first,
    majority,
    tell,
)
from desta.model.backbone.sampling import Sampling
from desta.records import NO_TRANSCRIPTION, AudioRef, Message

CASCADE = "cascade"
"""The model's recogniser writes down what is said, and its backbone answers that."""
BUILT_IN = (MODEL, CASCADE, *BASELINES, *FIXED)
"""Names of systems that every recipe may use; others are endpoints of the recipe."""
MISSING = "its audio is missing"

Conversation = tuple[Message, ...]
Form = Callable[[Sequence[Item]], list[Conversation]]
"""Items -> what a system is asked."""


class Answerer(Protocol):
    """Answers conversations that may hold clips."""

    def answer(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling
    ) -> Sequence[str | DataError]:
        """Answer each conversation, in order; an error is in the place of what alone was refused.

        Raises:
            UnavailableError: nobody answers now; asking again later may help.
            DataError: one of them cannot be answered, for example a clip cannot be heard.
        """

    def digest(self, conversation: Sequence[Message]) -> str:
        """Return a hash of all that the model is given, what it hears included."""

    def transcribe(self, refs: Sequence[AudioRef]) -> list[str]:
        """Return what is said in clips; one space where nothing is.

        Raises:
            ConfigError: it does not transcribe.
            DataError: a clip cannot be heard.
        """


@dataclass(frozen=True, kw_only=True)
class Said:
    """An answer, and what was asked."""

    prompt: Conversation
    output: str


class System(Protocol):
    """Answers items."""

    @property
    def name(self) -> str:
        """As results and scores call it."""

    @property
    def needs_audio(self) -> bool:
        """Whether the clips must be there."""

    def answer(self, items: Sequence[Item], sampling: Sampling) -> Sequence[Said | DataError]:
        """Answer a batch, in order; an error is in the place of what alone was refused.

        Raises:
            UnavailableError: nobody answers now; asking again later may help.
            DataError: one of the items cannot be answered.
        """

    def check(self, items: Sequence[Item]) -> None:
        """Make sure that another clip is another input.

        Raises:
            DataError: it is the same input.
        """


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Somebody who reads, and perhaps hears."""

    name: str
    answerer: Answerer
    form: Form
    hears: bool = False
    """Whether it is given clips, not only what others heard in them."""
    recognises: bool = False
    """Whether somebody hears the clips for it."""

    @property
    def needs_audio(self) -> bool:
        """Whether the clips must be there."""
        return self.hears or self.recognises

    def answer(self, items: Sequence[Item], sampling: Sampling) -> list[Said | DataError]:
        """Form the conversations and let them be answered."""
        prompts = self.form(items)
        outputs = self.answerer.answer(prompts, sampling)
        return [
            o if isinstance(o, DataError) else Said(prompt=p, output=o)
            for p, o in zip(prompts, outputs, strict=True)
        ]

    def check(self, items: Sequence[Item]) -> None:
        """Ask the first item that can be heard with its own clip and with that of another item."""
        for item, other in _pairs(items) if self.hears else ():
            own, foreign = (_silent(each) for each in (item, _with_clip(item, other)))
            try:
                differs = self.answerer.digest(own) != self.answerer.digest(foreign)
            except UnavailableError:
                raise
            except DataError:  # of a broken clip, which is counted when its turn comes
                continue
            if differs:
                return
            raise DataError(
                f'the system "{self.name}" is given the same input for {item.clips[0].audio} '
                f"as for {other}: the audio does not reach it",
                fix="no score of it would mean anything; mend the model or its endpoint first",
            )


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """Answers that are known beforehand."""

    name: str
    says: Mapping[str, str]
    """Item id -> answer."""
    needs_audio: bool = False

    def answer(self, items: Sequence[Item], sampling: Sampling) -> list[Said]:
        """Look the answers up."""
        for item in items:
            if item.id not in self.says:
                raise DataError(NO_CHOICES, fix="leave the system out")
        return [Said(prompt=(), output=self.says[item.id]) for item in items]

    def check(self, items: Sequence[Item]) -> None:
        """Do nothing: it hears nothing."""


@dataclass(frozen=True, kw_only=True)
class Answerers:
    """Those who can be asked."""

    model: Answerer | None = None
    """Hears, and reads for the baselines."""
    backbone: Answerer | None = None
    """Reads for the baselines in place of the model."""
    endpoints: Mapping[str, Answerer] | None = None
    """System -> who hears for it."""


def check_names(names: Sequence[str], endpoints: Sequence[str] = ()) -> None:
    """Raise ConfigError if a system is unknown or named twice, or an endpoint takes its name."""
    if not names:
        raise ConfigError("systems is empty", fix=f"list some of {', '.join(BUILT_IN)}")
    for name in names:
        known = [*BUILT_IN, *endpoints]
        if name not in known:
            raise ConfigError(f'unknown system "{name}"', fix=suggest(name, known))
        if names.count(name) > 1:
            raise ConfigError(f'system "{name}" is named twice', fix="name it once")
    for name in endpoints:
        if name in (*BUILT_IN, "chance"):
            raise ConfigError(f'"{name}" is no name for an endpoint', fix="give it another name")


def needs_model(names: Sequence[str]) -> bool:
    """Tell whether the weights of the model are needed."""
    return MODEL in names or CASCADE in names


def reads(names: Sequence[str]) -> bool:
    """Tell whether somebody has to read texts."""
    return any(name in BASELINES for name in names)


def make_systems(
    names: Sequence[str],
    items: Sequence[Item],
    answerers: Answerers,
    benchmark: Benchmark,
    *,
    transcribe: bool,
) -> list[System]:
    """Return the systems of these names.

    Args:
        names: of `BUILT_IN`, or of endpoints.
        items: all of the run.
        answerers: who can be asked.
        benchmark: whose items they are.
        transcribe: whether the model is told what it recognises, beside hearing it.

    Raises:
        ConfigError: a system is unknown, nobody is there to be asked, or it has nothing to say to
            any item.
    """
    endpoints = answerers.endpoints or {}
    check_names(names, list(endpoints))
    return [_make(name, items, answerers, benchmark, transcribe) for name in names]


def missing_clips(item: Item) -> bool:
    """Tell whether a clip of an item is not where it should be."""
    return not all(Path(ref.audio).is_file() for ref in item.clips)


def _make(
    name: str, items: Sequence[Item], answerers: Answerers, benchmark: Benchmark, transcribe: bool
) -> System:
    if name in FIXED:
        says = (
            always_first(items)
            if name == "always first"
            else majority(items, closed_sets=benchmark.closed_sets)
        )
        if not says:
            raise ConfigError(
                f"no item of {benchmark.name} has choices", fix=f'leave the system "{name}" out'
            )
        return Fixed(name=name, says=says)
    if answerers.endpoints and name in answerers.endpoints:
        return Asked(name=name, hears=True, answerer=answerers.endpoints[name], form=_as_asked)
    model = answerers.model
    if name in BASELINES:
        if name == "oracle" and not any(item.described for item in items):
            raise ConfigError(
                f"{benchmark.name} knows nothing of its clips that could be told in words",
                fix='leave the system "oracle" out',
            )
        reader = answerers.backbone or model
        form = BASELINES[name]
        return Asked(
            name=name,
            answerer=_there(reader, name),
            form=lambda these: [form(item) for item in these],
        )
    hearer = _there(model, name)
    if name == CASCADE:
        reader = answerers.backbone or hearer
        return Asked(name=name, recognises=True, answerer=reader, form=_cascade(hearer))
    return Asked(
        name=name,
        hears=True,
        answerer=hearer,
        form=_transcribed(hearer) if transcribe else _as_asked,
    )


def _there(answerer: Answerer | None, name: str) -> Answerer:
    if answerer is None:
        raise ConfigError(f'nobody can answer as "{name}"', fix="name a model")
    return answerer


def _as_asked(items: Sequence[Item]) -> list[Conversation]:
    return [item.messages for item in items]


def _transcribed(answerer: Answerer) -> Form:
    """Tell the model what it recognises, as when a user asks it."""

    def form(items: Sequence[Item]) -> list[Conversation]:
        texts = iter(_recognise(answerer, items))
        return [
            tuple(
                replace(m, audios=tuple(replace(ref, text=next(texts)) for ref in m.audios))
                for m in item.messages
            )
            for item in items
        ]

    return form


def _cascade(answerer: Answerer) -> Form:
    def form(items: Sequence[Item]) -> list[Conversation]:
        texts = iter(_recognise(answerer, items))
        return [tell(item, *[next(texts) for _ in item.clips]) for item in items]

    return form


def _recognise(answerer: Answerer, items: Sequence[Item]) -> list[str]:
    return answerer.transcribe([ref for item in items for ref in item.clips])


def _pairs(items: Sequence[Item]) -> Iterator[tuple[Item, str]]:
    """Yield items, each with a clip of another item that holds other bytes."""
    last: tuple[Item, str] | None = None
    for item in items:
        if not item.clips or missing_clips(item):
            continue
        clip = str(item.clips[0].audio)
        with Path(clip).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        if last is not None and content != last[1]:
            yield last[0], clip
        if last is None or content != last[1]:
            last = item, content


def _silent(item: Item) -> Conversation:
    """Return the conversation with the clips, and nothing said of what is spoken in them."""
    return tuple(
        replace(m, audios=tuple(replace(ref, text=NO_TRANSCRIPTION) for ref in m.audios))
        for m in item.messages
    )


def _with_clip(item: Item, clip: str) -> Item:
    """Return an item whose first clip is another one."""
    own = item.clips[0]
    return replace(
        item,
        messages=tuple(
            replace(m, audios=tuple(replace(r, audio=clip) if r is own else r for r in m.audios))
            for m in item.messages
        ),
    )
