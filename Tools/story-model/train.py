#!/usr/bin/env python3
"""Train the story model on a CPU, from the folder that prepare.py wrote.

Everything is computed in bfloat16 (with AMX or AVX512-BF16 where the CPU has them); the weights are kept in float32.
Learning rate, row length and share of chat rows follow the *wall time*: the run ends on time whatever part of the
machine it gets, always with a decayed rate. SIGTERM and Ctrl-C save a checkpoint and end it early.

OUT/last.safetensors is written every --save-minutes and at the end, OUT/best.safetensors after each evaluation that
is the best so far; export.py makes a model folder of either, also while the training runs.
"""
import argparse
import json
import math
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import errors
import options
from model import Positions, Shape, StoryModel
from optimizer import Optimizer
from rows import HeldOutRows, TrainingRows
from tokenizer import vocabulary_size

EVALUATION_LENGTH = 512
EVALUATION_ROWS = 8  # in one pass
REPORT_SECONDS = 20
PREFIX = "model."  # of the tensors' names in a checkpoint


def schedule(progress: float, given: argparse.Namespace) -> tuple[float, int, float]:
    """At ``progress`` (0 to 1): factor of the learning rates, row length, share of chat rows.

    The factor rises from 0.1 over the first fiftieth of the run, then falls along a cosine to 0.02.
    """
    warm = 0.02
    if progress < warm:
        factor = 0.1 + 0.9 * progress / warm
    else:
        factor = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))
    length = given.lengths[sum(progress >= place for place in given.length_at)]
    first, last = given.chat_share
    return factor, length, first + (last - first) * min(1.0, progress / 0.7)


