#!/usr/bin/env python3
"""Swerve and other engines on the same workloads, in turns in one run; prints one JSON line per engine and case.

  compare.py PLAN.json [--rounds 2] [--cases prefill512,decode1,…] [--out results.jsonl]

PLAN.json: a list of {"engine", "model", "quant", "class", "env": {…}, "cases": "…" (optional), "args": […] (optional)}, as run_peer.py
takes them. "class" names what is compared with what: bf16, 8-bit, 4-bit. All engines run a case before the next case; odd
rounds walk the plan backwards, so that a machine that drifts favours nobody. `compare.py --table results.jsonl` prints medians
and the ratios of each round as Markdown.
"""
import argparse, json, os, statistics, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = ["prefill512", "prefill2048", "decode1", "decode8", "decode32", "offline64", "prefix32", "load"]


def run(plan, rounds, cases, out):
    """Case by case, each on all engines before the next: what a ratio compares lies a minute apart, not ten."""
    for turn in range(rounds):
        for case in cases.split(","):
            for entry in plan if turn % 2 == 0 else reversed(plan):
                if case in entry.get("cases", cases).split(","):
                    measure(entry, case, turn, out)


def measure(entry, case, turn, out):
    command = [sys.executable, os.path.join(HERE, "run_peer.py"), "--engine", entry["engine"], "--model", entry["model"],
               "--quant", entry["quant"], "--case", case, "--reps", "1", *entry.get("args", [])]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **entry.get("env", {})})
    if done.returncode:
        print(f"{entry['engine']} {entry['quant']} {case}: {done.stderr[-300:]}", file=sys.stderr)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            line = json.dumps({**json.loads(line), "class": entry["class"], "shape": entry["shape"], "round": turn})
            print(line, flush=True)
            out.write(line + "\n")
            out.flush()


def spread(values):
    middle = statistics.median(values)
    return f"{middle:.4g}" if len(values) == 1 else f"{middle:.4g} ({min(values):.4g}–{max(values):.4g})"


def ratios(ours, others, column):
    """The best of ours over the best of the others, round by round."""
    better = min if column in ("load", "memory") else max
    found = []
    for turn in sorted({turn for row in ours for turn in row.get(column, {})}):
        a = [row[column][turn] for row in ours if turn in row.get(column, {})]
        b = [row[column][turn] for row in others if turn in row.get(column, {})]
        if a and b:
            found.append(better(a) / better(b))
    return found


def table(path):
    # Of each class: of each engine: of each column: by round.
    cells = {}
    for line in open(path):
        d = json.loads(line)
        if "best" not in d:
            continue
        row = cells.setdefault((d["shape"], d["class"]), {}).setdefault((d["engine"], d["quant"]), {})
        row.setdefault(d["case"], {})[d["round"]] = d["best"]
        if d.get("rss_MiB"):
            memory = row.setdefault("memory", {})
            memory[d["round"]] = max(memory.get(d["round"], 0), d["rss_MiB"])
    columns = CASES + ["memory"]
    for (shape, kind), rows in sorted(cells.items()):
        print(f"\n{shape}, {kind}\n\n| engine | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
        for (engine, quant), row in sorted(rows.items()):
            text = [spread(list(row[c].values())) if c in row else "–" for c in columns]
            print(f"| {engine} {quant} | " + " | ".join(text) + " |")
        ours = [row for (engine, _), row in rows.items() if engine == "swerve"]
        others = [row for (engine, _), row in rows.items() if engine != "swerve"]
        text = []
        for c in columns:
            found = ratios(ours, others, c)
            if not found:
                text.append("–")
                continue
            end = f" ({min(found):.2f}–{max(found):.2f})" if len(found) > 1 else ""
            text.append(f"**{statistics.median(found):.2f}×**{end}")
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
