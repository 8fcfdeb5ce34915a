#!/usr/bin/env python3
"""Serves a model over the processes of mpirun, as an operator starts it, and compares every answer, with its
log-probabilities, with that of one process. A process with other weights must be refused before anything is served.
Without mpirun it says so in one line and ends with 0.

  swift build -c release --product swerve
  Scripts/mpi-serve.py [--binary .build/release/swerve]
"""
import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

FLAGS = ["--max-model-len", "256", "--kv-cache-memory-bytes", "16MiB", "--max-num-seqs", "8", "--threads", "2"]
LAUNCH = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, words, port):
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        for _ in range(1200):
            if self.process.poll() is not None:
                sys.exit("the server ended: " + self.process.stdout.read().decode())
            try:
                urllib.request.urlopen(self.url + "/health", timeout=1).read()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        sys.exit("the server does not answer")

    def answers(self):
        found = []
        for number in range(6):
            body = {
                "model": "story", "prompt": "Once upon a time there was a fox number %d " % number * (1 + number),
                "max_tokens": 16, "temperature": 0.9 if number % 2 else 0, "seed": number, "logprobs": 2,
                "ignore_eos": True,
            }
            request = urllib.request.Request(
                self.url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
            choice = json.load(urllib.request.urlopen(request, timeout=120))["choices"][0]
            found.append((choice["text"], choice["logprobs"]["token_logprobs"]))
        return found

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def check_sizes(binary):
    port = free_port()
    alone = Server([binary, "serve", "--port", str(port), *FLAGS], port)
    expected = alone.answers()
    alone.stop()
    for tensor, stages, data in [(2, 1, []), (1, 2, []), (2, 2, []), (2, 1, ["--data-workers", "1"])]:
        port = free_port()
        # Nothing says mpi: the launcher's variables do.
        job = Server(
            [*LAUNCH, "-np", str(tensor * stages), binary, "serve", "--port", str(port), "-tp", str(tensor), "-pp",
             str(stages), *data, *FLAGS], port)
        found = job.answers()
        job.stop()
        if found != expected:
            sys.exit(f"-tp {tensor} -pp {stages} {data} answers {found} where one process answers {expected}")
        words = " ".join(["-tp", str(tensor), "-pp", str(stages), *data])
        print(f"mpirun -np {tensor * stages} swerve serve {words}: {len(found)} answers are the same")


def check_other_weights(binary):
    """The second process sees other weights at the same path, as on a host with another copy of the model."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ["model", "other"]:
            made = subprocess.run(
                [binary, "quantize", "story", "-o", os.path.join(folder, name),
                 *(["--quantization", "int8"] if name == "other" else [])],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            if made.returncode != 0:
                sys.exit("swerve quantize: " + made.stderr.decode())
        here, there = os.path.join(folder, "model"), os.path.join(folder, "other")
        probe = subprocess.run(["unshare", "-m", "mount", "--bind", there, here], stderr=subprocess.DEVNULL)
        if probe.returncode != 0:
            print("skipped: a process cannot be shown other files at the same path here (unshare -m)")
            return
        serve = [binary, "serve", here, "--port", str(free_port()), "-pp", "2", *FLAGS]
        hidden = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', there, here, *serve]
        job = subprocess.run(
            [*LAUNCH, "-np", "1", *serve, ":", "-np", "1", *hidden], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=180)
        text = job.stdout.decode()
        if job.returncode == 0 or "are not those of rank 0" not in text:
            sys.exit(f"other weights were not refused ({job.returncode}): {text}")
        print("a process with other weights is refused before a request is accepted")


def check_count(binary):
    job = subprocess.run(
        [*LAUNCH, "-np", "3", binary, "serve", "--port", str(free_port()), "-tp", "2", *FLAGS],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180)
    if job.returncode == 0 or "use mpirun -np 2" not in job.stdout.decode():
        sys.exit(f"a job of the wrong size was not refused ({job.returncode}): {job.stdout.decode()}")
    print("a job of the wrong size is refused")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=".build/release/swerve")
    binary = os.path.abspath(parser.parse_args().binary)
    if shutil.which("mpirun") is None:
        print("skipped: mpirun is not installed")
        return
    check_sizes(binary)
    check_count(binary)
    check_other_weights(binary)


main()
