#!/usr/bin/env python3
"""What it costs to attach a data worker under load: the time until it is there, and the pauses of streams meanwhile.

    swift build -c release --product swerve
    python3 Benchmarks/separation/attach.py --swerve .build/release/swerve [--model DIR] [--rounds 5]

Serves the model with one data worker and streams under way, attaches another by `swerve data add`, then drains it again. Prints one
JSON object: seconds of the command, the longest gap between two pieces of any stream from its begin to one second behind its end, and
the median gap before it.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from recovery import serving, streams_under_way  # noqa: E402


def command(arguments, port, *words):
    begin = time.monotonic()
    done = subprocess.run(
        [arguments.swerve, "data", *words, "--url", f"http://127.0.0.1:{port}", "--api-key", "admin"],
        capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise SystemExit(f"swerve data {' '.join(words)}: {done.stderr}")
    return begin, time.monotonic()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--swerve", required=True)
    parser.add_argument("--model", help="default: the embedded one")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=200)
    parser.add_argument("--output", type=int, default=400, help="tokens of a stream; they are to outlast the command")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flags", default="", help="for the server, as one word: --flags='--dtype bfloat16'")
    arguments = parser.parse_args()
    words = [arguments.swerve, "serve"] + ([arguments.model] if arguments.model else []) + [
        "--data-workers", "1", "--max-data-workers", "2", "--admin-api-key", "admin"] + arguments.flags.split()
    with serving(words) as (_, port, log):
        rounds = []
        for index in range(arguments.rounds):
            streams = streams_under_way(arguments, port, index, 20)
            begin, end = command(arguments, port, "add")
            for stream in streams:
                stream.join()
            if any(stream.error for stream in streams):
                raise SystemExit(f"a stream failed: {[s.error for s in streams]}\n{''.join(log[-20:])}")
            gaps = [(b, b - a) for stream in streams for a, b in zip(stream.times, stream.times[1:])]
            usual = statistics.median(gap for at, gap in gaps if at < begin)
            during = [gap for at, gap in gaps if begin <= at <= end + 1]
            rounds.append({"attached_after": end - begin, "longest_gap": max(during), "usual_gap": usual})
            command(arguments, port, "drain", "d1", "--timeout", "30")
        median = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        print(json.dumps({"streams": arguments.streams, "median_seconds": median,
                          "longest_over_usual": [round(r["longest_gap"] / r["usual_gap"], 2) for r in rounds],
                          "rounds": rounds}, indent=1))


if __name__ == "__main__":
    main()
