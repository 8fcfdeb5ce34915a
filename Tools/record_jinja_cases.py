#!/usr/bin/env python3
"""Record what Jinja2 answers to small templates, as the golden file of the chat template tests.

usage: pip install jinja2==3.1.6
       Tools/record_jinja_cases.py > Tests/SwerveTextTests/Fixtures/chat-templates/jinja-recorded.jsonl

The templates are in Tools/jinja_cases.txt: one a line, with \\n, \\r and \\t for those characters, and lines that begin
with "= " holding expressions separated by " ; ". Every template is rendered in the environment that chat templates get
(immutable sandbox, trim_blocks, lstrip_blocks, loop controls, plain JSON, raise_exception). The first line of the output
holds the context that all of them see.
"""
import datetime
import json
import os
import sys

from jinja2 import exceptions, ext, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

CONTEXT = {
    "s": "Hello World", "e": "", "n": None, "t": True, "f": False, "i": 7, "z": 0, "neg": -3, "x": 2.5, "one": 1.0,
    "l": [3, 1, 2], "el": [], "names": ["b", "A", "c"], "d": {"b": 1, "a": 2, "C": 0}, "ed": {}, "ws": "  pad\t\n",
    "html": "<a href='x'>&\"</a>", "uni": "日本 😀 é", "greek": "ΟΔΟΣ Σ",
    "long": "The quick brown fox jumps over the lazy dog",
    "msgs": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"},
             {"role": "user", "content": "x", "flag": True}],
    "tree": [{"v": 1, "c": [{"v": 2, "c": [{"v": 3, "c": []}]}, {"v": 4, "c": []}]}],
    "lines": "one\ntwo\r\nthree\n\nfive", "pairs": [["k", 1], ["j", 2]], "mixed": {"1": "one", "items": "mine"},
}


class Generation(ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("pass_through"), [], [], body).set_lineno(line)

    def pass_through(self, caller):
        return caller()


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols])
    plain_namespace = env.globals["namespace"]

    def refuse(message):
        raise exceptions.TemplateError(message)

    def check(name):
        if name.startswith("_"):
            raise exceptions.SecurityError(
                "Chat templates cannot store underscore-prefixed attributes on a namespace, but got "
                f"{name!r}. Please rename the attribute.")

    class Guarded(plain_namespace):
        def __init__(self, *args, **kwargs):
            for name in dict(*args, **kwargs):
                check(name)
            super().__init__(*args, **kwargs)

        def __setitem__(self, name, value):
            check(name)
            super().__setitem__(name, value)

    class Dict:
        def __call__(self, *args, **kwargs):
            return dict(*args, **kwargs)

        def fromkeys(self, *args):
            return dict.fromkeys(*args)

    def dump(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    now = datetime.datetime(2026, 3, 7, 9, 5, 2)
    env.filters["tojson"] = dump
    env.globals.update(raise_exception=refuse, strftime_now=lambda f: now.strftime(f), dict=Dict(), namespace=Guarded)
    return env


def templates():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jinja_cases.txt")
    for line in open(path, encoding="utf-8"):
        line = line.rstrip("\n")
        if line.startswith("= "):
            for part in line[2:].split(" ; "):
                yield "{{ " + part.strip() + " }}"
        elif line:
            yield line.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t")


def kind_of(error):
    if type(error) is exceptions.TemplateError:
        return "raise_exception"
    return "template" if isinstance(error, exceptions.TemplateError) else "python"


def main():
    env = environment()
    print(json.dumps({"id": "context", "context": CONTEXT}))
    for number, template in enumerate(templates()):
        case = {"id": f"recorded-{number}", "template": template}
        try:
            case["expected"] = env.from_string(template).render(**CONTEXT)
        except Exception as error:  # noqa: BLE001 every failure is an answer
            case.update(error=str(error), error_type=type(error).__name__, error_kind=kind_of(error))
        if " at 0x" in case.get("expected", ""):
            print(f"skipped, prints an address: {template}", file=sys.stderr)
            continue
        print(json.dumps(case))


if __name__ == "__main__":
    main()
