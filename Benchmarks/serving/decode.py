#!/usr/bin/env python3
"""Decode of the 0.5B shape as a share of the memory read bandwidth, both measured in turns in one run.

usage: decode.py [--swerve .build/release/swerve] [--rounds 5]

A step at batch 1 reads every weight once; its bytes are those of the packed bf16 weights. The read bandwidth is the
larger of `swerve bench kernels`' figures for one and for eight streams a thread, of the same round.
"""
import argparse, json, os, re, statistics, subprocess, tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--swerve", default=".build/release/swerve")
parser.add_argument("--rounds", type=int, default=5)
options = parser.parse_args()
model = os.path.join(os.path.dirname(__file__), "../models/bench-0.5b")
WEIGHT_BYTES = 2 * (24 * (896 * (896 + 2 * 128) + 896 * 896 + 3 * 896 * 4864) + 151936 * 896)


def replay(batch, prompt, output):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        for row in range(batch):
            f.write(json.dumps({"prompt_token_ids": [(row * 7919 + i * 104729) % 150000 for i in range(prompt)],
                                "max_tokens": output}) + "\n")
        f.flush()
        out = subprocess.run([options.swerve, "bench", "replay", "--model", model, "--load-format", "dummy",
                              "--skip-tokenizer-init", "--max-model-len", "4096", "--requests", f.name],
                             capture_output=True, text=True, check=True).stdout
    return json.loads(out[out.index("{"):])


rows = []
for _ in range(options.rounds):
    kernels = subprocess.run([options.swerve, "bench", "kernels"], capture_output=True, text=True, check=True).stdout
    one, many = (float(x) for x in re.search(r"read from memory: ([\d.]+) GB/s.*?, ([\d.]+) GB/s", kernels).groups())
    row = {"read": max(one, many)}
    row["itl"] = replay(1, 32, 64)["itl_s"]["p50"]
    row["share"] = WEIGHT_BYTES / row["itl"] / 1e9 / row["read"]
    for batch in (8, 32):
        row[f"tokens/s at {batch}"] = batch / replay(batch, 32, 64)["itl_s"]["p50"]
    for prompt in (512, 2048):
        row[f"prefill {prompt} tokens/s"] = prompt / replay(1, prompt, 1)["prefill_s"]
    rows.append(row)
for name in rows[0]:
    values = [row[name] for row in rows]
    print(f"{name}: median {statistics.median(values):.4g}, {min(values):.4g}–{max(values):.4g}")
