#!/usr/bin/env python3
"""Two hosts on one machine: network namespaces with host names of their own and a wire between them. A server in the one with a
data worker in the other, mutual TLS between them; the wire is cut in the middle of a run; ranks of one model in both. Every
answer is compared, token by token, with that of one process. Ends with 1 on the first difference.

  swift build -c release --product swerve
  Scripts/two-hosts.py [--binary .build/release/swerve]

Needs the right to make network namespaces (root); without it, it says so in one line and ends with 0.
"""
import argparse
import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = os.path.abspath(__file__)
TAG = f"{os.getpid() % 10000}"
A, B = f"swa{TAG}", f"swb{TAG}"
ADDRESS = {A: "10.231.77.1", B: "10.231.77.2"}
PROMPTS = ["Once upon a time there was a", "The old owl of the wood said", "In a small house by the sea", "A dragon who liked tea"]


def sh(*words, check=True):
    return subprocess.run(words, check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def within(host, *words):
    """The words of a command that runs on a host."""
    return ["ip", "netns", "exec", host, "unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', host, *words]


def make_hosts():
    for host in (A, B):
        sh("ip", "netns", "add", host)
        sh("ip", "-n", host, "link", "set", "lo", "up")
    sh("ip", "link", "add", f"v{A}", "netns", A, "type", "veth", "peer", "name", f"v{B}", "netns", B)
    for host in (A, B):
        sh("ip", "-n", host, "addr", "add", ADDRESS[host] + "/24", "dev", f"v{host}")
        sh("ip", "-n", host, "link", "set", f"v{host}", "up")


def remove_hosts():
    for host in (A, B):
        sh("ip", "netns", "del", host, check=False)


class Process:
    """A program on a host, its output in a file."""

    def __init__(self, host, words, environment=None):
        self.log = tempfile.NamedTemporaryFile("w+", prefix="two-hosts-", suffix=".log")
        self.process = subprocess.Popen(
            within(host, *words), stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, **(environment or {})})

    def text(self):
        with open(self.log.name) as file:
            return file.read()

    def wait_for(self, word, seconds):
        until = time.time() + seconds
        while time.time() < until:
            if word in self.text():
                return True
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        return word in self.text()

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, how)
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


class Server(Process):
    PORT = 8731

    def __init__(self, binary, *flags, launcher=()):
        super().__init__(
            A, [*launcher, binary, "serve", "--host", "127.0.0.1", "--port", str(self.PORT), "--max-model-len", "512",
                "--kv-cache-memory-bytes", "32MiB", "--threads", "1", "--enable-admin-endpoints", *flags])
        until = time.time() + 60
        while time.time() < until:
            if self.process.poll() is not None:
                raise RuntimeError("the server ended: " + self.text())
            if client("health").returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError("the server does not answer: " + self.text())

    def answers(self, tokens):
        result = client("answers", str(tokens))
        if result.returncode:
            raise RuntimeError(result.stdout + self.text())
        return json.loads(result.stdout)

    def metrics(self):
        return client("metrics").stdout


def client(what, *words):
    """This program again, on the server's host."""
    return sh(*within(A, sys.executable, HERE, "--client", what, *words), check=False)


