#!/usr/bin/env python3
"""One sequence, then many, then none: what `swerve top` shows of a separated server with tiers below its data workers.

    swift build -c release --product swerve
    python3 Benchmarks/separation/constancy.py --swerve .build/release/swerve [--model DIR] [--sequences 200]

Serves the model with --workers data workers, --pool of KV cache, --host of host memory and --files of files; asks for one answer,
then for --sequences at once, then for nothing. `swerve top` looks all the while; its screens at five moments are printed with
the command, then one JSON object: what each column was at least and at most, and whether every request was answered, and the
same again. Ends with code 1 where a request failed, an answer changed, or the parameters' bytes moved.
"""
import argparse
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer(threading.Thread):
    """One request of tokens, all of whose answer comes at once."""

    def __init__(self, port, number, arguments):
        super().__init__(daemon=True)
        self.port, self.text, self.error = port, None, None
        prompt = [(7 * place + 131 * number + place * place % 13) % arguments.vocabulary + 3
                  for place in range(arguments.prompt)]
        self.body = {"model": "m", "prompt": prompt, "max_tokens": arguments.output, "ignore_eos": True,
                     "temperature": 0 if number % 2 == 0 else 0.9, "seed": number, "return_token_ids": True}

    def run(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3600)
            connection.request("POST", "/v1/completions", json.dumps(self.body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read().decode()
            if response.status != 200:
                raise RuntimeError(body)
            choice = json.loads(body)["choices"][0]
            self.text = json.dumps(choice.get("token_ids") or choice["text"])
        except Exception as error:  # noqa: BLE001 - reported with the result
            self.error = str(error)


class Gauges(threading.Thread):
    """Looks at the metrics twice a second and keeps the least and the most of what matters."""

    def __init__(self, port, server):
        super().__init__(daemon=True)
        self.port, self.server, self.seen, self.is_over = port, server, {}, False

    def note(self, name, value):
        low, high = self.seen.get(name, (value, value))
        self.seen[name] = (min(low, value), max(high, value))

    def look(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        for line in text.splitlines():
            match = re.match(r"([a-z_:]+)(?:\{(.*)\})? ([0-9.e+-]+)$", line)
            if not match:
                continue
            name, labels, value = match[1], match[2] or "", float(match[3])
            if name == "swerve_parameter_memory_bytes":
                self.note("parameter_bytes", value)
            elif name == "swerve_kv_blocks" and 'tier="device"' in labels and 'state="used"' in labels:
                worker = re.search(r'worker="([^"]*)"', labels)[1]
                if worker != "g0.0":
                    self.note(f"{worker}_blocks_used", value)
            elif name == "swerve:kv_tier_used_bytes":
                self.note(re.search(r'tier="([^"]*)"', labels)[1] + "_bytes", value)
            elif name == "swerve_sequences" and ('"running"' in labels or '"parked"' in labels):
                self.note(re.search(r'state="([^"]*)"', labels)[1], value)
        with open(f"/proc/{self.server}/status") as status:
            for line in status:
                if line.startswith(("RssAnon", "RssShmem")):
                    self.note(line.split(":")[0] + "_kib", int(line.split()[1]))

    def run(self):
        while not self.is_over:
            try:
                self.look()
            except OSError:
                pass
            time.sleep(0.5)


class Top:
    """`swerve top`, whose views follow one another in a file."""

    def __init__(self, swerve, port, folder):
        self.path = os.path.join(folder, "top.txt")
        self.words = [swerve, "top", "--url", f"http://127.0.0.1:{port}", "--interval", "0.5"]
        self.process = subprocess.Popen(self.words, stdout=open(self.path, "w"), stderr=subprocess.STDOUT)
        self.url = f"http://127.0.0.1:{port}"
        self.taken = []

    def frames(self):
        with open(self.path) as file:
            text = file.read()
        return [self.url + part for part in text.split(self.url)[1:]]

    def take(self, moment):
        """The view that comes next."""
        before = len(self.frames())
        while len(self.frames()) < before + 2 and self.process.poll() is None:
            time.sleep(0.05)
        self.taken.append((moment, self.frames()[before].strip()))

    def end(self):
        self.process.kill()
        self.process.wait()


def serve(arguments, port, folder):
    words = [arguments.swerve, "serve"] + ([arguments.model] if arguments.model else []) + [
        "--port", str(port), "--served-model-name", "m", "--data-workers", str(arguments.workers),
        "--max-num-seqs", str(arguments.sequences), "--preemption-mode", "swap",
        "--max-model-len", str(arguments.prompt + arguments.output + 16),
        "--kv-cache-memory-bytes", arguments.pool,
        "--kv-tiers", f"device=auto,host={arguments.host},nvme={arguments.files}:{folder}/kv"] + arguments.flags.split()
    return words, subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(port, server, log):
    while True:
        if server.poll() is not None:
            raise SystemExit(f"the server does not start:\n{''.join(log[-20:])}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)


def load(port, top, arguments):
    """All moments; the answers of the many, and of the few that ask again."""
    top.take("before any request")
    one = Answer(port, 0, arguments)
    one.start()
    top.take("one sequence")
    one.join()
    many = [Answer(port, number, arguments) for number in range(arguments.sequences)]
    for answer in many:
        answer.start()
    moments = [(arguments.sequences * share // 100, f"{arguments.sequences} sequences, {share} in a hundred answered")
               for share in (0, 40, 80)]
    for count, moment in moments:
        while sum(not answer.is_alive() for answer in many) < count:
            time.sleep(0.05)
        top.take(moment)
    for answer in many:
        answer.join()
    time.sleep(3)
    top.take("none again")
    again = [Answer(port, number, arguments) for number in range(0, arguments.sequences, 10)]
    for answer in again:
        answer.start()
    for answer in again:
        answer.join()
    return [one] + many, again


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swerve", required=True)
    parser.add_argument("--model", help="default: the embedded one")
    parser.add_argument("--sequences", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=200)
    parser.add_argument("--output", type=int, default=160)
    parser.add_argument("--vocabulary", type=int, default=4000)
    parser.add_argument("--pool", default="48MiB", help="KV cache of all data workers together")
    parser.add_argument("--host", default="64MiB")
    parser.add_argument("--files", default="4GiB")
    parser.add_argument("--flags", default="", help="for the server, as one word: --flags='--dtype bfloat16'")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        words, server = serve(arguments, port, folder)
        log = []
        threading.Thread(target=lambda: log.extend(server.stdout), daemon=True).start()
        top = gauges = None
        try:
            wait_for(port, server, log)
            gauges = Gauges(port, server.pid)
            gauges.start()
            top = Top(arguments.swerve, port, folder)
            asked, again = load(port, top, arguments)
            gauges.is_over = True
            gauges.join()
        finally:
            if top:
                top.end()
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()
    print(" ".join(words).replace(folder, "FOLDER"))
    for moment, screen in top.taken:
        print(f"\n--- {moment}\n{screen}")
    failed = [answer.error for answer in asked + again if answer.error]
    first = {json.dumps(answer.body): answer.text for answer in asked}
    changed = sum(first[json.dumps(answer.body)] != answer.text for answer in again) + (asked[0].text != asked[1].text)
    low, high = gauges.seen["parameter_bytes"]
    print("\n" + json.dumps({
        "answered": len(asked) + len(again) - len(failed), "failed": failed[:3], "changed": changed,
        "parameter_delta_bytes": high - low, "least_and_most": gauges.seen}, indent=1))
    sys.exit(1 if failed or changed or high != low else 0)


if __name__ == "__main__":
    main()
