"""Systems that are evaluated: an audio model, its baselines, audio endpoints, constant answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from desta.config import suggest
from desta.errors import ConfigError, DataError, UnavailableError
from desta.evaluation.base import MODEL, Benchmark, Item
from desta.evaluation.baselines import (
    ALWAYS_FIRST,
    BASELINES,
    FIXED,
    NO_CHOICES,
    ORACLE,
    always_first,
    majority,
    tell,
)
from desta.files import sha256
from desta.model.backbone.sampling import Sampling
from desta.records import NO_TRANSCRIPTION, AudioRef, Message, with_audios

CASCADE = "cascade"
"""The model's recogniser transcribes the clips, and its backbone reads the transcriptions."""
BUILT_IN = (MODEL, CASCADE, *BASELINES, *FIXED)
"""Ids of systems that every recipe may use; others are endpoints of the recipe."""
MISSING = "its audio is missing"

Messages = tuple[Message, ...]
BuildPrompts = Callable[[Sequence[Item]], list[Messages]]
"""Items -> conversations that a system is given."""


class ChatModel(Protocol):
    """Answers conversations that may hold clips."""

    def answer(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling
    ) -> Sequence[str | DataError]:
        """Answer each conversation, in order; an error takes the place of a refused one.

        Raises:
            UnavailableError: the model does not answer now; retrying later may help.
            DataError: one of them cannot be answered, for example a clip cannot be read.
        """

    def digest(self, conversation: Sequence[Message]) -> str:
        """Return a hash of the whole input of the model, the audio included."""

    def transcribe(self, refs: Sequence[AudioRef]) -> list[str]:
        """Return the transcriptions of clips; one space where nothing is said.

        Raises:
            ConfigError: the model does not transcribe.
            DataError: a clip cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class SystemAnswer:
    """Answer of a system, and the conversation that it was given."""

    prompt: Messages
    output: str


class System(Protocol):
    """Answers the items of a benchmark."""

    @property
    def name(self) -> str:
        """Name in results and scores."""

    @property
    def needs_audio(self) -> bool:
        """Whether the files of the clips must exist."""

    def answer(
        self, items: Sequence[Item], sampling: Sampling
    ) -> Sequence[SystemAnswer | DataError]:
        """Answer a batch, in order; an error takes the place of an item that alone was refused.

        Raises:
            UnavailableError: the system does not answer now; retrying later may help.
            DataError: one of the items cannot be answered.
        """

    def check(self, items: Sequence[Item]) -> None:
        """Check that another clip is another input.

        Raises:
            DataError: it is the same input.
        """


@dataclass(frozen=True, kw_only=True)
class ModelSystem:
    """A model, and how items become its prompts."""

    name: str
    model: ChatModel
    build_prompts: BuildPrompts
    takes_audio: bool = False
    """Whether the model is given the clips themselves."""
    takes_transcriptions: bool = False
    """Whether it is given transcriptions that a recogniser makes of the clips."""

    @property
    def needs_audio(self) -> bool:
        """Whether the files of the clips must exist."""
        return self.takes_audio or self.takes_transcriptions

    def answer(self, items: Sequence[Item], sampling: Sampling) -> list[SystemAnswer | DataError]:
        """Build the prompts and generate the answers."""
        prompts = self.build_prompts(items)
        outputs = self.model.answer(prompts, sampling)
        return [
            o if isinstance(o, DataError) else SystemAnswer(prompt=p, output=o)
            for p, o in zip(prompts, outputs, strict=True)
        ]

    def check(self, items: Sequence[Item]) -> None:
        """Compare an item's input with its own clip and with the clip of another item."""
        for item, other in _pairs(items) if self.takes_audio else ():
            own, foreign = (_untranscribed(each) for each in (item, _with_clip(item, other)))
            try:
                differs = self.model.digest(own) != self.model.digest(foreign)
            except UnavailableError:
                raise
            except DataError:  # a broken clip is counted when its item is answered
                continue
            if differs:
                return
            raise DataError(
                f'the system "{self.name}" is given the same input for {item.clips[0].audio} '
                f"as for {other}: the audio does not reach it",
                fix="mend the model or its endpoint first: its scores would mean nothing",
            )


@dataclass(frozen=True, kw_only=True)
class ConstantSystem:
    """Answers that are known beforehand."""

    name: str
    answers: Mapping[str, str]
    """Item id -> answer."""
    needs_audio: bool = False

    def answer(self, items: Sequence[Item], sampling: Sampling) -> list[SystemAnswer]:
        """Look up the answers."""
        for item in items:
            if item.id not in self.answers:
                raise DataError(NO_CHOICES, fix="leave the system out")
        return [SystemAnswer(prompt=(), output=self.answers[item.id]) for item in items]

    def check(self, items: Sequence[Item]) -> None:
        """Do nothing: no audio is given."""


