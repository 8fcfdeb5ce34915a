#!/usr/bin/env python3
"""The unmodified `openai` client against a server that this script starts: chat, completions, streaming, errors as the
client's own exception types, list of models, keys, a client that leaves. Prints a line a check; exit 1 on any failure.

usage: openai_client.py [--swerve .build/release/swerve]
"""
import argparse, json, os, signal, socket, subprocess, sys, time, urllib.error, urllib.request

import openai

parser = argparse.ArgumentParser()
parser.add_argument("--swerve", default=".build/release/swerve")
arguments = parser.parse_args()
passed = failed = 0


def check(name, holds, shown=""):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"FAILS {name}: {shown}")


with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
server = subprocess.Popen([arguments.swerve, "serve", "--host", "127.0.0.1", "--port", str(port), "--api-key", "secret",
                           "--served-model-name", "story", "tale", "--enable-request-id-headers"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
base = f"http://127.0.0.1:{port}"


def get(path):
    try:
        with urllib.request.urlopen(base + path, timeout=5) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


try:
    for _ in range(200):
        try:
            if get("/health")[0] == 200:
                break
        except OSError:
            time.sleep(0.05)
    else:
        sys.exit("the server did not become healthy")

    client = openai.OpenAI(base_url=base + "/v1", api_key="secret", max_retries=0)
    check("models", [m.id for m in client.models.list()] == ["story", "tale"])
    check("one model", client.models.retrieve("tale").id == "tale")

    messages = [{"role": "user", "content": "Hello!"}]
    chat = client.chat.completions.create(model="story", messages=messages, temperature=0, max_completion_tokens=24)
    text = chat.choices[0].message.content
    check("chat", bool(text) and chat.usage.completion_tokens <= 24 and chat.object == "chat.completion", chat)
    check("role", chat.choices[0].message.role == "assistant")

    stream = client.chat.completions.create(model="story", messages=messages, temperature=0, max_completion_tokens=24,
                                            stream=True, stream_options={"include_usage": True})
    pieces, usage, finish = [], None, None
    for chunk in stream:
        if chunk.usage:
            usage = chunk.usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
    check("streamed chat equals the whole answer", "".join(pieces) == text, pieces)
    check("usage chunk", usage is not None and usage.total_tokens == chat.usage.total_tokens, usage)
    check("finish", finish == chat.choices[0].finish_reason, finish)

    done = client.completions.create(model="tale", prompt="Once upon a time", max_tokens=12, temperature=0, logprobs=3)
    check("completion", len(done.choices[0].logprobs.tokens) == done.usage.completion_tokens, done)
    check("top log-probabilities", all(len(t) >= 3 for t in done.choices[0].logprobs.top_logprobs))
    both = client.completions.create(model="story", prompt=["Once", "There was"], n=2, max_tokens=6, seed=7, temperature=0.9)
    check("two prompts, two choices", [c.index for c in both.choices] == [0, 1, 2, 3], both)
    again = client.completions.create(model="story", prompt=["Once", "There was"], n=2, max_tokens=6, seed=7, temperature=0.9)
    check("seeded", [c.text for c in both.choices] == [c.text for c in again.choices])
    stopped = client.completions.create(model="story", prompt="Once upon a time", max_tokens=64, temperature=0, stop=["the"])
    check("stop string", "the" not in stopped.choices[0].text and stopped.choices[0].finish_reason == "stop", stopped)
    whole = "".join(c.choices[0].text for c in client.completions.create(
        model="story", prompt="Once upon a time", max_tokens=64, temperature=0, stop=["the"], stream=True) if c.choices)
    check("streamed stop string", whole == stopped.choices[0].text, whole)
    logs = client.chat.completions.create(model="story", messages=messages, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2)
    check("chat log-probabilities", all(len(c.top_logprobs) == 2 for c in logs.choices[0].logprobs.content), logs)

    def raises(kind, call, name):
        try:
            call()
            check(name, False, "no exception")
        except kind as e:
            check(name, bool(e.message), e)
        except Exception as e:
            check(name, False, repr(e))

    raises(openai.BadRequestError, lambda: client.completions.create(model="story", prompt="a", temperature=3), "bad temperature")
    raises(openai.BadRequestError, lambda: client.chat.completions.create(model="story", messages=[]), "no messages")
    raises(openai.BadRequestError, lambda: client.completions.create(model="story", prompt="a " * 5000), "prompt too long")
    raises(openai.NotFoundError, lambda: client.completions.create(model="nobody", prompt="a"), "unknown model")
    wrong = openai.OpenAI(base_url=base + "/v1", api_key="wrong", max_retries=0)
    raises(openai.AuthenticationError, lambda: wrong.models.list(), "wrong key")
    check("metrics are open", get("/metrics")[0] == 200)
    check("models are not", get("/v1/models")[0] == 401)

    leaving = client.completions.create(model="story", prompt="Once", max_tokens=900, temperature=1, stream=True,
                                        extra_body={"ignore_eos": True})
    next(iter(leaving))
    leaving.close()
    end, running = time.time() + 5, None
    while time.time() < end and running != 0:
        line = [l for l in get("/metrics")[1].splitlines() if l.startswith("vllm:num_requests_running{")]
        running = float(line[0].split()[-1])
        time.sleep(0.02)
    check("a client that leaves is forgotten", running == 0, running)
finally:
    server.send_signal(signal.SIGTERM)
    try:
        code = server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        code = "no answer to SIGTERM"
    check("clean end", code == 0, code)

print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or not passed else 0)
