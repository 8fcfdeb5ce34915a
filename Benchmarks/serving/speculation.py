#!/usr/bin/env python3
"""Speculative decoding on and off, in turns: text that repeats itself and text that does not.

usage: speculation.py [--swerve .build/release/swerve] [--rounds 5] [--model FOLDER] [--output 384]

Random weights, greedy, soon say the same again and again: text that repeats itself. The same weights sampled at
temperature 1 over a vocabulary of 150,000 never do. Ratios are tokens a second with speculation over those without, of
the same round.
"""
import argparse, json, os, statistics, subprocess, tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--swerve", default=".build/release/swerve")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--model", default=os.path.join(os.path.dirname(__file__), "../models/bench-0.5b"))
parser.add_argument("--output", type=int, default=384)
options = parser.parse_args()


def replay(batch, temperature, speculates):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        for row in range(batch):
            f.write(json.dumps({"prompt_token_ids": [(row * 7919 + i * 104729) % 30000 for i in range(32)],
                                "max_tokens": options.output}) + "\n")
        f.flush()
        model = [] if options.model == "story" else ["--model", options.model, "--load-format", "dummy",
                                                     "--skip-tokenizer-init", "--max-model-len", "4096"]
        out = subprocess.run([options.swerve, "bench", "replay", *model, "--requests", f.name,
                              "--temperature", str(temperature), "--no-enable-prefix-caching",
                              *(["--spec-method", "ngram"] if speculates else [])],
                             capture_output=True, text=True, check=True).stdout
    return json.loads(out[out.index("{"):])


for name, temperature in (("repeating", 0), ("not repeating", 1)):
    for batch in (1, 8, 32):
        ratios, counts = [], {}
        for turn in range(options.rounds):
            rates = {}
            for speculates in ((True, False) if turn % 2 else (False, True)):
                result = replay(batch, temperature, speculates)
                rates[speculates] = result["output_tokens_per_s"]
                if speculates:
                    counts = result["speculation"]
            ratios.append(rates[True] / rates[False])
        print(f"{name}, {batch} sequences: {statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f}); "
              f"{counts['accepted_tokens']} of {counts['draft_tokens']} drafts accepted, {counts['steps']} steps",
              flush=True)
