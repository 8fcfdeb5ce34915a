#!/usr/bin/env python3
"""Beam search against sampling as many choices, in turns: seconds for the same tokens.

usage: beams.py [--swerve .build/release/swerve] [--rounds 5] [--model FOLDER] [--width 4] [--input 500] [--output 128]

Both compute the prompt once and then a row a choice (or beam) and step. A ratio is the time of a search over that of the
choices of the same round.
"""
import argparse, json, os, statistics, subprocess, tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--swerve", default=".build/release/swerve")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--model", default=os.path.join(os.path.dirname(__file__), "../models/bench-0.5b"))
parser.add_argument("--width", type=int, default=4)
parser.add_argument("--input", type=int, default=500)
parser.add_argument("--output", type=int, default=128)
options = parser.parse_args()


def seconds(beams):
    with tempfile.NamedTemporaryFile("r", suffix=".json") as f:
        model = [] if options.model == "story" else ["--model", options.model, "--load-format", "dummy",
                                                     "--skip-tokenizer-init", "--max-model-len", "4096"]
        subprocess.run([options.swerve, "bench", "latency", *model, "--batch-size", "1", "--n", str(options.width),
                        "--input-len", str(options.input), "--output-len", str(options.output),
                        "--num-iters-warmup", "1", "--num-iters", "3", "--disable-detokenize", "--output-json", f.name,
                        *(["--use-beam-search"] if beams else [])], capture_output=True, text=True, check=True)
        return json.load(f)["avg_latency"]


ratios = []
for turn in range(options.rounds):
    times = {beams: seconds(beams) for beams in ((True, False) if turn % 2 else (False, True))}
    ratios.append(times[True] / times[False])
    print(f"{times[False]:.3f} s sampled, {times[True]:.3f} s searched", flush=True)
print(f"width {options.width}, {options.input} + {options.output} tokens: {statistics.median(ratios):.3f} "
      f"({min(ratios):.3f}–{max(ratios):.3f})")
