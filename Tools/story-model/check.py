#!/usr/bin/env python3
"""Load a model folder with transformers, check it, and then: sample, write goldens, or compare with goldens.

Always checked: the vocabulary has the configuration's size, any text survives the tokenizer, and the chat template
gives the same ids rendered and tokenised in one step or in two.

A golden file holds prompts with their token ids, 48 greedy tokens each (plain argmax in float32, no penalties, not
stopped at the end of the turn) and the ten largest logits of the first step.
"""
import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
import transformers

import errors
from errors import RecipeError

GREEDY_TOKENS = 48
LOGIT_TOLERANCE = 1e-3  # float32 sums in another order differ by about a hundredth of this
RAW_PROMPTS = [
    "Once upon a time there was a king who had three daughters,",
    "The fox looked up at the crow and said,",
    "In the middle of the forest stood a little house, and in it lived",
]
CONVERSATIONS = [
    [{"role": "user", "content": "Tell me a story about a fox and a crow."}],
    [{"role": "system", "content": "You are a friendly storyteller who tells fairy tales."},
     {"role": "user", "content": "Hello!"}],
    [{"role": "user", "content": "Who are you?"},
     {"role": "assistant", "content": "I am a small storyteller model."},
     {"role": "user", "content": "Write a story with a princess and a dragon."}],
]
SAMPLED = [
    "Tell me a story about a fox and a crow.", "Hello!", "Who are you?",
    "Write a story about a dragon and a princess.",
    "Continue: Once upon a time there was a poor fisherman who lived by the sea.",
    "Tell me a short fable about a lion.", "What is the capital of France?", "Thank you!", "Tell me a story.",
]
PROBE = "\"Well,\" said the fox, 'tis late!\n\nNa\u00efve \u2014 \u4f60\u597d 123"


