"""The two passes over a pair: the frozen reference, then the policy with its graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from ..models.embeds import pad
from ..models.lora import POLICY, REFERENCE
from ..models.settings import Speed
from .objective import Side

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

# The outputs of attention are what takes longest to compute again: 70 % of a forward pass.
_KEEP = [
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
]


def _policy(_: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if op in _KEEP else CheckpointPolicy.PREFER_RECOMPUTE


def checkpointing(mode: str) -> Callable[..., Tensor] | None:
    """How a block is called so that its activations are computed again in the backward pass; None to keep them all."""
    if mode == "none":
        return None
    if mode == "full":
        return partial(checkpoint, use_reentrant=False)
    return partial(checkpoint, use_reentrant=False, context_fn=partial(create_selective_checkpoint_contexts, _policy))


def prepare_blocks(network: WanTransformer3DModel, speed: Speed) -> None:
    """Has every block run checkpointed where gradients are wanted, and compiled if that is asked for.

    Compiled *around* the checkpoint: compiled inside it, the graph would keep what the checkpoint gives up. Blocks are
    arguments of the one function that is compiled, so that all of them share its code."""
    wrapped = checkpointing(speed.checkpointing)
    forward = type(network.blocks[0]).forward

    def run(block: torch.nn.Module, *args: Any) -> Tensor:
        if wrapped is not None and torch.is_grad_enabled():
            return wrapped(forward, block, *args)
        out: Tensor = forward(block, *args)
        return out

    if speed.compile != "no":
        run = torch.compile(run, fullgraph=True, backend=speed.backend)
    for block in network.blocks:
        block.forward = partial(run, block)


class Passes:
    """Velocities of a pair's noised latents under the reference and the policy: one network, its adapters switched."""

    def __init__(self, network: WanTransformer3DModel, speed: Speed, previous: bool) -> None:
        self._network, self._split, self._previous = network, speed.split_pairs, previous
        self._where = network.patch_embedding.weight.device
        self._dtype = network.patch_embedding.weight.dtype
        prepare_blocks(network, speed)
        self._select_policy()

    def _select_policy(self) -> None:
        if self._previous:
            self._network.set_adapter(POLICY)
        else:
            self._network.enable_adapters()

    @contextmanager
    def _reference_selected(self) -> Iterator[None]:
        """Before the policy's pass, never inside it: switching flips requires_grad, and the backward pass computes blocks
        again with the adapters as they are then."""
        if self._previous:
            self._network.set_adapter(REFERENCE)
        else:
            self._network.disable_adapters()
        try:
            yield
        finally:
            self._select_policy()

    def reference(self, noised: Side, sigma: float, text: Tensor) -> Side:
        with torch.no_grad(), self._reference_selected():
            return self._velocities(noised, sigma, text)

    def policy(self, noised: Side, sigma: float, text: Tensor) -> Side:
        return self._velocities(noised, sigma, text)

    def _velocities(self, noised: Side, sigma: float, text: Tensor) -> Side:
        states = pad(text, self._where, self._dtype)
        time = torch.tensor([1000 * sigma], dtype=torch.float32, device=self._where)
        if self._split:
            return Side(self._run(noised.winner, time, states), self._run(noised.loser, time, states))
        both = self._run(torch.cat([noised.winner, noised.loser]), time.expand(2), states.expand(2, -1, -1))
        return Side(both[:1], both[1:])

    def _run(self, x: Tensor, time: Tensor, states: Tensor) -> Tensor:
        out: Tensor = self._network(x.to(self._dtype), time, states, return_dict=False)[0]
        return out.float()
