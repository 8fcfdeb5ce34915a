#!/usr/bin/env python3
"""Encoding speed of Swerve's tokenizers against the Rust library `tokenizers`, one thread each, runs interleaved.

usage: pip install tokenizers
       SWERVE_INNER=1 swift build -c release --product tokenizer-benchmark
       python3 Benchmarks/tokenizer/compare.py [--binary .build/release/tokenizer-benchmark] [--fixtures DIR] [--text FILE]
           [--runs 5] [--only REGEX]

FIXTURES holds a folder a tokenizer with tokenizer.json or tokenizer.json.gz in it. Prints medians of process CPU time: MB/s of both sides (1e6
bytes a second), nanoseconds a byte, their ratio, and whether the ids agree.
"""
import argparse, gzip, json, os, re, statistics, subprocess, tempfile, time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer, __version__

here = os.path.dirname(os.path.abspath(__file__))
fixtures = os.path.join(here, "../../Tests/SwerveTextTests/Fixtures/tokenizers")
ap = argparse.ArgumentParser()
ap.add_argument("--binary", default=os.path.join(here, "../../.build/release/tokenizer-benchmark"))
ap.add_argument("--fixtures", default=fixtures)
ap.add_argument("--text", default=os.path.join(fixtures, "speed-2mb.txt.gz"))
ap.add_argument("--runs", type=int, default=5)
ap.add_argument("--only", default="")
A = ap.parse_args()


def unpacked(path):
    with (gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")) as f:
        return f.read()


text = unpacked(A.text)
print(f"tokenizers {__version__}, {len(text)} bytes, {A.runs} runs, load average {os.getloadavg()[0]:.1f}")
print(f"{'tokenizer':22}{'load s':>8}{'peer MB/s':>11}{'ours MB/s':>11}{'ns/byte':>9}{'first':>8}{'decode':>8}{'ratio':>8}  ids")
with tempfile.TemporaryDirectory() as tmp:
    text_file = os.path.join(tmp, "text")
    open(text_file, "wb").write(text)
    for name in sorted(os.listdir(A.fixtures)):
        source = next((p for p in (os.path.join(A.fixtures, name, "tokenizer.json" + s) for s in ("", ".gz"))
                       if os.path.exists(p)), None)
        if source is None or not re.search(A.only, name):
            continue
        folder = os.path.join(tmp, name)
        os.makedirs(folder)
        with open(os.path.join(folder, "tokenizer.json"), "wb") as f:
            f.write(unpacked(source))
        peer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        ours = subprocess.Popen([A.binary, "measure", folder, text_file], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True)
        loaded = json.loads(ours.stdout.readline())
        decoded = text.decode()
        theirs, mine, decode = [], [], []
        for run in range(A.runs):
            start = time.process_time()
            ids = peer.encode(decoded, add_special_tokens=False).ids
            theirs.append(time.process_time() - start)
            ours.stdin.write("go\n"); ours.stdin.flush()
            answer = json.loads(ours.stdout.readline())
            mine.append(answer["encode_s"]); decode.append(answer["decode_s"])
        ours.stdin.close(); ours.wait()
        a, b = statistics.median(theirs), statistics.median(mine)
        n = len(text)
        agree = "same count" if answer["ids"] == len(ids) else f"{answer['ids']} against {len(ids)}"
        print(f"{name:22}{loaded['load_s']:8.3f}{n / a / 1e6:11.2f}{n / b / 1e6:11.2f}{b / n * 1e9:9.2f}"
              f"{mine[0] / n * 1e9:8.2f}{statistics.median(decode) / n * 1e9:8.2f}{a / b:8.1f}  {agree}", flush=True)
