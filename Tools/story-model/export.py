#!/usr/bin/env python3
"""Write a checkpoint of train.py as a model folder that Swerve and transformers load.

The folder gets bfloat16 weights, the tokenizer, the chat template and the configuration files. A run that is still
training can be exported too; its last checkpoint is taken.
"""
import argparse
import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

import errors
from chat_template import END_OF_TEXT, SPECIAL_TOKENS, TEMPLATE, TURN_END, TURN_START
from errors import RecipeError
from model import NORM_EPSILON, ROPE_THETA, Shape

TEXT_END_ID, TURN_END_ID = SPECIAL_TOKENS.index(END_OF_TEXT), SPECIAL_TOKENS.index(TURN_END)
ROLES_OF_TOKENS = {"bos_token": END_OF_TEXT, "eos_token": TURN_END, "pad_token": END_OF_TEXT}
OTHER_SPECIAL = [TURN_START, TURN_END]


def model_config(shape: Shape) -> dict[str, Any]:
    """``config.json``. The rotary base and the type stand twice: older and newer readers know different names."""
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": shape.vocab,
        "hidden_size": shape.hidden, "intermediate_size": shape.inter, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim,
        "max_position_embeddings": shape.context, "rope_theta": ROPE_THETA,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA}, "rms_norm_eps": NORM_EPSILON,
        "hidden_act": "silu", "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False,
        "attention_dropout": 0.0, "initializer_range": 0.02, "use_cache": True, "pretraining_tp": 1,
        "bos_token_id": TEXT_END_ID, "eos_token_id": TURN_END_ID, "pad_token_id": TEXT_END_ID,
        "torch_dtype": "bfloat16", "dtype": "bfloat16",
    }


def generation_config() -> dict[str, Any]:
    """``generation_config.json``: what reads well from so small a model."""
    return {"bos_token_id": TEXT_END_ID, "eos_token_id": [TURN_END_ID, TEXT_END_ID], "pad_token_id": TEXT_END_ID,
            "do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 50, "max_new_tokens": 512}


def tokenizer_config(shape: Shape) -> dict[str, Any]:
    """``tokenizer_config.json``: nothing is put before or after a text."""
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": shape.context, **ROLES_OF_TOKENS,
        "add_bos_token": False, "add_eos_token": False, "clean_up_tokenization_spaces": False,
        "additional_special_tokens": OTHER_SPECIAL,
        "added_tokens_decoder": {str(i): {"content": token, **flags} for i, token in enumerate(SPECIAL_TOKENS)},
        "chat_template": TEMPLATE,
    }


def export(data: Path, run: Path, which: str, folder: Path) -> None:
    """Write the model folder."""
    checkpoint = run / f"{which}.safetensors"
    for needed in (checkpoint, run / "model.json", data / "tokenizer.json"):
        if not needed.is_file():
            raise RecipeError(f"{needed} does not exist; prepare.py writes --data, train.py writes --run.")
    shape = Shape(**json.loads((run / "model.json").read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    save_file({name: tensor.bfloat16().contiguous() for name, tensor in load_file(checkpoint).items()}, weights,
              metadata={"format": "pt"})
    os.chmod(weights, 0o644)  # safetensors writes files only their owner can read
    for name, content in (("config.json", model_config(shape)),
                          ("generation_config.json", generation_config()),
                          ("special_tokens_map.json", {**ROLES_OF_TOKENS, "additional_special_tokens": OTHER_SPECIAL}),
                          ("tokenizer_config.json", tokenizer_config(shape))):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "tokenizer.json").write_bytes((data / "tokenizer.json").read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare.py wrote")
    parser.add_argument("--run", type=Path, required=True, help="folder that train.py writes")
    parser.add_argument("--model", type=Path, required=True, help="model folder to write")
    parser.add_argument("--which", choices=["last", "best"], default="last", help="checkpoint (default: %(default)s)")
    given = parser.parse_args()
    export(given.data, given.run, given.which, given.model)
    print(f"wrote {given.model}")


if __name__ == "__main__":
    errors.run(main)
