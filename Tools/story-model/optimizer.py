"""The optimiser: Muon for the layers' matrices, AdamW without decay for the embedding and the norms.

The model computes in bfloat16; the optimiser owns float32 masters and rounds them into the model after each step.
Muon is Keller Jordan's (https://kellerjordan.github.io/posts/muon/), with Nesterov momentum.
"""
from dataclasses import dataclass

import torch
import torch.nn as nn

ADAM_BETAS = (0.9, 0.98)
CLIP = 1.0  # norm of all gradients above which AdamW's are scaled down (Muon's scale does not matter)


def orthogonalize(matrices: torch.Tensor, steps: int = 4) -> torch.Tensor:
    """The nearest semi-orthogonal matrix of each in a stack, roughly, by a quintic Newton-Schulz iteration."""
    x = matrices.bfloat16()
    tall = x.size(-2) > x.size(-1)
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.mT if tall else x


@dataclass
class Stack:
    """Matrices of one shape, updated together."""

    parameters: list[nn.Parameter]
    master: torch.Tensor  # (count, rows, columns)
    momentum: torch.Tensor


@dataclass
class Single:
    """The embedding or one norm."""

    parameter: nn.Parameter
    master: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor


class Optimizer:
    """Build it before the model is converted to bfloat16: the masters are copies of the model's parameters."""

    def __init__(self, model: nn.Module, matrix_rate: float, rate: float, decay: float):
        self.matrix_rate, self.rate, self.decay, self.steps = matrix_rate, rate, decay, 0
        by_shape: dict[torch.Size, list[nn.Parameter]] = {}
        self.singles: list[Single] = []
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and "embed" not in name:
                by_shape.setdefault(parameter.shape, []).append(parameter)
            else:
                master = parameter.detach().float().clone()
                self.singles.append(Single(parameter, master, torch.zeros_like(master), torch.zeros_like(master)))
        self.stacks: list[Stack] = []
        for parameters in by_shape.values():
            master = torch.stack([parameter.detach().float() for parameter in parameters])
            self.stacks.append(Stack(parameters, master, torch.zeros_like(master)))

    def masters(self) -> dict[int, torch.Tensor]:
        """The float32 master of each parameter, by the parameter's ``id``."""
        found = {id(single.parameter): single.master for single in self.singles}
        for stack in self.stacks:
            found |= {id(parameter): stack.master[i] for i, parameter in enumerate(stack.parameters)}
        return found

    @torch.no_grad()
    def step(self, scale: float) -> float:
        """Update with both rates multiplied by ``scale``; drop the gradients and return their norm."""
        self.steps += 1
        parameters = [p for stack in self.stacks for p in stack.parameters] + [s.parameter for s in self.singles]
        norm = torch.linalg.vector_norm(torch.stack([p.grad.float().norm() for p in parameters])).item()
        for stack in self.stacks:
            self.muon(stack, scale)
        for single in self.singles:
            self.adamw(single, scale, min(1.0, CLIP / (norm + 1e-6)))
        for parameter in parameters:
            parameter.grad = None
        return norm

    def muon(self, stack: Stack, scale: float) -> None:
        keep = min(0.95, 0.85 + 0.1 * self.steps / 200)  # momentum warms up over the first 200 steps
        gradient = torch.stack([parameter.grad for parameter in stack.parameters]).float()
        stack.momentum.lerp_(gradient, 1 - keep)
        update = orthogonalize(gradient.lerp(stack.momentum, keep)).float()
        rate = self.matrix_rate * scale
        tallness = max(1.0, stack.master.size(1) / stack.master.size(2)) ** 0.5
        stack.master.mul_(1 - rate * self.decay).add_(update, alpha=-rate * tallness)
        for parameter, master in zip(stack.parameters, stack.master):
            parameter.copy_(master)

    def adamw(self, single: Single, scale: float, factor: float) -> None:
        beta1, beta2 = ADAM_BETAS
        gradient = single.parameter.grad.float() * factor
        single.first.lerp_(gradient, 1 - beta1)
        single.second.lerp_(gradient * gradient, 1 - beta2)
        mean = single.first / (1 - beta1 ** self.steps)
        deviation = (single.second / (1 - beta2 ** self.steps)).sqrt()
        single.master.add_(mean / (deviation + 1e-8), alpha=-self.rate * scale)
        single.parameter.copy_(single.master)
