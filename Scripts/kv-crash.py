#!/usr/bin/env python3
"""Kills a server while it writes KV blocks to files, restarts it over the same folder, and compares every answer with that of
a server without tiers. Ends with 1 on the first difference.

  swift build -c release --product swerve
  Scripts/kv-crash.py [--binary .build/release/swerve] [--rounds 10] [--seed 1]
"""
import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request


class Server:
    def __init__(self, binary, *flags):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [binary, "serve", "--host", "127.0.0.1", "--port", str(self.port), "--max-model-len", "512",
             "--kv-cache-memory-bytes", "32MiB", *flags],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(600):
            if self.process.poll() is not None:
                sys.exit("the server ended: " + self.process.stderr.read().decode())
            try:
                urllib.request.urlopen(self.url("/health"), timeout=1).read()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit("the server does not answer")

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(self, number):
        body = {
            "model": "story", "prompt": prompt(number), "max_tokens": 16, "temperature": 0.8 if number % 2 else 0,
            "seed": number, "logprobs": 2, "ignore_eos": True,
        }
        request = urllib.request.Request(
            self.url("/v1/completions"), json.dumps(body).encode(), {"Content-Type": "application/json"})
        choice = json.load(urllib.request.urlopen(request, timeout=120))["choices"][0]
        return choice["text"], choice["logprobs"]["token_logprobs"]

    def metric(self, start):
        page = urllib.request.urlopen(self.url("/metrics"), timeout=10).read().decode()
        return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(start))

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait()
        self.process.stderr.close()


def prompt(number):
    words = ["king", "mouse", "river", "garden", "silver", "apple", "morning", "bird", "stone", "forest"]
    return " ".join(f"The {words[(number * 7 + place * 3) % 10]} saw the {words[(number + place) % 10]}." for place in range(40))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=".build/release/swerve")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)

    plain = Server(asked.binary)
    expected = [plain.answer(number) for number in range(asked.prompts)]
    plain.end(signal.SIGTERM)

    with tempfile.TemporaryDirectory() as folder:
        key = os.path.join(folder, "key")
        with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            file.write(os.urandom(32))
        tiers = ["--kv-tiers", f"host=4MiB,nvme=1GiB:{folder}/kv", "--kv-key-file", key]
        hits = 0.0
        for round_number in range(asked.rounds):
            server = Server(asked.binary, *tiers)
            left = os.listdir(f"{folder}/kv/incoming")
            if left:
                sys.exit(f"round {round_number}: {left} was left in incoming")
            wrong = []

            def ask(number):
                try:
                    if server.answer(number) != expected[number]:
                        wrong.append(number)
                except (OSError, ValueError):
                    pass  # killed

            threads = [threading.Thread(target=ask, args=(number,)) for number in range(asked.prompts)]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.02, 0.6))
            server.end(signal.SIGKILL)
            for thread in threads:
                thread.join()
            if wrong:
                sys.exit(f"round {round_number}: other tokens for prompts {wrong}")
        server = Server(asked.binary, *tiers)
        for number in range(asked.prompts):
            if server.answer(number) != expected[number]:
                sys.exit(f"at the end: other tokens for prompt {number}")
        hits = server.metric("swerve:kv_tier_hits_total")
        failures = server.metric("swerve_block_verify_failures_total")
        server.end(signal.SIGTERM)
    if hits == 0:
        sys.exit("nothing came from files: the test shows nothing")
    print(f"{asked.rounds} kills, {asked.prompts} prompts each: no other token; {hits:.0f} prompt tokens from tiers at the end, "
          f"{failures:.0f} files refused")


if __name__ == "__main__":
    main()
