#!/usr/bin/env python3
"""Swerve and other engines on the same workloads, in turns in one run; prints one JSON line per engine and case.

  compare.py PLAN.json [--rounds 2] [--cases prefill512,decode1,…] [--out results.jsonl]

PLAN.json: a list of {"engine", "model", "quant", "class", "env": {…}, "cases": "…" (optional), "args": […] (optional)}, as run_peer.py
takes them. "class" names what is compared with what: bf16, 8-bit, 4-bit. Odd rounds walk the plan backwards, so that a
machine that drifts favours nobody. `compare.py --table results.jsonl` prints the ratios as Markdown.
"""
import argparse, json, os, statistics, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = ["prefill512", "prefill2048", "decode1", "decode8", "decode32", "offline64", "prefix32", "load"]


def run(plan, rounds, cases, out):
    for turn in range(rounds):
        for entry in plan if turn % 2 == 0 else reversed(plan):
            wanted = [c for c in entry.get("cases", cases).split(",") if c in cases.split(",")]
            if not wanted:
                continue
            command = [sys.executable, os.path.join(HERE, "run_peer.py"), "--engine", entry["engine"], "--model", entry["model"],
                       "--quant", entry["quant"], "--case", ",".join(wanted), "--reps", "1", *entry.get("args", [])]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **entry.get("env", {})})
            if done.returncode:
                print(f"{entry['engine']} {entry['quant']}: {done.stderr[-300:]}", file=sys.stderr)
            for line in done.stdout.splitlines():
                if line.startswith("{"):
                    line = json.dumps({**json.loads(line), "class": entry["class"], "shape": entry["shape"], "round": turn})
                    print(line, flush=True)
                    out.write(line + "\n")
                    out.flush()


def table(path):
    cells = {}
    for line in open(path):
        d = json.loads(line)
        if "best" not in d:
            continue
        key = (d["shape"], d["class"], d["engine"], d["quant"])
        cells.setdefault(key, {}).setdefault(d["case"], []).append(d["best"])
        if "rss_MiB" in d and d["rss_MiB"]:
            cells[key].setdefault("memory", []).append(d["rss_MiB"])
    columns = CASES + ["memory"]
    for shape, kind in sorted({k[:2] for k in cells}):
        print(f"\n{shape}, {kind}\n\n| engine | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
        rows = {k[2:]: v for k, v in cells.items() if k[:2] == (shape, kind)}

        def middle(values, column):
            return max(values) if column == "memory" else statistics.median(values)

        for (engine, quant), row in sorted(rows.items()):
            text = []
            for c in columns:
                v = row.get(c)
                text.append("–" if not v else f"{middle(v, c):.4g}" + (f" ({min(v):.4g}–{max(v):.4g})" if len(v) > 1 and c != "memory" else ""))
            print(f"| {engine} {quant} | " + " | ".join(text) + " |")
        ours = [v for (engine, _), v in rows.items() if engine == "swerve"]
        others = [v for (engine, _), v in rows.items() if engine != "swerve"]
        text = []
        for c in columns:
            better = min if c in ("load", "memory") else max
            a = [middle(v[c], c) for v in ours if v.get(c)]
            b = [middle(v[c], c) for v in others if v.get(c)]
            text.append(f"**{better(a) / better(b):.2f}×**" if a and b else "–")
        print("| **Swerve ÷ best other** | " + " | ".join(text) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("plan", nargs="?")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--out", default="results.jsonl")
    parser.add_argument("--table")
    options = parser.parse_args()
    if options.table:
        table(options.table)
    else:
        with open(options.out, "a") as out:
            run(json.load(open(options.plan)), options.rounds, options.cases, out)