@dataclass(frozen=True, kw_only=True)
class Models:
    """Loaded models that systems are made of."""

    model: ChatModel | None = None
    """The audio model; answers for the text baselines where there is no `backbone`."""
    backbone: ChatModel | None = None
    """Text model for the baselines and the cascade."""
    endpoints: Mapping[str, ChatModel] | None = None
    """Name of a system -> its audio endpoint."""


def check_names(names: Sequence[str], endpoints: Sequence[str] = ()) -> None:
    """Raise ConfigError if a system is unknown or named twice, or an endpoint has its name."""
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
            raise ConfigError(f'"{name}" cannot name an endpoint', fix="rename the endpoint")


def needs_audio_model(names: Sequence[str]) -> bool:
    """Return whether a system uses the audio model."""
    return MODEL in names or CASCADE in names


def needs_text_model(names: Sequence[str]) -> bool:
    """Return whether a system is a text baseline."""
    return any(name in BASELINES for name in names)


def make_systems(
    names: Sequence[str],
    items: Sequence[Item],
    models: Models,
    benchmark: Benchmark,
    *,
    transcribe: bool,
) -> list[System]:
    """Create the systems of these names.

    Args:
        names: from `BUILT_IN`, or names of endpoints.
        items: all items of the run.
        models: models that are loaded.
        benchmark: benchmark of the items.
        transcribe: give the model its own transcription of each clip, beside the clip.

    Raises:
        ConfigError: a system is unknown, its model is not loaded, or it cannot answer any item.
    """
    check_names(names, list(models.endpoints or {}))
    return [_make(name, items, models, benchmark, transcribe) for name in names]


def missing_clips(item: Item) -> bool:
    """Return whether the file of a clip does not exist."""
    return not all(Path(ref.audio).is_file() for ref in item.clips)


def _make(
    name: str, items: Sequence[Item], models: Models, benchmark: Benchmark, transcribe: bool
) -> System:
    if name in FIXED:
        answers = (
            always_first(items)
            if name == ALWAYS_FIRST
            else majority(items, closed_sets=benchmark.closed_sets)
        )
        if not answers:
            raise ConfigError(
                f"no item of {benchmark.name} has choices", fix=f'leave the system "{name}" out'
            )
        return ConstantSystem(name=name, answers=answers)
    if models.endpoints and name in models.endpoints:
        endpoint = models.endpoints[name]
        return ModelSystem(name=name, model=endpoint, build_prompts=_messages, takes_audio=True)
    if name in BASELINES:
        if name == ORACLE and not any(item.described for item in items):
            raise ConfigError(
                f"{benchmark.name} has no descriptions of its clips",
                fix=f'leave the system "{ORACLE}" out',
            )
        prompt = BASELINES[name]
        return ModelSystem(
            name=name,
            model=_loaded(models.backbone or models.model, name),
            build_prompts=lambda these: [prompt(item) for item in these],
        )
    model = _loaded(models.model, name)
    if name == CASCADE:
        return ModelSystem(
            name=name,
            model=models.backbone or model,
            build_prompts=_cascade(model),
            takes_transcriptions=True,
        )
    return ModelSystem(
        name=name,
        model=model,
        build_prompts=_transcribed(model) if transcribe else _messages,
        takes_audio=True,
    )


def _loaded(model: ChatModel | None, name: str) -> ChatModel:
    if model is None:
        raise ConfigError(f'no model for the system "{name}"', fix="give --model")
    return model


def _messages(items: Sequence[Item]) -> list[Messages]:
    return [item.messages for item in items]


def _transcribed(model: ChatModel) -> BuildPrompts:
    """Return prompts with the model's own transcriptions, as when a user asks it."""

    def build(items: Sequence[Item]) -> list[Messages]:
        texts = iter(_transcribe(model, items))
        return [
            with_audios(item.messages, [replace(ref, text=next(texts)) for ref in item.clips])
            for item in items
        ]

    return build


def _cascade(model: ChatModel) -> BuildPrompts:
    def build(items: Sequence[Item]) -> list[Messages]:
        texts = iter(_transcribe(model, items))
        return [tell(item, *[next(texts) for _ in item.clips]) for item in items]

    return build


def _transcribe(model: ChatModel, items: Sequence[Item]) -> list[str]:
    return model.transcribe([ref for item in items for ref in item.clips])


def _pairs(items: Sequence[Item]) -> Iterator[tuple[Item, str]]:
    """Yield items, each with the path of another item's clip whose bytes differ."""
    last: tuple[Item, str] | None = None
    for item in items:
        if not item.clips or missing_clips(item):
            continue
        clip = str(item.clips[0].audio)
        content = sha256(Path(clip))
        if last is not None and content != last[1]:
            yield last[0], clip
        if last is None or content != last[1]:
            last = item, content


def _untranscribed(item: Item) -> Messages:
    """Return the conversation with its clips, without their transcriptions."""
    return with_audios(item.messages, [replace(r, text=NO_TRANSCRIPTION) for r in item.clips])


def _with_clip(item: Item, clip: str) -> Item:
    """Return the item with its first clip replaced."""
    first, *others = item.clips
    return replace(item, messages=with_audios(item.messages, [replace(first, audio=clip), *others]))
