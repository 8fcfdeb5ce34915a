#!/usr/bin/env python3
"""Time to first token and time between tokens: one server against a prefill and a decode server behind a router.

Starts the servers itself, on free ports of this machine, and gives both sides the same load in turns: short prompts that
stream all the time, and long ones that come in between. Prints one JSON object; run it on a machine that does nothing else.

    Benchmarks/disaggregation/compare.py --swerve .build/release/swerve --model MODEL [--rounds 3]
"""
import argparse, json, socket, statistics, subprocess, threading, time, urllib.request


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait(url, process, seconds=600):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"{' '.join(process.args)} ended with {process.returncode}")
        try:
            if urllib.request.urlopen(url + "/health", timeout=2).status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{url} does not answer within {seconds} s")


def request(url, prompt, tokens):
    """Seconds to the first token, and those between tokens."""
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True}
    call = urllib.request.Request(
        url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    began, last, first, gaps = time.monotonic(), None, None, []
    for line in urllib.request.urlopen(call, timeout=600):
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if "error" in event:
            raise SystemExit(f"{url}: {event['error']}")
        now = time.monotonic()
        if first is None:
            first = now - began
        else:
            gaps.append(now - last)
        last = now
    return first, gaps


def load(url, options, salt):
    results = {"short": [], "long": []}
    lock = threading.Lock()

    def run(kind, prompt, tokens):
        result = request(url, prompt, tokens)
        with lock:
            results[kind].append(result)

    threads = []
    for index in range(options.short):
        text = f"{salt} {index}. " + "A mouse went out to see the world. "
        threads.append(threading.Thread(target=run, args=("short", text, options.output)))
    for index in range(options.long):
        text = f"{salt} long {index}. " + "There was a king who had a golden tree. " * (options.input // 9)
        threads.append(threading.Thread(target=run, args=("long", text, options.output // 4)))
    for thread in threads:
        thread.start()
        time.sleep(options.gap)
    for thread in threads:
        thread.join()
    return results


def summary(runs):
    def percentile(values, share):
        values = sorted(values)
        return values[min(len(values) - 1, int(share * len(values)))] if values else None

    firsts = {kind: [first for run in runs for first, _ in run[kind]] for kind in ("short", "long")}
    gaps = [gap for run in runs for _, gaps in run["short"] for gap in gaps]
    return {
        "ttft_short_p50_s": percentile(firsts["short"], 0.5), "ttft_long_p50_s": percentile(firsts["long"], 0.5),
        "itl_p50_s": percentile(gaps, 0.5), "itl_p99_s": percentile(gaps, 0.99),
        "itl_mean_s": statistics.fmean(gaps) if gaps else None,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swerve", default=".build/release/swerve")
    parser.add_argument("--model", default=None, help="nothing: the embedded model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", type=int, default=4)
    parser.add_argument("--long", type=int, default=4)
    parser.add_argument("--input", type=int, default=400, help="words of long prompts")
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--gap", type=float, default=0.1, help="seconds between arrivals")
    options, rest = parser.parse_known_args()
    processes = []

    def start(*words):
        process = subprocess.Popen([options.swerve, *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        processes.append(process)
        return process

    def serve(transfer=None):
        port = free_port()
        words = ["serve"] + ([options.model] if options.model else []) + ["--host", "127.0.0.1", "--port", str(port)]
        if transfer:
            words += ["--kv-transfer-config", json.dumps({"kv_connector": "SwerveConnector", **transfer})]
        url = f"http://127.0.0.1:{port}"
        wait(url, start(*words, *rest))
        return url

    try:
        alone = serve()
        prefill = serve({"kv_role": "kv_producer", "kv_port": free_port()})
        decode = serve({"kv_role": "kv_consumer", "kv_port": free_port()})
        port = free_port()
        router = f"http://127.0.0.1:{port}"
        wait(router, start("router", "--host", "127.0.0.1", "--port", str(port), "--prefill", prefill, "--decode", decode))
        runs = {"one": [], "disaggregated": []}
        for url in (alone, router):
            load(url, options, "warm")
        for number in range(options.rounds):
            for name, url in (("one", alone), ("disaggregated", router)):
                runs[name].append(load(url, options, f"round {number}"))
        metrics = urllib.request.urlopen(decode + "/metrics").read().decode()
        moved = [float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines()
                 if line.startswith("swerve_kv_transfer_bytes_total{") and 'direction="received"' in line]
        print(json.dumps({
            "one": summary(runs["one"]), "disaggregated": summary(runs["disaggregated"]),
            "received_bytes": sum(moved), "rounds": options.rounds,
        }, indent=1))
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


if __name__ == "__main__":
    main()
