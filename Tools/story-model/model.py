"""The model: Llama's decoder in plain PyTorch, written for training in bfloat16 on a CPU.

Parameters are named as in transformers' LlamaForCausalLM, without the leading ``model.``; the embedding is tied.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

ROPE_THETA = 10000.0
NORM_EPSILON = 1e-5
IGNORED = -100  # the label of a token that is not learned


@dataclass
class Shape:
    """Sizes of the model. The defaults are the shipped model's: 9.4 M parameters."""

    vocab: int = 4096
    hidden: int = 384
    layers: int = 5
    inter: int = 1024
    heads: int = 6
    kv_heads: int = 2
    head_dim: int = 64
    context: int = 1024


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32."""

    def __init__(self, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + NORM_EPSILON)
        return (y * self.weight.float()).to(x.dtype)


@dataclass
class Positions:
    """What depends on the row length only: rotary tables (length, head_dim) and the causal mask (length, length)."""

    cos: torch.Tensor
    sin: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def of(cls, length: int, shape: Shape) -> "Positions":
        frequency = 1.0 / ROPE_THETA ** (torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
        angle = torch.outer(torch.arange(length).float(), frequency)
        angle = torch.cat((angle, angle), -1)
        mask = torch.full((length, length), float("-inf")).triu(1)
        return cls(angle.cos().bfloat16(), angle.sin().bfloat16(), mask)

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        """Rotary embedding of (..., length, head_dim), the halves paired as in Llama."""
        a, b = x.chunk(2, -1)
        return x * self.cos + torch.cat((-b, a), -1) * self.sin


class Attention(nn.Module):
    """Causal attention with grouped query heads.

    Explicit products instead of ``scaled_dot_product_attention``: faster where a CPU has bfloat16 tiles. The query
    heads that share a key head are folded into one tall matrix, so keys and values are never copied.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = shape.heads, shape.kv_heads, shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, shape.heads * shape.head_dim, bias=False)
        self.k_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head_dim, bias=False)
        self.v_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head_dim, bias=False)
        self.o_proj = nn.Linear(shape.heads * shape.head_dim, shape.hidden, bias=False)

    def forward(self, x: torch.Tensor, at: Positions) -> torch.Tensor:
        rows, length, _ = x.shape
        group, folded = self.heads // self.kv_heads, rows * self.kv_heads
        q = at.rotate(self.split(self.q_proj(x), self.heads)) * self.head_dim ** -0.5
        k = at.rotate(self.split(self.k_proj(x), self.kv_heads))
        v = self.split(self.v_proj(x), self.kv_heads)
        q = q.reshape(folded, group * length, self.head_dim)
        k = k.reshape(folded, length, self.head_dim)
        v = v.reshape(folded, length, self.head_dim)
        scores = torch.bmm(q, k.transpose(1, 2)).view(folded, group, length, length)
        weights = torch.softmax(scores.float() + at.mask, -1).to(x.dtype).view(folded, group * length, length)
        y = torch.bmm(weights, v).view(rows, self.heads, length, self.head_dim)
        return self.o_proj(y.transpose(1, 2).reshape(rows, length, self.heads * self.head_dim))

    def split(self, x: torch.Tensor, heads: int) -> torch.Tensor:
        """(rows, length, heads * head_dim) -> (rows, heads, length, head_dim)."""
        return x.view(x.size(0), x.size(1), heads, self.head_dim).transpose(1, 2)


class MLP(nn.Module):
    """SwiGLU feed-forward block."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.inter, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.inter, bias=False)
        self.down_proj = nn.Linear(shape.inter, shape.hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention and feed-forward, each behind a norm and added to what came in."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden)
        self.mlp = MLP(shape)

    def forward(self, x: torch.Tensor, at: Positions) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x), at)
        return x + self.mlp(self.post_attention_layernorm(x))


class StoryModel(nn.Module):
    """Token ids and labels in, mean loss of the learned tokens out."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # What writes into the residual stream starts smaller, so that its sum does not grow with depth.
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * shape.layers) if writes else 0.02)

    def forward(self, ids: torch.Tensor, labels: torch.Tensor, at: Positions) -> torch.Tensor:
        """``ids`` and ``labels``: (rows, length); label ``IGNORED`` is not learned."""
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, at)
        logits = F.linear(self.norm(x), self.embed_tokens.weight)
        loss = F.cross_entropy(logits.view(-1, logits.size(-1)).float(), labels.view(-1), ignore_index=IGNORED,
                               reduction="sum")
        return loss / (labels >= 0).sum().clamp(min=1)
