#!/usr/bin/env python3
"""Many questions behind one long prefix: throughput with the prefix cache on over that with it off, in turns.

usage: fewshot.py [--swerve .build/release/swerve] [--model story|FOLDER] [--prefix 1400] [--questions 64] [--question 40]
                  [--output 16] [--concurrency 16] [--rounds 5] [--policy lru|cost]

The shape of a five-shot evaluation: the same examples before each question. With FOLDER (default: the 0.5B shape) weights
are random and tokens are ids. Prints each round's ratio, their median and spread, and how many prompt tokens were found.
"""
import argparse, json, os, statistics, subprocess, tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--swerve", default=".build/release/swerve")
parser.add_argument("--model", default=os.path.join(os.path.dirname(__file__), "../models/bench-0.5b"))
parser.add_argument("--prefix", type=int, default=1400)
parser.add_argument("--questions", type=int, default=64)
parser.add_argument("--question", type=int, default=40)
parser.add_argument("--output", type=int, default=16)
parser.add_argument("--concurrency", type=int, default=16)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--policy", default="lru")
options = parser.parse_args()
is_story = options.model == "story"
model = [] if is_story else ["--model", options.model, "--load-format", "dummy", "--skip-tokenizer-init",
                             "--max-model-len", "4096"]
vocabulary = 4000 if is_story else 30000


def replay(caching):
    prefix = [(i * 104729 + 17) % vocabulary for i in range(options.prefix)]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        for question in range(options.questions):
            own = [((question + 1) * 7919 + i * 104723) % vocabulary for i in range(options.question)]
            f.write(json.dumps({"prompt_token_ids": prefix + own, "max_tokens": options.output}) + "\n")
        f.flush()
        out = subprocess.run(
            [options.swerve, "bench", "replay", *model, "--requests", f.name,
             "--concurrency", str(options.concurrency), "--prefix-cache-policy", options.policy,
             "--enable-prefix-caching" if caching else "--no-enable-prefix-caching"],
            capture_output=True, text=True, check=True).stdout
    return json.loads(out[out.index("{"):])


ratios, last = [], {}
for turn in range(options.rounds):
    seconds = {}
    for caching in ((True, False) if turn % 2 else (False, True)):
        last[caching] = replay(caching)
        seconds[caching] = last[caching]["elapsed_s"]
    ratios.append(seconds[False] / seconds[True])
    print(f"round {turn + 1}: {options.questions / seconds[True]:.2f} questions/s with, "
          f"{options.questions / seconds[False]:.2f} without: {ratios[-1]:.2f} times", flush=True)
kv = last[True]["kv"]
print(f"throughput with the cache over without: median {statistics.median(ratios):.2f} "
      f"({min(ratios):.2f}–{max(ratios):.2f}); {kv['hit_tokens']} of {kv['queried_tokens']} prompt tokens found")