class Training:
    """One run: the model, its optimiser, its rows and its clock."""

    def __init__(self, given: argparse.Namespace):
        self.given, self.began = given, time.time()
        sizes = {name: getattr(given, name) for name in asdict(Shape()) if name != "vocab"}
        self.shape = Shape(vocab=vocabulary_size(given.data / "tokenizer.json"), **sizes)
        evaluation_length = min(EVALUATION_LENGTH, self.shape.context)
        self.rows = TrainingRows(given.data, given.seed, given.talk_weight, max(given.lengths))
        self.held_out = HeldOutRows(given.data, evaluation_length)
        self.positions = {n: Positions.of(n, self.shape) for n in {*given.lengths, evaluation_length}}

        torch.manual_seed(given.seed)
        self.model = StoryModel(self.shape)
        if given.init:
            self.start_from_checkpoint()
        self.optimizer = Optimizer(self.model, given.matrix_lr, given.lr, given.decay)
        self.model.bfloat16()
        self.loss = torch.compile(self.model, dynamic=False) if given.compile else self.model

        self.step = self.tokens = self.paused = 0
        self.mean_loss: float | None = None  # of the training rows, over about 30 steps
        self.best = math.inf
        self.stopping = False
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "model.json").write_text(json.dumps(asdict(self.shape)) + "\n")

    def start_from_checkpoint(self) -> None:
        try:
            weights = load_file(self.given.init)
            self.model.load_state_dict({name.removeprefix(PREFIX): value.float() for name, value in weights.items()})
        except Exception as error:  # the libraries raise several kinds, some of many lines
            reason = " ".join(str(error).split())[:200]
            raise errors.RecipeError(f"--init {self.given.init} does not fit ({reason}); "
                                     "give a checkpoint of the same sizes and vocabulary.") from None

    @property
    def progress(self) -> float:
        return (time.time() - self.began) / (60 * self.given.minutes)

    def train(self) -> None:
        """Train until the time is up or a signal comes."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        saved = evaluated = time.time()
        shown = 0.0
        while True:
            self.wait_while_paused()
            progress = self.progress
            if progress >= 1 or self.stopping:
                break
            factor, length, chat_share = schedule(progress, self.given)
            norm = self.one_step(factor, length, chat_share)
            if time.time() - shown > REPORT_SECONDS:
                shown = time.time()
                self.report(length=length, loss=round(self.mean_loss or 0, 4), norm=round(norm, 3),
                            factor=round(factor, 4), cpu_s=round(time.process_time()), paused_s=self.paused)
            if time.time() - saved > 60 * self.given.save_minutes:
                self.save("last")
                saved = time.time()
            if time.time() - evaluated > 60 * self.given.eval_minutes:
                self.evaluate(tales=32, chat=64)
                evaluated = time.time()
        self.save("last")
        if not self.stopping:
            self.evaluate(tales=None, chat=None)

    def stop(self, *_: Any) -> None:
        self.stopping = True

    def wait_while_paused(self) -> None:
        pause = self.given.pause_file
        while pause and pause.exists() and not self.stopping and self.progress < 1:
            time.sleep(1)
            self.paused += 1

    def one_step(self, factor: float, length: int, chat_share: float) -> float:
        """One update; returns the norm of the gradients."""
        ids, labels = self.rows.batch(max(1, self.given.tokens // length), length, chat_share)
        loss = self.loss(ids, labels, self.positions[length])
        loss.backward()
        norm = self.optimizer.step(factor)
        self.step += 1
        self.tokens += ids.numel()
        self.mean_loss = loss.item() if self.mean_loss is None else 0.97 * self.mean_loss + 0.03 * loss.item()
        return norm

    def evaluate(self, tales: int | None, chat: int | None) -> None:
        """Measure both held-out losses on so many rows (None: all), log them, keep the best weights."""
        on_tales = self.held_out_loss(self.held_out.tales(tales))
        on_chat = self.held_out_loss(self.held_out.chat(chat))
        line = self.report(val_tales=round(on_tales, 4), val_chat=round(on_chat, 4),
                           train=round(self.mean_loss or 0, 4), final=tales is None)
        with open(self.given.out / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(line + "\n")
        if on_tales + on_chat < self.best:
            self.best = on_tales + on_chat
            self.save("best")

    @torch.no_grad()
    def held_out_loss(self, rows: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
        """Mean loss of a learned token. Rows beyond the last full pass are left out, unless there is no full one."""
        pairs = list(rows)
        total, count = 0.0, 0
        for i in range(0, len(pairs) - len(pairs) % EVALUATION_ROWS or len(pairs), EVALUATION_ROWS):
            ids, labels = (torch.cat(part) for part in zip(*pairs[i:i + EVALUATION_ROWS]))
            learned = int((labels >= 0).sum())
            total += self.model(ids, labels, self.positions[self.held_out.length]).item() * learned
            count += learned
        return total / max(1, count)

    def save(self, name: str) -> None:
        """Write the float32 weights; the file is replaced at once, so that a reader never sees half of it."""
        masters = self.optimizer.masters()
        path = self.given.out / f"{name}.safetensors"
        tensors = {PREFIX + key: masters[id(value)].clone() for key, value in self.model.named_parameters()}
        save_file(tensors, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)

    def report(self, **values: Any) -> str:
        """Print one JSON line about where the run is; return it."""
        minutes = round((time.time() - self.began) / 60, 2)
        line = json.dumps({"step": self.step, "minutes": minutes, "tokens": self.tokens, **values})
        print(line, flush=True)
        return line

    def bench(self) -> None:
        """Print how long steps of each row length take."""
        for length in self.given.lengths:
            for _ in range(5):
                wall, cpu = time.time(), time.process_time()
                self.one_step(1.0, length, 0.5)
                wall, cpu = time.time() - wall, time.process_time() - cpu
                print(f"rows of {length}: {wall:.2f} s, {cpu:.2f} CPU s, "
                      f"{self.given.tokens / cpu * self.given.threads:.0f} tokens/s if alone", flush=True)


def main() -> None:
    given = options.parse(__doc__)
    torch.set_num_threads(given.threads)
    training = Training(given)
    count = sum(parameter.numel() for parameter in training.model.parameters())
    print(f"{count / 1e6:.2f} M parameters, torch {torch.__version__}, {given.threads} threads", flush=True)
    if given.bench:
        training.bench()
    else:
        training.train()


if __name__ == "__main__":
    errors.run(main)
