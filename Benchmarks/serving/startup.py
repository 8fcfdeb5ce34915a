#!/usr/bin/env python3
"""Time from the start of `swerve serve` to the first streamed token, and the server's memory.

usage: startup.py [--swerve .build/release/swerve] [--runs 11] [MODEL and flags of serve …]

Prints median and spread of: process start → the port answers, → first streamed token; then resident memory after a
load of 64 requests, beside weights and KV pool as the server reports them. Warm page cache (the first run is dropped).
"""
import argparse, json, os, re, socket, statistics, subprocess, tempfile, threading, time, urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("--swerve", default=".build/release/swerve")
parser.add_argument("--runs", type=int, default=11)
known, rest = parser.parse_known_args()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def first_token(port, start):
    body = json.dumps({"prompt": [1, 2, 3, 4], "max_tokens": 2, "stream": True, "ignore_eos": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            break
        except OSError:
            if time.time() - start > 60:
                raise
            time.sleep(0.001)
    answered = time.time() - start
    connection.sendall(head.encode() + body)
    data = b""
    while b"data: " not in data:
        data += connection.recv(65536)
    return answered, time.time() - start, connection


def post(port, prompt):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions",
        json.dumps({"prompt": prompt, "max_tokens": 32, "ignore_eos": True}).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=600).read()


def resident(pid):
    text = open(f"/proc/{pid}/status").read()
    return {k: int(re.search(k + r":\s+(\d+)", text).group(1)) / 1024 for k in ("VmRSS", "VmHWM", "RssAnon", "RssFile")}


ports, tokens, memory, log = [], [], None, ""
for run in range(known.runs):
    port = free_port()
    with tempfile.TemporaryFile("w+") as output:
        start = time.time()
        server = subprocess.Popen([known.swerve, "serve", *rest, "--host", "127.0.0.1", "--port", str(port)],
                                  stdout=output, stderr=output)
        answered, token, connection = first_token(port, start)
        connection.close()
        ports.append(answered)
        tokens.append(token)
        if run == known.runs - 1:
            threads = [threading.Thread(target=post, args=(port, [10 + i, 20 + i, *range(100, 400)])) for i in range(64)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            memory = resident(server.pid)
        server.terminate()
        server.wait()
        output.seek(0)
        log = output.read()
for name, values in (("port answers", ports[1:]), ("first streamed token", tokens[1:])):
    print(f"{name}: median {statistics.median(values):.3f} s, {min(values):.3f}–{max(values):.3f} s, {len(values)} runs")
print("memory after 64 requests (MiB):", {k: round(v, 1) for k, v in memory.items()})
for line in log.splitlines():
    if re.search(r"\] +(weights|KV cache|activations)", line):
        print("  server:", line.split("] ", 1)[1].strip())
