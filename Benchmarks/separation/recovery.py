#!/usr/bin/env python3
"""What a kill costs the clients: streams under way when a data worker, or a rank, dies.

    swift build -c release --product swerve
    python3 Benchmarks/separation/recovery.py --swerve .build/release/swerve --model DIR [--kills 5]

Serves the model, begins --streams streams of --prompt tokens each, kills one process while they decode, and measures the time from
the kill to the first new token of any stream and of all, and the longest pause of a stream before the kill for comparison. For
ranks it is also the time the group takes to come back. Prints one JSON object. Streams that fail, or end with fewer tokens than
asked for, are errors.
"""
import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import threading
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children(parent, name):
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            with open(f"/proc/{entry}/cmdline", "rb") as words:
                called = words.read().split(b"\0")[0].decode()
        except (OSError, IndexError):
            continue
        if int(fields[1]) == parent and fields[0] != "Z" and called == name:
            found.append(int(entry))
    return found


class Stream(threading.Thread):
    """One request; notes when each piece of its answer came."""

    def __init__(self, port, prompt, tokens):
        super().__init__(daemon=True)
        self.port, self.prompt, self.tokens = port, prompt, tokens
        self.times, self.count, self.error = [], 0, None

    def run(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
            body = {"model": "m", "prompt": self.prompt, "max_tokens": self.tokens, "temperature": 0, "stream": True,
                    "ignore_eos": True, "return_token_ids": True}
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise RuntimeError(response.read().decode())
            for line in response:
                if not line.startswith(b"data: {"):
                    continue
                event = json.loads(line[6:])
                if "error" in event:
                    raise RuntimeError(event["error"]["message"])
                for choice in event["choices"]:
                    ids = choice.get("token_ids") or []
                    if ids:
                        self.count += len(ids)
                        self.times.append(time.monotonic())
        except Exception as error:  # noqa: BLE001 - reported with the result
            self.error = str(error)


@contextlib.contextmanager
def serving(words):
    """A server that answers: its process, port and lines so far. It is ended with the block, by force after a while."""
    port = free_port()
    server = subprocess.Popen(
        words + ["--port", str(port), "--served-model-name", "m"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = []
    threading.Thread(target=lambda: log.extend(server.stdout), daemon=True).start()
    try:
        wait_for(port, server, log)
        yield server, port, log
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(120)
        except subprocess.TimeoutExpired:
            server.kill()


def streams_under_way(arguments, port, salt, tokens):
    """--streams streams over prompts of --prompt tokens that share nothing, each with more than so many tokens."""
    prompts = [[(7 * place + 13 * index + salt) % 200 + 3 for place in range(arguments.prompt)]
               for index in range(arguments.streams)]
    streams = [Stream(port, prompt, arguments.output) for prompt in prompts]
    for stream in streams:
        stream.start()
    while not all(stream.count > tokens or stream.error for stream in streams):
        time.sleep(0.01)
    return streams


def measure(arguments, flags, name):
    words = [arguments.swerve, "serve"] + ([arguments.model] if arguments.model else []) + [
        "--max-num-seqs", str(arguments.streams)] + flags
    with serving(words) as (server, port, log):
        rounds = []
        for kill in range(arguments.kills):
            streams = streams_under_way(arguments, port, kill, 4)
            killed = time.monotonic()
            os.kill(children(server.pid, name)[0], signal.SIGKILL)
            for stream in streams:
                stream.join()
            wrong = [stream.error or stream.count for stream in streams
                     if stream.error or stream.count != arguments.output]
            if wrong:
                raise SystemExit(f"streams were lost: {wrong[:3]}\n{''.join(log[-20:])}")
            first = [next(at for at in stream.times if at > killed) - killed for stream in streams]
            # What was on its way at the kill still arrives: the pause itself is the longest gap behind it.
            pause = [max((b - a for a, b in zip(stream.times, stream.times[1:]) if b > killed), default=0)
                     for stream in streams]
            usual = [b - a for stream in streams for a, b in zip(stream.times, stream.times[1:]) if b <= killed]
            rounds.append({"first_new_token": min(first), "all_have_new_tokens": max(first), "longest_pause": max(pause),
                           "usual_gap": statistics.median(usual) if usual else None})
        median = {key: statistics.median(r[key] for r in rounds if r[key] is not None) for key in rounds[0]}
        return {"median_seconds": median, "rounds": rounds,
                "said": [line.strip() for line in log if " back " in line or "are back" in line][-3:]}


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swerve", required=True)
    parser.add_argument("--model", help="default: the embedded one")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--prompt", type=int, default=1000)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--flags", default="", help="for both servers, as one word: --flags='--dtype bfloat16'")
    arguments = parser.parse_args()
    common = arguments.flags.split()
    print(json.dumps({
        "streams": arguments.streams, "prompt": arguments.prompt,
        "data_worker": measure(arguments, common + ["--placement", "separated"], "swerve-data"),
        "rank": measure(arguments, common + ["--distributed-executor-backend", "shm", "-tp", "2"], "swerve-rank"),
    }, indent=1))


if __name__ == "__main__":
    main()
