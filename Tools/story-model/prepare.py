#!/usr/bin/env python3
"""Build the story model's training data from the plain text of old fairy-tale books.

Reads --raw/<number>.txt (Project Gutenberg numbers, see books.py), cleans and splits the books into tales, trains the
tokenizer, makes chat examples and writes everything train.py needs to --out.
"""
import argparse
import random
from pathlib import Path

import arrays
import chat_examples
import corpus
import errors
import tokenizer
from gitenberg import copy_books

TALK_FOR_TOKENIZER = 400  # small-talk examples the tokenizer sees besides the tales


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--raw", type=Path, help="folder of <number>.txt files, UTF-8 (default: OUT/raw)")
    parser.add_argument("--mirror", type=Path,
                        help="folder of GITenberg clones named <Title>_<number>; their texts are copied to --raw first")
    parser.add_argument("--vocab", type=int, default=4096, help="tokens of the vocabulary (default: %(default)s)")
    parser.add_argument("--val-share", type=float, default=0.02,
                        help="share of the tales held out, 0 to 0.5 (default: %(default)s)")
    parser.add_argument("--talk", type=int, default=3000, help="small-talk examples (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="of every random choice (default: %(default)s)")
    parser.add_argument("--reuse", action="store_true",
                        help="keep OUT/tales.jsonl and OUT/tokenizer.json, make the examples and arrays again")
    given = parser.parse_args()
    if not 0 < given.val_share <= 0.5:
        parser.error(f"--val-share {given.val_share} is outside 0 to 0.5; 0.02 holds out one tale in fifty.")
    if not 259 <= given.vocab <= 65536:
        parser.error(f"--vocab {given.vocab} is outside 259 to 65536: 256 bytes and 3 special tokens, 16 bits each.")
    if given.talk < 0:
        parser.error(f"--talk {given.talk} is negative; give the number of small-talk examples.")
    return given


def main() -> None:
    given = arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    raw = given.raw or given.out / "raw"
    if given.mirror:
        print(f"copied {copy_books(given.mirror, raw)} books to {raw}", flush=True)

    if given.reuse:
        documents = corpus.read(given.out)
    else:
        documents = corpus.read_books(raw)
        corpus.hold_out(documents, given.val_share, given.seed)
        corpus.write(documents, given.out)
    train = [document for document in documents if document.split == "train"]
    held_out = [document for document in documents if document.split == "val"]
    if not held_out:
        raise errors.RecipeError(f"none of the {len(documents)} tales could be held out for --val-share "
                                 f"{given.val_share}; raise it, or add tales that share less text with each other.")
    characters = sum(len(paragraph) + 2 for document in documents for paragraph in document.paragraphs)
    print(f"{len({document.book for document in documents})} books, {len(documents)} tales, "
          f"{characters / 1e6:.2f} M characters, {len(held_out)} tales held out", flush=True)

    rng = random.Random(given.seed)
    chat = chat_examples.from_tales(train, rng) + chat_examples.small_talk(given.talk, rng)
    rng.shuffle(chat)
    held_out_chat = chat_examples.from_tales(held_out, rng)

    path = given.out / "tokenizer.json"
    if given.reuse:
        trained = tokenizer.load(path)
    else:
        talk = ["\n".join(text for _, text in turns) for kind, turns in chat if kind == "small_talk"]
        trained = tokenizer.train([document.text for document in train] + talk[:TALK_FOR_TOKENIZER], given.vocab)
        trained.save(str(path))
    print(arrays.write(trained, train, chat, given.out, "train"))
    print(arrays.write(trained, held_out, held_out_chat, given.out, "val"))


if __name__ == "__main__":
    errors.run(main)
