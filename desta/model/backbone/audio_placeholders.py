"""Markers of a clip's place: a locator in text, a placeholder among token ids."""

from typing import Any

from desta.errors import ConfigError
from desta.model.backbone.chat import encode_chat
from desta.records import END_AUDIO, START_AUDIO, Message

_EVERY_ROLE = tuple(
    Message(role=role, content="x") for role in ("system", "user", "assistant", "user")
)


def check_locator(tokenizer: Any, locator: str) -> None:
    """Raise ConfigError if a locator cannot be distinguished from the chat template's own text."""
    turn = Message(role="user", content=f"{START_AUDIO}{locator}{END_AUDIO}")
    found = len(encode_chat(tokenizer, [turn], locator=locator)) - 1
    if found != 1:
        raise ConfigError(
            f'audio_locator "{locator}" marks {found} places in a message about one clip, as the '
            "backbone's chat template writes it",
            fix="name text that nothing else holds, such as <|AUDIO|>",
        )


def placeholder_id(tokenizer: Any, token: str | None, num_embeddings: int) -> int:
    """Return the id that marks audio positions: one that neither text nor template tokenizes to.

    Its embedding is overwritten and never read, but the embedding table must hold it.

    Args:
        tokenizer: the backbone's, with a chat template.
        token: the token to use; None picks an unused one.
        num_embeddings: rows of the backbone's embedding table.

    Raises:
        ConfigError: the vocabulary has no such token, or no unused one.
    """
    if token is not None:
        index = tokenizer.get_vocab().get(token)
        if index is None or index >= num_embeddings:
            raise ConfigError(
                f'placeholder_token "{token}" is not in the vocabulary of the backbone',
                fix="leave it out: an unused token is picked then",
            )
        return index
    template = str(tokenizer.chat_template)
    [written] = encode_chat(tokenizer, _EVERY_ROLE)  # templates may compose names: <|{{ role }}|>
    special = {
        index: str(added)
        for index, added in tokenizer.added_tokens_decoder.items()
        if added.special and index < num_embeddings
        if str(added) not in template and index not in written
    }
    named = {tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token}
    spare = [index for index, name in special.items() if name not in named]
    if spare:
        return max(spare)
    if num_embeddings > (known := max(tokenizer.get_vocab().values()) + 1):
        return known  # tables are often longer than the vocabulary, to suit the hardware
    borders = {tokenizer.bos_token, tokenizer.eos_token}  # left: padding, or the unknown token
    last = [index for index, name in special.items() if name not in borders]
    if last:
        return max(last)
    raise ConfigError(
        "the vocabulary of the backbone has no unused token to mark the places of audio",
        fix="set model.placeholder_token to a token that no text holds",
    )
