"""Cuts the arrays of prepare.py into rows: random ones to train on, fixed ones to evaluate on."""
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import arrays
from chat_examples import KINDS
from errors import RecipeError
from model import IGNORED

FROM_START = 0.3  # share of tale rows that begin where a tale begins


def tensor_pair(ids: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(ids), torch.tensor(labels)


class TrainingRows:
    """Random rows of tales and chat. ``talk_weight``: how often the small-talk examples come, the others being once."""

    def __init__(self, folder: Path, seed: int, talk_weight: int, longest: int):
        data = arrays.load(folder, "train")
        self.tales, self.tale_starts = data["tales"], data["tales_starts"]
        self.chat, self.mask, self.bounds = data["chat"], data["chat_mask"], data["chat_starts"]
        if len(self.tales) < longest + 2 or not len(data["chat_kind"]):
            raise RecipeError(f"{folder} holds {len(self.tales)} tokens of tales and {len(data['chat_kind'])} chat "
                              f"examples; rows of {longest} need {longest + 2} and one: prepare more text.")
        talk = np.flatnonzero(data["chat_kind"] == KINDS.index("small_talk"))
        self.pool = np.concatenate([np.arange(len(data["chat_kind"]))] + [talk] * (talk_weight - 1))
        self.rng = np.random.default_rng(seed)
        self.order, self.next = np.empty(0, np.int64), 0

    def batch(self, rows: int, length: int, chat_share: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and labels, each (rows, length); on average ``chat_share`` of the rows are chat."""
        chat_rows = int(rows * chat_share + self.rng.random())
        made = [self.chat_row(length) if row < chat_rows else self.tale_row(length) for row in range(rows)]
        return tensor_pair(np.stack([ids for ids, _ in made]), np.stack([labels for _, labels in made]))

    def tale_row(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Consecutive tokens of the tales; all are learned."""
        if self.rng.random() < FROM_START:
            start = int(self.rng.choice(self.tale_starts))
        else:
            start = int(self.rng.integers(0, len(self.tales)))
        start = min(start, len(self.tales) - length - 1)
        row = self.tales[start:start + length + 1].astype(np.int64)
        return row[:-1], row[1:]

    def chat_row(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Whole examples in a row, the last cut off; a tale fills the rest where little of an example would fit."""
        ids: list[int] = []
        mask: list[int] = []
        while len(ids) < length + 1:
            example = self.next_example()
            begin, end = self.bounds[example], self.bounds[example + 1]
            room = length + 1 - len(ids)
            if ids and end - begin > 1.5 * room and end - begin > 200:
                ids += self.tale_row(room)[0].tolist()
                mask += [1] * room
                break
            ids += self.chat[begin:end].tolist()
            mask += self.mask[begin:end].tolist()
        row, learned = np.array(ids[:length + 1]), np.array(mask[:length + 1])
        return row[:-1], np.where(learned[1:] == 1, row[1:], IGNORED)

    def next_example(self) -> int:
        """Each example of the pool once, in random order; then again in another."""
        if self.next == len(self.order):
            self.order, self.next = self.rng.permutation(self.pool), 0
        self.next += 1
        return self.order[self.next - 1]


class HeldOutRows:
    """The rows the loss is measured on: always the same, in the same order, ``length`` tokens each."""

    def __init__(self, folder: Path, length: int):
        data = arrays.load(folder, "val")
        self.length, self.all_tales = length, data["tales"]
        self.all_chat, self.mask, self.bounds = data["chat"], data["chat_mask"], data["chat_starts"]
        if len(self.all_tales) < length + 2 or len(self.bounds) < 2:
            raise RecipeError(f"{folder} holds out {len(self.all_tales)} tokens of tales and {len(self.bounds) - 1} "
                              f"chat examples; {length + 2} and one are needed: prepare with a larger --val-share.")

    def tales(self, most: int | None = None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Consecutive rows of the tales, at most ``most`` of them."""
        end = len(self.all_tales) - self.length - 1
        for start in range(0, end if most is None else min(end, most * self.length), self.length):
            row = self.all_tales[start:start + self.length + 1].astype(np.int64)[None]
            yield tensor_pair(row[:, :-1], row[:, 1:])

    def chat(self, most: int | None = None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One example a row, cut off or padded; about ``most`` of them, evenly spaced."""
        examples = len(self.bounds) - 1
        for i in range(0, examples, 1 if most is None else max(1, examples // most)):
            begin, end = self.bounds[i], min(self.bounds[i + 1], self.bounds[i] + self.length + 1)
            row = np.zeros((1, self.length + 1), np.int64)
            labels = np.full_like(row, IGNORED)
            row[0, :end - begin] = self.all_chat[begin:end]
            labels[0, :end - begin] = np.where(self.mask[begin:end] == 1, row[0, :end - begin], IGNORED)
            yield tensor_pair(row[:, :-1], labels[:, 1:])
