#!/usr/bin/env python3
"""How decoding scales with CPUs: the same load on 1, 2, 4 … of the allowed CPUs, in turns.

usage: scaling.py [--swerve .build/release/swerve] [--rounds 3] [--batch 1 8 32] [--output 32] [MODEL and flags …]

Without further arguments the 0.5B shape with random weights. Prints, for each batch, the median time per token and the
speed against one CPU. Each run is bound by its CPU affinity alone (what `taskset` sets); threads follow it.
"""
import argparse, json, os, statistics, subprocess, tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--swerve", default=".build/release/swerve")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
parser.add_argument("--output", type=int, default=32)
options, rest = parser.parse_known_args()
shape = os.path.join(os.path.dirname(__file__), "../models/bench-0.5b")
model = rest or ["--model", shape, "--load-format", "dummy", "--skip-tokenizer-init", "--max-model-len", "4096"]
allowed = sorted(os.sched_getaffinity(0))
counts = [1 << i for i in range(len(allowed).bit_length()) if 1 << i <= len(allowed)]
if counts[-1] != len(allowed):
    counts.append(len(allowed))


def seconds(cpus, batch):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        for row in range(batch):
            ids = [(row * 7919 + i * 104729) % 3000 for i in range(32)]
            f.write(json.dumps({"prompt_token_ids": ids, "max_tokens": options.output}) + "\n")
        f.flush()
        out = subprocess.run([options.swerve, "bench", "replay", *model, "--requests", f.name], capture_output=True,
                             text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, cpus)).stdout
    return json.loads(out[out.index("{"):])["itl_s"]["p50"]


for batch in options.batch:
    times = {count: [] for count in counts}
    for _ in range(options.rounds):
        for count in counts:
            times[count].append(seconds(allowed[:count], batch))
    base = statistics.median(times[1])
    for count in counts:
        median = statistics.median(times[count])
        print(f"batch {batch}, {count} CPUs: {median * 1e3:.2f} ms a token, {base / median:.2f} times one CPU")
