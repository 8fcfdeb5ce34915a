#!/usr/bin/env python3
"""Separated against unified, in turns, on one machine: decode throughput, and what an exchange costs a step.

    swift build -c release --product swerve
    python3 Benchmarks/separation/compare.py --swerve .build/release/swerve --model DIR [--rounds 5] [--workers 1]

Each round runs both placements, the first one alternating. Without --model the embedded one is used; --dummy gives random weights in
the shapes of its config.json. --busy N keeps N other processes computing meanwhile. Another placement is compared by --other, and
by --launch what starts it:

    … --no-exchange --other='-tp 2' --launch='mpirun -np 2 --oversubscribe --bind-to none --mca mpi_yield_when_idle 1'

Prints one JSON object.
"""
import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request


def requests_file(folder, batch, prompt, output, vocabulary):
    path = os.path.join(folder, f"requests-{batch}.jsonl")
    with open(path, "w") as out:
        for index in range(batch):
            ids = [(7 * position + 13 * index) % vocabulary + 3 for position in range(prompt)]
            out.write(json.dumps({"prompt_token_ids": ids, "max_tokens": output}) + "\n")
    return path


def replay(arguments, path, extra, launch=()):
    words = [*launch, arguments.swerve, "bench", "replay", "--requests", path] + model_words(arguments) + extra
    result = subprocess.run(words, capture_output=True, text=True, timeout=1800)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(words)}\n{result.stderr}")
    return json.loads(result.stdout[result.stdout.index("{"):])


def model_words(arguments):
    words = ["--max-num-seqs", "32", "--max-model-len", str(arguments.prompt + arguments.output + 64)]
    words += ["--kv-cache-memory-bytes", arguments.kv]
    if arguments.model:
        words = ["--model", arguments.model] + words
    if arguments.dummy:
        words += ["--load-format", "dummy", "--skip-tokenizer-init"]
    return words


def decode_rate(report):
    """Tokens a second behind the prompts."""
    seconds = report["elapsed_s"] - report["prefill_s"]
    return report["output_tokens"] / seconds


def metrics(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        text = page.read().decode()
    values = {}
    for line in text.splitlines():
        found = re.match(r"(swerve_\S+?)(\{.*?\})? (\S+)$", line)
        if found:
            values[found[1] + (found[2] or "")] = float(found[3])
    return values


def exchange(arguments, batch):
    """Seconds of a decode step that are neither the parameter worker's nor the data workers' computing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [arguments.swerve, "serve"] + ([arguments.model] if arguments.model else [])
    words += [w for w in model_words(arguments) if w not in ("--model", arguments.model)]
    words += ["--port", str(port), "--data-workers", str(arguments.workers), "--no-enable-prefix-caching"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                before = metrics(port)
                break
            except OSError:
                time.sleep(0.2)
        before = metrics(port)
        body = json.dumps({
            "model": model_name(port), "prompt": [[(7 * p + 13 * i) % 90 + 3 for p in range(8)] for i in range(batch)],
            "max_tokens": arguments.output, "ignore_eos": True, "temperature": 0}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/completions", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=1800).read()
        time.sleep(1.2)
        # The report of workers follows the steps by a second at most.
        urllib.request.urlopen(urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/completions", json.dumps({
                "model": model_name(port), "prompt": [5, 6], "max_tokens": 1}).encode(),
            {"Content-Type": "application/json"}), timeout=600).read()
        after = metrics(port)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)

    def grown(prefix):
        return sum(v for k, v in after.items() if k.startswith(prefix)) - sum(
            v for k, v in before.items() if k.startswith(prefix))

    steps = grown("swerve_steps_total")
    busy = sum(v - before.get(k, 0) for k, v in after.items()
               if k.startswith("swerve_step_seconds_total") and 'worker="d' in k)
    spent = sum(grown(f'swerve_link_seconds_total{{peer="d{w}",phase="{phase}"')
                for w in range(arguments.workers) for phase in ("post", "wait", "done"))
    return {"batch": batch, "steps": steps, "exchange_ms_per_step": 1000 * (spent - busy) / max(steps, 1)}


def model_name(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=10) as page:
        return json.load(page)["data"][0]["id"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--swerve", required=True)
    parser.add_argument("--model", default="")
    parser.add_argument("--dummy", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--vocabulary", type=int, default=4000)
    parser.add_argument("--kv", default="256MiB")
    parser.add_argument("--no-exchange", action="store_true")
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--other", default="", help="flags of the other side, as one word; default: data workers")
    parser.add_argument("--launch", default="", help="words in front of the other side's command, as one word")
    arguments = parser.parse_args()
    separated = arguments.other.split() or ["--data-workers", str(arguments.workers)]
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(arguments.busy)]
    try:
        compare(arguments, separated)
    finally:
        for process in busy:
            process.kill()


def compare(arguments, separated):
    report = {
        "rounds": arguments.rounds, "other": separated, "busy": arguments.busy, "throughput": [], "exchange": []}
    with tempfile.TemporaryDirectory() as folder:
        for batch in map(int, arguments.batches.split(",")):
            path = requests_file(folder, batch, arguments.prompt, arguments.output, arguments.vocabulary)
            rates = {"unified": [], "separated": []}
            for index in range(arguments.rounds):
                order = [("unified", []), ("separated", separated)]
                for name, extra in order if index % 2 == 0 else order[::-1]:
                    launch = arguments.launch.split() if name == "separated" else []
                    rates[name].append(decode_rate(replay(arguments, path, extra, launch)))
            medians = {name: statistics.median(values) for name, values in rates.items()}
            report["throughput"].append({
                "batch": batch, "unified_tokens_per_s": medians["unified"],
                "separated_tokens_per_s": medians["separated"],
                "ratio": medians["separated"] / medians["unified"], "all": rates})
            if not arguments.no_exchange:
                report["exchange"].append(exchange(arguments, batch))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
