#!/usr/bin/env python3
"""What HTTP, tokenising and detokenising cost: the same requests through `swerve serve` over loopback and through
`swerve bench replay`, in turns.

usage: overhead.py [--swerve .build/release/swerve] [--model MODEL] [--requests 32] [--prompt 128] [--output 128] [--rounds 5] [-- FLAGS]

One process reads all connections and only counts bytes and ends: what it takes is part of the figure. The server is warm; replay
excludes loading.
"""
import argparse, http.client, json, os, random, selectors, socket, statistics, subprocess, sys, tempfile, time

parser = argparse.ArgumentParser()
parser.add_argument("--swerve", default=".build/release/swerve")
parser.add_argument("--model", default="story")
parser.add_argument("--requests", type=int, default=32)
parser.add_argument("--prompt", type=int, default=128)
parser.add_argument("--output", type=int, default=128)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--vocabulary", type=int, default=4000, help="prompt ids are drawn below it")
parser.add_argument("flags", nargs="*", help="more flags for both sides")
options = parser.parse_args()


def prompts(salt):
    draw = random.Random(salt)
    return [[draw.randrange(100, options.vocabulary) for _ in range(options.prompt)] for _ in range(options.requests)]


def replay(salt):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        for ids in prompts(salt):
            f.write(json.dumps({"prompt_token_ids": ids, "max_tokens": options.output}) + "\n")
        f.flush()
        out = subprocess.run([options.swerve, "bench", "replay", "--model", options.model, "--requests", f.name, *options.flags],
                             capture_output=True, text=True, check=True).stdout
    return json.loads(out[out.index("{"):])["elapsed_s"]


def serve(port, salt, stream):
    selector, buffers = selectors.DefaultSelector(), {}
    bodies = [json.dumps({"prompt": ids, "max_tokens": options.output, "temperature": 0, "ignore_eos": True, "stream": stream}).encode()
              for ids in prompts(salt)]
    start = time.perf_counter()
    for body in bodies:
        s = socket.create_connection(("127.0.0.1", port))
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
                  b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)
        s.setblocking(False)
        selector.register(s, selectors.EVENT_READ)
        buffers[s] = b""
    while buffers:
        for key, _ in selector.select():
            data = key.fileobj.recv(1 << 16)
            tail = buffers[key.fileobj] = (buffers[key.fileobj] + data)[-4096:]
            if not data:
                assert b"[DONE]" in tail if stream else b'"usage"' in tail, tail
                selector.unregister(key.fileobj)
                key.fileobj.close()
                del buffers[key.fileobj]
    return time.perf_counter() - start


with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
server = subprocess.Popen([options.swerve, "serve", options.model, "--port", str(port), "--disable-uvicorn-access-log", *options.flags],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    for _ in range(600):
        try:
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            c.request("GET", "/health")
            if c.getresponse().status == 200:
                break
        except OSError:
            time.sleep(0.1)
    else:
        sys.exit("the server did not start")
    serve(port, "warm", True)
    rows = []
    for turn in range(options.rounds):
        rows.append((replay(turn), serve(port, f"{turn}a", True), serve(port, f"{turn}b", False)))
finally:
    server.terminate()
    server.wait()
for name, place in (("streamed over HTTP ÷ replay", 1), ("whole answers over HTTP ÷ replay", 2)):
    ratios = [row[place] / row[0] for row in rows]
    print(f"{name}: median {statistics.median(ratios):.3f}, {min(ratios):.3f}–{max(ratios):.3f}")
print("replay, s: " + ", ".join(f"{row[0]:.3f}" for row in rows))
