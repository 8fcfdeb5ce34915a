#!/usr/bin/env python3
"""Serves the embedded model in every placement that one host has, as an operator starts it, and compares every answer with that
of one process: greedy and seeded, with log-probabilities, twelve requests at once, three times. What a placement is for must
have happened: its counters of bytes must not be 0. Ends with 1 where an answer differs or nothing moved.

  swift build -c release --product swerve
  Scripts/placements.py [--binary .build/release/swerve]
"""
import argparse
import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

# A pool that twelve requests do not fit at once.
FLAGS = ["--max-model-len", "256", "--num-gpu-blocks-override", "48", "--max-num-seqs", "8", "--threads", "2",
         "--served-model-name", "story"]
SHM = ["--distributed-executor-backend", "shm"]
THREADS = ["--distributed-executor-backend", "threads"]
SUMS = 'swerve_rank_bytes_total{worker="g0.1",kind="sums"}'
ROWS = 'swerve_rank_bytes_total{worker="g0.0",kind="rows"}'
DATA = 'swerve_rank_bytes_total{worker="g0.1",kind="data"}'
SHARES = "swerve_gather_fetched_bytes_total"
GATHERED = "swerve_gather_bytes_total"
LINKS = "swerve_link_bytes_total"
SPILLED = "swerve_kv_spill_bytes_total"


def placements(packed, rounded):
    """Name, what is served, the answers it must give, and counters that must not be 0."""
    peers = [packed, "--placement", "gathered", "--gather-source", "peers"]
    tiers = ["--kv-tiers", "host=64MiB", "--preemption-mode", "swap"]
    return [
        ("tensor 2, threads", ["story", "-tp", "2"], "bfloat16", [SUMS]),
        ("tensor 2, threads", ["story", "-tp", "2", "--dtype", "float32"], "float32", [SUMS]),
        ("tensor 2, processes", ["story", "-tp", "2", *SHM], "bfloat16", [SUMS]),
        ("pipeline 2, processes", ["story", "--placement", "pipeline", "-pp", "2", *SHM], "bfloat16", [ROWS]),
        ("tensor 2 of packed weights", [packed, "-tp", "2"], "bfloat16", [SUMS]),
        ("tensor 2 of packed int8", [rounded, "-tp", "2"], "int8", [SUMS]),
        ("pipeline 2 of packed int8", [rounded, "-pp", "2", *SHM], "int8", [ROWS]),
        ("pipeline-pd, threads", ["story", "--placement", "pipeline-pd", *THREADS], "bfloat16", [DATA, ROWS]),
        ("pipeline-pd, threads", ["story", "--placement", "pipeline-pd", "--dtype", "float32", *THREADS], "float32",
         [DATA, ROWS]),
        ("pipeline-pd 2, processes", ["story", "--placement", "pipeline-pd", "--data-workers", "2", *SHM], "bfloat16",
         [DATA, ROWS]),
        ("separated 2", ["story", "--placement", "separated", "--data-workers", "2"], "bfloat16", [LINKS]),
        ("separated 2, checked bytes", ["story", "--data-workers", "2", "--link-checksums"], "bfloat16", [LINKS]),
        ("tensor 2, threads, separated 2", ["story", "-tp", "2", "--data-workers", "2", *THREADS], "bfloat16",
         [SUMS, DATA, LINKS]),
        ("tensor 2, processes, separated", ["story", "-tp", "2", "--data-workers", "1", "--link-checksums"],
         "bfloat16", [SUMS, DATA, LINKS]),
        ("pipeline 2, processes, separated", ["story", "-pp", "2", "--data-workers", "1", *SHM], "bfloat16",
         [ROWS, DATA, LINKS]),
        ("gathered from the disk, separated", [packed, "--placement", "gathered", "--data-workers", "1"], "bfloat16",
         [GATHERED, LINKS]),
        ("gathered from the disk", [packed, "--placement", "gathered"], "bfloat16", [GATHERED]),
        ("gathered from a process", peers, "bfloat16", [SHARES]),
        ("gathered from two threads", [*peers, "--gather-peers", "3", *THREADS], "bfloat16", [SHARES]),
        ("tensor 2 over host memory", ["story", "-tp", "2", *tiers], "bfloat16", [SUMS, SPILLED]),
        ("tensor 2, separated, over host memory", ["story", "-tp", "2", "--data-workers", "1", *tiers], "bfloat16",
         [SUMS, DATA, LINKS, SPILLED]),
        ("pipeline-pd over host memory", ["story", "--placement", "pipeline-pd", *tiers], "bfloat16",
         [DATA, ROWS, SPILLED]),
        ("pipeline 2 over host memory", ["story", "-pp", "2", *tiers, *SHM], "bfloat16", [ROWS, SPILLED]),
    ]


class Server:
    def __init__(self, binary, words):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [binary, "serve", *words, "--host", "127.0.0.1", "--port", str(port), *FLAGS], stdout=self.log,
            stderr=subprocess.STDOUT)
        for _ in range(1200):
            if self.process.poll() is not None:
                self.log.seek(0)
                sys.exit(f"{' '.join(words)}: the server ended: {self.log.read().decode()}")
            try:
                urllib.request.urlopen(self.url + "/health", timeout=1).read()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        sys.exit(f"{' '.join(words)}: the server does not answer")

    def answer(self, number):
        body = {
            "model": "story", "prompt": f"Once upon a time there was a fox number {number} " * (1 + number % 6),
            "max_tokens": 16, "temperature": 0.9 if number % 2 else 0, "seed": number, "logprobs": 2, "ignore_eos": True,
        }
        request = urllib.request.Request(
            self.url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        choice = json.load(urllib.request.urlopen(request, timeout=300))["choices"][0]
        return choice["text"], choice["logprobs"]["token_logprobs"]

    def answers(self):
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            return list(pool.map(self.answer, range(12)))

    def metric(self, start):
        page = urllib.request.urlopen(self.url + "/metrics", timeout=10).read().decode()
        return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(start))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=".build/release/swerve")
    binary = os.path.abspath(parser.parse_args().binary)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        packed, rounded = os.path.join(folder, "packed"), os.path.join(folder, "rounded")
        for path, flags in [(packed, []), (rounded, ["--quantization", "int8"])]:
            made = subprocess.run(
                [binary, "quantize", "story", "-o", path, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            if made.returncode != 0:
                sys.exit("swerve quantize: " + made.stderr.decode())
        expected = {}
        for name, flags in [("bfloat16", []), ("float32", ["--dtype", "float32"]), ("int8", ["--quantization", "int8"])]:
            server = Server(binary, ["story", *flags])
            expected[name] = server.answers()
            server.stop()
        for name, words, kind, counters in placements(packed, rounded):
            server = Server(binary, words)
            try:
                # Alike with and without prefix hits; ranks tell what they moved once a second.
                same = [server.answers() == expected[kind] for _ in range(2)]
                time.sleep(1.1)
                same.append(server.answers() == expected[kind])
                moved = [server.metric(counter) for counter in counters]
            finally:
                server.stop()
            holds = all(same) and all(moved)
            wrong += not holds
            print(f"{'same' if holds else 'WRONG':5} {name}, {kind}: {same if not all(same) else '36 answers'}, "
                  f"{', '.join(f'{count:.0f}' for count in moved)} bytes", flush=True)
    sys.exit(1 if wrong else 0)


main()
