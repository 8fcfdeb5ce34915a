#!/usr/bin/env python3
"""Compares what swerve placement plan predicts with what swerve bench replay measures, for the placements that one machine can
run: unified, separated with one data worker, two ranks, and, for a folder of packed weights, gathered from the disk and from the host.
Rounds of all placements are interleaved, each with a plan of its own; the median error of each counts. Ends with 1 where a
prediction is further off than --limit.

  swift build -c release --product swerve
  Benchmarks/placement/check.py MODEL [--binary .build/release/swerve] [--input-len 256] [--output-len 64]
      [--sequences 4] [--rounds 3] [--limit 0.2]
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile


def run(words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(" ".join(words) + ": " + done.stderr.decode())
    return done.stdout.decode()


def measured(options, requests, flags):
    words = [
        options.binary, "bench", "replay", "--model", options.model, "--requests", requests, "--concurrency",
        str(options.sequences), "--max-num-seqs", str(options.sequences), *flags]
    return json.loads(run(words))["output_tokens_per_s"]


def predicted(options):
    """Tokens a second for each placement, as the planner says now."""
    plan = json.loads(run([
        options.binary, "placement", "plan", options.model, "--json", "--input-len", str(options.input_len),
        "--output-len", str(options.output_len), "--max-num-seqs", str(options.sequences)]))
    return {row["placement"]: row["tokens_per_second"] for row in plan["estimates"] if "refusal" not in row}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--binary", default=".build/release/swerve")
    parser.add_argument("--input-len", type=int, default=256)
    parser.add_argument("--output-len", type=int, default=64)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=0.2)
    options = parser.parse_args()
    ways = {"unified": []}
    if os.path.exists(os.path.join(options.model, "model.swerve")):
        for source in ["nvme", "host"]:
            ways[f"gathered {source}"] = ["--placement", "gathered", "--gather-source", source]
    ways["separated"] = ["--placement", "separated"]
    if os.cpu_count() > 1: ways |= {"tensor 2": ["-tp", "2"], "pipeline 2": ["-pp", "2"]}
    # The planner's names may say more: the first that begins alike is meant.
    planned = predicted(options)
    names = {way: next((name for name in planned if name.lower().startswith(way.split(",")[0])), None) for way in ways}
    ways = {way: flags for way, flags in ways.items() if names[way]}
    numbers = random.Random(1)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for _ in range(3 * options.sequences):
            ids = [numbers.randrange(10, 1000) for _ in range(options.input_len)]
            file.write(json.dumps({"prompt_token_ids": ids, "max_tokens": options.output_len}) + "\n")
        file.flush()
        # What is predicted in a round is compared with what that round measures: a machine that others use too has other
        # speeds later.
        found = {way: [] for way in ways}
        for _ in range(options.rounds):
            planned = predicted(options)
            for way, flags in ways.items(): found[way].append((planned[names[way]], measured(options, file.name, flags)))
    worst = 0.0
    print(f"{'placement':24} {'predicted':>10} {'measured':>10} {'error':>7}   tokens/s of output, medians")
    for way, rounds in found.items():
        errors = [before / after - 1 for before, after in rounds]
        error = statistics.median(errors)
        worst = max(worst, abs(error))
        middles = [statistics.median(side) for side in zip(*rounds)]
        print(f"{way:24} {middles[0]:10.1f} {middles[1]:10.1f} {error:+7.1%}   {min(errors):+.0%} … {max(errors):+.0%}")
    if worst > options.limit:
        sys.exit(f"a prediction is {worst:.0%} off; {options.limit:.0%} are allowed. Was the machine idle?")


main()
