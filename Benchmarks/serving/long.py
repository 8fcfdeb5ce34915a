#!/usr/bin/env python3
"""A very long prompt, short requests beside it, and the tokens at the end of the range.

usage: long.py [--swerve .build/release/swerve] [--model FOLDER] [--length 100000] [--max-model-len 131072]
               [--short 128] [--every 5] [--kv int8] [--check 8000] [--port 8123] [-- flags of serve …]

Starts `swerve serve` (the 0.5B shape with random weights unless told otherwise), measures the time to first token of short
requests alone, sends one prompt of `--length` tokens, and short ones every `--every` seconds while it is computed. Prints
how long the prompt took, times to first token of the short ones beside it against twice that alone plus the longest step
of the long prompt (the largest gap between tokens of a stream that decodes meanwhile), and the pace of decoding at the end
of the range. Then the same for a prompt of `--check` tokens, once computed and once more after the prefix cache was reset:
the last tokens must be the same.
"""
import argparse, http.client, json, os, statistics, subprocess, sys, threading, time

parser = argparse.ArgumentParser()
parser.add_argument("--swerve", default=".build/release/swerve")
parser.add_argument("--model", default=os.path.join(os.path.dirname(__file__), "../models/bench-0.5b"))
parser.add_argument("--length", type=int, default=100000)
parser.add_argument("--max-model-len", type=int, default=131072)
parser.add_argument("--short", type=int, default=128)
parser.add_argument("--every", type=float, default=5)
parser.add_argument("--kv", default="int8")
parser.add_argument("--check", type=int, default=8000)
parser.add_argument("--output", type=int, default=32)
parser.add_argument("--port", type=int, default=8123)
options, flags = parser.parse_known_args()
flags = [flag for flag in flags if flag != "--"]
vocabulary = 4000 if options.model == "story" else 30000
model = [] if options.model == "story" else ["--model", options.model, "--load-format", "dummy", "--skip-tokenizer-init"]


def prompt(length, salt):
    return [(salt * 7919 + i * 104729) % vocabulary for i in range(length)]


def post(path, body, on_token=None):
    """Times of the stream's tokens since the request was sent, and the tokens."""
    connection = http.client.HTTPConnection("127.0.0.1", options.port, timeout=3600)
    begin = time.monotonic()
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        sys.exit(f"{path}: {answer.status} {answer.read().decode()}")
    if not body.get("stream"):
        return json.loads(answer.read() or b"{}")
    times, tokens = [], []
    for line in answer:
        if not line.startswith(b"data: ") or b"[DONE]" in line:
            continue
        event = json.loads(line[6:])
        choice = (event.get("choices") or [{}])[0]
        if choice.get("token_ids"):
            times.append(time.monotonic() - begin)
            tokens += choice["token_ids"]
            if on_token:
                on_token()
    connection.close()
    return times, tokens


def complete(tokens, output, **more):
    return post("/v1/completions", {"prompt": tokens, "max_tokens": output, "temperature": 0, "ignore_eos": True,
                                    "stream": True, "return_token_ids": True, **more})


server = subprocess.Popen(
    [options.swerve, "serve", *model, "--port", str(options.port), "--max-model-len", str(options.max_model_len),
     "--kv-cache-dtype", options.kv, "--disable-log-stats", "--enable-admin-endpoints", *flags],
    env={**os.environ, "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}, stdout=subprocess.DEVNULL)
try:
    for _ in range(1200):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", options.port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                break
        except OSError:
            if server.poll() is not None:
                sys.exit(f"the server ended with {server.returncode}")
        time.sleep(0.1)
    alone = [complete(prompt(options.short, 1000 + i), 2)[0][0] for i in range(5)]
    print(f"short request of {options.short} tokens alone: median {statistics.median(alone):.3f} s to its first token")

    result, done = {}, threading.Event()

    def long():
        result["times"], result["tokens"] = complete(prompt(options.length, 1), options.output)
        done.set()

    gaps = []

    def decode():
        """A stream that decodes: its gaps are the steps' times."""
        while not done.is_set():
            times, _ = complete(prompt(16, 77), 64)
            gaps.extend(b - a for a, b in zip(times, times[1:]))

    threads = [threading.Thread(target=long), threading.Thread(target=decode)]
    for thread in threads:
        thread.start()
    beside = []
    time.sleep(options.every / 2)
    while not done.is_set():
        begin = time.monotonic()
        times, _ = complete(prompt(options.short, 2000 + len(beside)), 2)
        if not result:
            beside.append(times[0])
        done.wait(max(options.every - (time.monotonic() - begin), 0))
    for thread in threads:
        thread.join()
    times = result["times"]
    print(f"prompt of {options.length} tokens: first token after {times[0]:.1f} s "
          f"({options.length / times[0]:.0f} tokens/s); decoding behind it {len(times) - 1} tokens, "
          f"{statistics.median(b - a for a, b in zip(times, times[1:])) * 1e3:.1f} ms each")
    if beside:
        step = max(gaps)
        bound = 2 * statistics.median(alone) + step
        print(f"short requests beside it: {len(beside)}, median {statistics.median(beside):.3f} s, largest "
              f"{max(beside):.3f} s; twice alone and the longest step ({step:.3f} s): {bound:.3f} s: "
              f"{'kept' if max(beside) <= bound else 'NOT kept'}")
    first = complete(prompt(options.check, 5), options.output)[1]
    hit = complete(prompt(options.check, 5), options.output)[1]
    print("prefix cache reset:", post("/reset_prefix_cache", {}))
    again = complete(prompt(options.check, 5), options.output)[1]
    same = first == hit == again and len(first) == options.output
    print(f"{options.check} tokens computed, found and computed again: the last {len(again)} tokens are "
          f"{'the same' if same else 'NOT the same'}")
    sys.exit(0 if same else 1)
finally:
    server.terminate()
    server.wait(60)
