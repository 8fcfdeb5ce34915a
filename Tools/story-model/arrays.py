"""The training data on disk: numpy arrays of token ids, two sets (tales, chat) of two splits (train, val).

  SPLIT_tales.npy         uint16  all tales, each behind an <|endoftext|>
  SPLIT_tales_starts.npy  int64   where each tale's <|endoftext|> is
  SPLIT_chat.npy          uint16  all chat examples, one after the other
  SPLIT_chat_mask.npy     uint8   1 where the token is learned
  SPLIT_chat_starts.npy   int64   where each example begins, and the end
  SPLIT_chat_kind.npy     uint8   each example's index in chat_examples.KINDS
"""
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import chat_template
from chat_examples import KINDS, Example
from corpus import Document
from errors import RecipeError

LONGEST_EXAMPLE = 1000  # tokens; longer chat examples are left out
TYPES = {"tales": np.uint16, "tales_starts": np.int64, "chat": np.uint16, "chat_mask": np.uint8,
         "chat_starts": np.int64, "chat_kind": np.uint8}


def write(tokenizer: Tokenizer, documents: list[Document], examples: list[Example], folder: Path, split: str) -> str:
    """Encode and write one split; return a line that says how large it is."""
    data: dict[str, list[int]] = {name: [] for name in TYPES}
    separator = chat_template.SPECIAL_TOKENS.index(chat_template.END_OF_TEXT)
    for encoding in tokenizer.encode_batch([document.text for document in documents]):
        data["tales_starts"].append(len(data["tales"]))
        data["tales"] += [separator] + encoding.ids
    data["chat_starts"].append(0)
    for kind, turns in examples:
        ids, mask = chat_template.encode(tokenizer, turns)
        if len(ids) > LONGEST_EXAMPLE:
            continue
        data["chat"] += ids
        data["chat_mask"] += mask
        data["chat_kind"].append(KINDS.index(kind))
        data["chat_starts"].append(len(data["chat"]))
    for name, values in data.items():
        np.save(folder / f"{split}_{name}.npy", np.array(values, dtype=TYPES[name]))
    kinds = ", ".join(f"{data['chat_kind'].count(i)} {kind}" for i, kind in enumerate(KINDS))
    return (f"{split}: {len(documents)} tales of {len(data['tales'])} tokens; "
            f"{len(data['chat_kind'])} chat examples of {len(data['chat'])} tokens ({kinds})")


def load(folder: Path, split: str) -> dict[str, np.ndarray]:
    """The arrays of one split, by name without the split."""
    try:
        return {name: np.load(folder / f"{split}_{name}.npy") for name in TYPES}
    except FileNotFoundError as error:
        raise RecipeError(f"{error.filename} does not exist; run prepare.py with --out {folder} first.") from None
