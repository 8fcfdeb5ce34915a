"""Trains the tokenizer: byte-level BPE, nothing put before a text, any bytes round-trip."""
import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from chat_template import SPECIAL_TOKENS
from errors import RecipeError


def train(texts: Iterable[str], size: int) -> Tokenizer:
    """A tokenizer of exactly ``size`` tokens: the special ones first, then all 256 bytes, then merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL_TOKENS, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(texts, trainer)
    got = tokenizer.get_vocab_size()
    if got != size:
        least = len(SPECIAL_TOKENS) + 256
        raise RecipeError(f"the text gives a vocabulary of {got} tokens, not the {size} of --vocab; "
                          f"add text, or choose {least} to {max(got, least)}.")
    return tokenizer


def load(path: Path) -> Tokenizer:
    """A tokenizer that ``prepare.py`` wrote."""
    if not path.is_file():
        raise RecipeError(f"{path} does not exist; run prepare.py without --reuse to make it.")
    return Tokenizer.from_file(str(path))


def vocabulary_size(path: Path) -> int:
    """Number of tokens of a ``tokenizer.json``, special ones included."""
    if not path.is_file():
        raise RecipeError(f"{path} does not exist; run prepare.py with --out {path.parent} first.")
    return len(json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"])