def client_main(what, *words):
    url = f"http://127.0.0.1:{Server.PORT}"
    if what in ("health", "metrics"):
        print(urllib.request.urlopen(f"{url}/{what}", timeout=5).read().decode())
        return

    def one(index):
        body = {"model": "story", "prompt": PROMPTS[index % len(PROMPTS)], "max_tokens": int(words[0]), "seed": index,
                "temperature": 0 if index % 2 == 0 else 0.9, "ignore_eos": True, "logprobs": 1, "return_token_ids": True}
        request = urllib.request.Request(
            f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        choice = json.load(urllib.request.urlopen(request, timeout=120))["choices"][0]
        return {"tokens": choice["token_ids"], "logprobs": choice["logprobs"]["token_logprobs"]}

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        print(json.dumps(list(pool.map(one, range(12)))))


def metric(text, name, *labels):
    for line in text.splitlines():
        if line.startswith(name + "{") and all(label in line for label in labels):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def expect(is_so, what):
    if not is_so:
        raise RuntimeError(what)


def data_workers(binary, folder):
    certs = os.path.join(folder, "certs")
    sh(binary, "certs", "init", "--out", certs, "--cluster", "two", "--hosts", ADDRESS[B])
    sh(binary, "certs", "issue", "--out", certs, "--role", "client", "--name", "c0")

    def tls(name):
        return ["--tls-certificate", f"{certs}/{name}.pem", "--tls-key", f"{certs}/{name}.key", "--tls-ca", f"{certs}/ca.pem"]

    where = f"{ADDRESS[B]}:8500"
    server = Server(binary)
    try:
        short, long = server.answers(24), server.answers(400)
    finally:
        server.end()

    worker = Process(B, [binary, "data-worker", "--listen", where, "--threads", "1", *tls("data-" + ADDRESS[B])])
    try:
        expect(worker.wait_for("waits at", 20), "the data worker does not listen: " + worker.text())

        # Who is not a parameter worker starts nothing, and says why.
        for flags, word in [
            ([], "--trusted-network"), (["--trusted-network"], "wants certificates"),
            (tls("client-c0"), "is for a client worker"), (tls("data-" + ADDRESS[B]), "is for a data worker"),
        ]:
            refused = sh(*within(A, binary, "serve", "--data-workers-at", where, *flags), check=False)
            expect(refused.returncode != 0 and word in refused.stdout, f"{flags}: {refused.stdout}")
        nobody = sh(
            *within(A, binary, "serve", "--data-workers-at", f"{ADDRESS[B]}:8599", "--data-worker-connect-timeout", "0.5",
                    *tls("parameter")), check=False)
        expect(nobody.returncode != 0 and f"nobody listens at {ADDRESS[B]}:8599" in nobody.stdout, nobody.stdout)

        server = Server(binary, "--data-workers-at", where, *tls("parameter"))
        try:
            expect(server.answers(24) == short, "tokens differ with the data worker on another host")
            moved = metric(server.metrics(), "swerve_link_bytes_total", 'peer="d0"')
            expect(moved > 0, "nothing went over the link")
            print(f"two hosts: a data worker behind TLS, {moved / 1e3:.0f} kB sealed; tokens are the same")
        finally:
            server.end()

        # One worker on each host; the wire is cut in the middle, and joined again.
        server = Server(binary, "--data-workers-at", where, "--data-workers", "2", *tls("parameter"))
        try:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                future = pool.submit(server.answers, 400)
                # Metrics of links are a second old: the time that the first steps take is known better.
                time.sleep(0.5)
                expect(not future.done(), "the run was over before the wire was cut")
                sh("ip", "-n", B, "link", "set", f"v{B}", "down")
                begin = time.time()
                expect(future.result() == long, "tokens differ after the wire was cut")
            text = server.metrics()
            expect(metric(text, "swerve_worker_replacements_total", "data_worker_lost") >= 1, "no worker was lost: " + text)
            print(f"two hosts: the wire was cut in the middle; every request ended {time.time() - begin:.1f} s later with "
                  "the same tokens")
            sh("ip", "-n", B, "link", "set", f"v{B}", "up")
            expect(server.wait_for("(epoch ", 40), "the worker was not attached again: " + server.text())
            expect(server.answers(24) == short, "tokens differ with the worker attached again")
        finally:
            server.end()
    finally:
        worker.end()
        sh("ip", "-n", B, "link", "set", f"v{B}", "up", check=False)
    return short


def ranks(binary, folder, expected):
    if not shutil.which("mpirun"):
        print("two hosts: skipped ranks on both: Open MPI is not installed")
        return
    agent = os.path.join(folder, "agent.sh")
    with open(agent, "w") as file:
        file.write('#!/bin/sh\nshift\nexec ip netns exec ' + B + ' unshare --uts sh -c "hostname ' + B + '; $*"\n')
    os.chmod(agent, 0o755)
    launcher = [
        "mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--host", f"{A},{ADDRESS[B]}", "-np", "2",
        "--map-by", "node", "--mca", "plm_rsh_agent", agent, "--mca", "btl", "tcp,self", "--mca", "pml", "ob1",
        "--mca", "btl_tcp_if_include", "10.231.77.0/24", "--mca", "oob_tcp_if_include", "10.231.77.0/24",
        "--mca", "mpi_yield_when_idle", "1"]
    server = Server(binary, "--distributed-executor-backend", "mpi", "-tp", "2", launcher=launcher)
    try:
        expect(server.answers(24) == expected, "tokens differ with ranks on two hosts")
        print("two hosts: tensor parallel over mpirun, a rank on each; tokens are the same")
    finally:
        server.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=".build/release/swerve")
    parser.add_argument("--only", choices=["data", "ranks"])
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    if not shutil.which("ip") or os.geteuid() != 0:
        print("two hosts: skipped: network namespaces need root and the ip command")
        return
    try:
        make_hosts()
    except subprocess.CalledProcessError as error:
        remove_hosts()
        print("two hosts: skipped: network namespaces are not permitted here: " + error.stdout.strip().replace("\n", " "))
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            if options.only == "ranks":
                server = Server(binary)
                short = server.answers(24)
                server.end()
            else:
                short = data_workers(binary, folder)
            if options.only != "data":
                ranks(binary, folder, short)
    except RuntimeError as error:
        sys.exit(f"two hosts: {error}")
    finally:
        remove_hosts()


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "--client":
        client_main(*sys.argv[2:])
    else:
        main()
