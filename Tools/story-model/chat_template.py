"""The special tokens, and how a conversation is written with them: as a Jinja template and as training tokens."""
from typing import Any

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = [END_OF_TEXT, TURN_START, TURN_END]  # their ids are their places here

TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def encode(tokenizer: Any, turns: list[tuple[str, str]]) -> tuple[list[int], list[int]]:
    """Token ids of a conversation and a mask of the same length: 1 where the model learns to say the token.

    Learned are the assistant's words and the token that ends its turn. The ids are those of ``TEMPLATE``'s text, but
    role and content are encoded apart, as they are when a prompt is rendered and its answer generated.
    ``tokenizer`` is a ``tokenizers.Tokenizer``.
    """
    start, end = SPECIAL_TOKENS.index(TURN_START), SPECIAL_TOKENS.index(TURN_END)
    newline = tokenizer.encode("\n").ids
    ids: list[int] = []
    mask: list[int] = []
    for role, text in turns:
        header = [start] + tokenizer.encode(role + "\n").ids
        content = tokenizer.encode(text).ids + [end]
        ids += header + content + newline
        mask += [0] * len(header) + [int(role == "assistant")] * len(content) + [0] * len(newline)
    return ids, mask