class Checker:
    """A loaded model folder, computed in float32."""

    def __init__(self, folder: Path):
        if not (folder / "config.json").is_file():
            raise RecipeError(f"{folder} is not a model folder; give one that export.py wrote.")
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        if len(self.tokenizer) != self.model.config.vocab_size:
            raise RecipeError(f"the tokenizer has {len(self.tokenizer)} tokens and config.json says "
                              f"{self.model.config.vocab_size}; export again from one run and its data.")
        if self.tokenizer.decode(self.tokenizer(PROBE)["input_ids"]) != PROBE:
            raise RecipeError(f"the tokenizer changes the text {PROBE!r}; train it with tokenizer.py.")

    def conversation(self, messages: list[dict[str, str]]) -> tuple[str, list[int]]:
        """The rendered text and the ids of a conversation that the assistant is to go on with."""
        render = self.tokenizer.apply_chat_template
        text = render(messages, tokenize=False, add_generation_prompt=True)
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        at_once = render(messages, tokenize=True, add_generation_prompt=True)
        if list(at_once if isinstance(at_once, list) else at_once["input_ids"]) != ids:
            raise RecipeError(f"the chat template gives other ids in one step than in two for {text!r}; export again.")
        return text, ids

    @torch.no_grad()
    def case(self, kind: str, prompt: Any) -> dict[str, Any]:
        """One entry of a golden file; ``kind`` is "raw" (a text) or "chat" (messages)."""
        text, prompt_ids = ((prompt, self.tokenizer(prompt)["input_ids"]) if kind == "raw"
                            else self.conversation(prompt))
        ids, first, gap = list(prompt_ids), {}, float("inf")
        for _ in range(GREEDY_TOKENS):
            top = self.model(torch.tensor([ids])).logits[0, -1].float().topk(10)
            first = first or {"ids": top.indices.tolist(), "logits": top.values.tolist()}
            gap = min(gap, (top.values[0] - top.values[1]).item())
            ids.append(int(top.indices[0]))
        greedy = ids[len(prompt_ids):]
        return {"kind": kind, "prompt" if kind == "raw" else "messages": prompt, "text": text,
                "prompt_ids": prompt_ids, "greedy_ids": greedy,
                "greedy_text": self.tokenizer.decode(greedy, skip_special_tokens=False),
                "smallest_gap_to_second": gap, "first_step_top10": first}

    def write_golden(self, path: Path) -> None:
        cases = [self.case("raw", prompt) for prompt in RAW_PROMPTS]
        cases += [self.case("chat", messages) for messages in CONVERSATIONS]
        note = (f"transformers {transformers.__version__}, torch {torch.__version__}, bf16 weights computed in "
                f"float32, plain argmax without penalties, {GREEDY_TOKENS} tokens, not stopped at <|im_end|>; "
                "no token is put before raw prompts")
        path.write_text(json.dumps({"note": note, "cases": cases}, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {len(cases)} cases to {path}")

    def compare(self, path: Path) -> None:
        """Compute the cases of a golden file again; the first that differs is an error."""
        try:
            cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecipeError(f"{path} is not a golden file ({error}); give one that --write-golden wrote.") from None
        worst = 0.0
        for number, wanted in enumerate(cases, 1):
            got = self.case(wanted["kind"], wanted["prompt" if wanted["kind"] == "raw" else "messages"])
            for field in ("text", "prompt_ids", "greedy_ids", "greedy_text"):
                if got[field] != wanted[field]:
                    place, ours, golden = first_difference(got[field], wanted[field])
                    raise RecipeError(f"{path}, case {number}: {field} differs at place {place}: "
                                      f"{ours!r} and not {golden!r}.")
            if got["first_step_top10"]["ids"] != wanted["first_step_top10"]["ids"]:
                raise RecipeError(f"{path}, case {number}: the ten likeliest first tokens differ from the golden ones.")
            pairs = zip(got["first_step_top10"]["logits"], wanted["first_step_top10"]["logits"])
            worst = max([worst, *(abs(a - b) for a, b in pairs)])
            if worst > LOGIT_TOLERANCE:
                raise RecipeError(f"{path}, case {number}: a logit differs by {worst:.2g}, "
                                  f"more than {LOGIT_TOLERANCE}.")
        print(f"all {len(cases)} cases of {path} agree; largest difference of a logit {worst:.2g}")

    def sample(self, prompts: list[str], seed: int, longest: int, temperature: float | None) -> None:
        """Print one answer to each prompt, drawn as generation_config.json says."""
        torch.manual_seed(seed)
        changed = {} if temperature is None else {"temperature": temperature}
        for prompt in prompts:
            _, ids = self.conversation([{"role": "user", "content": prompt}])
            began = time.time()
            out = self.model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                                      max_new_tokens=longest, **changed)[0, len(ids):]
            print(f"### {prompt}  [{len(out)} tokens, {time.time() - began:.1f} s]\n"
                  f"{self.tokenizer.decode(out, skip_special_tokens=False)}\n")


def first_difference(got: Any, wanted: Any) -> tuple[int, Any, Any]:
    """Where two texts or lists of ids part, and the next eight elements of each."""
    place = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
    return place, got[place:place + 8], wanted[place:place + 8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("--write-golden", type=Path, metavar="FILE", help="write the goldens of this model")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="compare with goldens; status 1 if they differ")
    parser.add_argument("--sample", action="store_true", help="print answers to a few prompts")
    parser.add_argument("--prompt", action="append", help="answer this instead (may be repeated)")
    parser.add_argument("--temperature", type=float, help="for sampling (default: the model's)")
    parser.add_argument("--max-new", type=int, default=300, help="longest answer in tokens (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="for sampling (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    given = parser.parse_args()
    for name in ("threads", "max_new"):
        if getattr(given, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(given, name)} is too small; it must be at least 1.")
    if given.temperature is not None and given.temperature <= 0:
        parser.error(f"--temperature {given.temperature} is too small; it must be more than 0.")

    torch.set_num_threads(given.threads)
    checker = Checker(given.model)
    print(f"{type(checker.model).__name__}, {sum(p.numel() for p in checker.model.parameters())} parameters, "
          f"{len(checker.tokenizer)} tokens; end of turn {checker.tokenizer.eos_token}, "
          f"generation ends at {checker.model.generation_config.eos_token_id}")
    if given.write_golden:
        checker.write_golden(given.write_golden)
    if given.compare:
        checker.compare(given.compare)
    if given.sample or given.prompt:
        checker.sample(given.prompt or SAMPLED, given.seed, given.max_new, given.temperature)


if __name__ == "__main__":
    errors.run(main)
