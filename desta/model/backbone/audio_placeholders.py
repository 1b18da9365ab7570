"""What marks the place of a clip: a locator in text, a placeholder in token ids."""

from typing import Any

from desta.errors import ConfigError
from desta.model.backbone.chat import encode_chat
from desta.records import END_AUDIO, START_AUDIO, Message

_EVERY_ROLE = tuple(
    Message(role=role, content="x") for role in ("system", "user", "assistant", "user")
)


def check_locator(tokenizer: Any, locator: str) -> None:
    """Raise ConfigError if a locator cannot be told from what the chat template writes itself."""
    turn = Message(role="user", content=f"{START_AUDIO}{locator}{END_AUDIO}")
    found = len(encode_chat(tokenizer, [turn], locator=locator)) - 1
    if found != 1:
        raise ConfigError(
            f'audio_locator "{locator}" marks {found} places in a message about one clip, as the '
            "backbone's chat template writes it",
            fix="name text that nothing else holds, such as <|AUDIO|>",
        )


def placeholder_id(tokenizer: Any, token: str | None, num_embeddings: int) -> int:
    """Return the id that marks audio positions: one that neither text nor template ever becomes.

    Its embedding is overwritten and never read, but the table must have it.

    Args:
        tokenizer: the backbone's, with a chat template.
        token: the token whose id is to be taken; None picks an unused one.
        num_embeddings: rows of the backbone's embedding table.

    Raises:
        ConfigError: the vocabulary has no such token, or no unused one.
    """
    if token is not None:
        index = tokenizer.get_vocab().get(token)
        if index is None or index >= num_embeddings:
            raise ConfigError(
                f'placeholder_token "{token}" is not in the vocabulary of the backbone',
                fix="leave it out: an unused token is then picked",
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
    unsaid = {tokenizer.bos_token, tokenizer.eos_token}  # left: padding, or the unknown token
    last = [index for index, name in special.items() if name not in unsaid]
    if last:
        return max(last)
    raise ConfigError(
        "the vocabulary of the backbone has no unused token to mark the places of audio",
        fix="name one that no text holds as model.placeholder_token",
    )
