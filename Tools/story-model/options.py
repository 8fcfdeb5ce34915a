"""The command line of train.py. The defaults are the shipped model's, see README.md."""
import argparse
from pathlib import Path

from model import Shape


def parse(description: str) -> argparse.Namespace:
    """The options, checked against each other."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and log.jsonl")
    parser.add_argument("--init", type=Path, help="start from this checkpoint's weights, with a new schedule")
    add(parser, "--seed", int, 1, "of the weights and the rows")
    parser.add_argument("--bench", action="store_true", help="only time five steps of each row length")

    size = parser.add_argument_group("size of the model (the vocabulary is that of --data)")
    for name, value in vars(Shape()).items():
        if name != "vocab":
            add(size, "--" + name.replace("_", "-"), int, value, "")

    rows = parser.add_argument_group("rows")
    add(rows, "--tokens", int, 4096, "tokens a step")
    rows.add_argument("--lengths", type=int, nargs="+", default=[256, 512, 1024],
                      help="row lengths, in order (default: 256 512 1024)")
    rows.add_argument("--length-at", type=float, nargs="*", default=[0.4, 0.87],
                      help="progress, 0 to 1, at which the next length begins (default: 0.4 0.87)")
    rows.add_argument("--chat-share", type=float, nargs=2, default=[0.4, 0.85], metavar=("FIRST", "LAST"),
                      help="share of chat rows, at the start and from 0.7 on (default: 0.4 0.85)")
    add(rows, "--talk-weight", int, 2, "how often small talk comes for once of the other examples")

    rates = parser.add_argument_group("optimiser")
    add(rates, "--matrix-lr", float, 0.02, "peak rate of Muon")
    add(rates, "--lr", float, 3e-3, "peak rate of AdamW")
    add(rates, "--decay", float, 0.05, "weight decay of the matrices")

    machine = parser.add_argument_group("time and machine")
    add(machine, "--minutes", float, 42, "wall time of the run")
    add(machine, "--threads", int, 2, "threads")
    machine.add_argument("--compile", action="store_true", help="compile the model (needs a C++ compiler)")
    add(machine, "--save-minutes", float, 1.5, "between checkpoints")
    add(machine, "--eval-minutes", float, 6, "between evaluations")
    machine.add_argument("--pause-file", type=Path, help="sleep while this file exists; the clock goes on")

    given = parser.parse_args()
    problem = find_problem(given)
    if problem:
        parser.error(problem)
    return given


def add(group: argparse._ActionsContainer, name: str, kind: type, default: float, what: str) -> None:
    """A number with its default in the help."""
    group.add_argument(name, type=kind, default=default, help=f"{what} (default: %(default)s)".strip())


def find_problem(given: argparse.Namespace) -> str | None:
    """One sentence about options that cannot go together."""
    positive = ("hidden", "layers", "inter", "heads", "kv_heads", "head_dim", "context", "tokens", "talk_weight",
                "minutes", "threads")
    for name in positive:
        if getattr(given, name) <= 0:
            return f"--{name.replace('_', '-')} {getattr(given, name)} is too small; it must be more than 0."
    if given.heads % given.kv_heads or given.head_dim % 2:
        return "--heads must be a multiple of --kv-heads, and --head-dim must be even."
    if min(given.lengths) < 1 or max(given.lengths) > given.context:
        return f"--lengths must lie between 1 and --context {given.context}."
    if len(given.length_at) != len(given.lengths) - 1 or given.length_at != sorted(given.length_at):
        return "--length-at must give, in rising order, one place fewer than --lengths gives lengths."
    if not all(0 <= share <= 1 for share in given.chat_share):
        return "--chat-share must be two numbers between 0 and 1."
    return None
