#!/usr/bin/env python3
"""Compares what swerve placement plan predicts with what swerve bench replay measures, for the placements that one machine can
run: unified, separated with one data worker, and, for a folder of packed weights, gathered from the disk and from the host.
Rounds of all placements are interleaved; the median of each counts. Ends with 1 where a prediction is further off than --limit.

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
    plan = json.loads(run([
        options.binary, "placement", "plan", options.model, "--json", "--input-len", str(options.input_len),
        "--output-len", str(options.output_len), "--max-num-seqs", str(options.sequences)]))
    predicted = {row["placement"]: row["tokens_per_second"] for row in plan["estimates"] if "refusal" not in row}
    ways = {"unified": []}
    if os.path.exists(os.path.join(options.model, "model.swerve")):
        for source in ["nvme", "host"]:
            ways[f"gathered {source}"] = ["--placement", "gathered", "--gather-source", source]
    ways["separated"] = ["--placement", "separated"]
    # The planner's names may say more: the first that begins alike is meant.
    names = {way: next((name for name in predicted if name.lower().startswith(way.split(",")[0])), None) for way in ways}
    ways = {way: flags for way, flags in ways.items() if names[way]}
    numbers = random.Random(1)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for _ in range(3 * options.sequences):
            ids = [numbers.randrange(10, 1000) for _ in range(options.input_len)]
            file.write(json.dumps({"prompt_token_ids": ids, "max_tokens": options.output_len}) + "\n")
        file.flush()
        found = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, flags in ways.items():
                found[way].append(measured(options, file.name, flags))
    worst = 0.0
    print(f"{'placement':24} {'predicted':>10} {'measured':>10} {'error':>7}   tokens/s of output")
    for way, all_rounds in found.items():
        middle = statistics.median(all_rounds)
        error = predicted[names[way]] / middle - 1
        worst = max(worst, abs(error))
        spread = max(all_rounds) / min(all_rounds) - 1
        print(f"{way:24} {predicted[names[way]]:10.1f} {middle:10.1f} {error:+7.1%}   spread {spread:.0%}")
    if worst > options.limit:
        sys.exit(f"a prediction is {worst:.0%} off; {options.limit:.0%} are allowed. Was the machine idle?")


main()
