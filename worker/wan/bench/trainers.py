"""A pair's gradient, by the published recipe and by this worker."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch.utils.checkpoint import checkpoint

from spatialalign_wan.models import lora
from spatialalign_wan.models.embeds import pad
from spatialalign_wan.models.loading import base_dtype, choose_attention
from spatialalign_wan.models.settings import Speed
from spatialalign_wan.models.tensors import drawn_normal
from spatialalign_wan.training.draws import Draws
from spatialalign_wan.training.objective import Objective, Side, Terms, noised
from spatialalign_wan.training.passes import Passes

from .sizes import Pair, Size, network

OBJECTIVE = Objective(beta=1.0, regularization=0.5, margin_clip=5.0)
DRAWS = Draws(seed=0, iteration=1)


@dataclass(frozen=True)
class Outcome:
    terms: Terms
    policy: Side
    gradients: torch.Tensor


class PairTrainer(Protocol):
    name: str

    def gradient(self, pair: Pair, n: int) -> Outcome: ...
    def adapter(self) -> dict[str, torch.nn.Parameter]: ...


def _inputs(pair: Pair, n: int, where: torch.device) -> tuple[Side, Side, float]:
    sigma = DRAWS.sigma(n)
    made = []
    for role, latent in (("winner", pair.winner), ("loser", pair.loser)):
        x = latent[None].to(where)
        made.append(noised(x, drawn_normal(tuple(x.shape), DRAWS.noise_seed(n, role)).to(where), sigma))
    (winner, winner_target), (loser, loser_target) = made
    return Side(winner, loser), Side(winner_target, loser_target), sigma


def _outcome(terms: Terms, policy: Side, parameters: dict[str, torch.nn.Parameter]) -> Outcome:
    gradients = torch.autograd.grad(terms.loss, list(parameters.values()))
    return Outcome(terms, policy, torch.cat([g.reshape(-1).double().cpu() for g in gradients]))


class Published:
    """BASELINE: the published recipe, plainly. The reference is a deep copy of the whole model; each pair takes four
    separate forward passes; every block is checkpointed fully; attention is what PyTorch chooses; nothing is compiled."""

    name = "baseline: the published recipe"

    def __init__(self, size: Size, where: torch.device) -> None:
        self._where = where
        self._policy = network(size, where)
        self._reference = copy.deepcopy(self._policy)
        lora.attach(self._policy, size.rank, size.rank)
        lora.initialize(self._policy, 0)
        self._policy.enable_gradient_checkpointing(lambda block, *args: checkpoint(block, *args, use_reentrant=False))

    def adapter(self) -> dict[str, torch.nn.Parameter]:
        return lora.parameters(self._policy)

    def gradient(self, pair: Pair, n: int) -> Outcome:
        x, target, sigma = _inputs(pair, n, self._where)
        text = pad(pair.text, self._where, base_dtype(self._where))
        time = torch.tensor([1000 * sigma], device=self._where)

        def forward(net: torch.nn.Module, latent: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = net(latent.to(base_dtype(self._where)), time, text, return_dict=False)[0]
            return out.float()

        policy = Side(forward(self._policy, x.winner), forward(self._policy, x.loser))
        with torch.no_grad():
            reference = Side(forward(self._reference, x.winner), forward(self._reference, x.loser))
        return _outcome(OBJECTIVE.loss(policy, reference, target), policy, self.adapter())


class Worker:
    """What the stage train runs for a pair."""

    def __init__(self, name: str, size: Size, where: torch.device, speed: Speed) -> None:
        self.name, self._where = name, where
        self._network = network(size, where)
        lora.attach(self._network, size.rank, size.rank)
        lora.initialize(self._network, 0)
        choose_attention(self._network, speed, where)
        self._passes = Passes(self._network, speed, previous=False)

    def adapter(self) -> dict[str, torch.nn.Parameter]:
        return lora.parameters(self._network)

    def gradient(self, pair: Pair, n: int) -> Outcome:
        x, target, sigma = _inputs(pair, n, self._where)
        reference = self._passes.reference(x, sigma, pair.text)
        policy = self._passes.policy(x, sigma, pair.text)
        return _outcome(OBJECTIVE.loss(policy, reference, target), policy, self.adapter())


def variants(compiled: str) -> dict[str, Speed]:
    """Every gain alone over the worker without any, and all together."""
    plain = Speed(attention="native", compile="no", checkpointing="full", split_pairs=True)
    return {
        "no deep copy alone": plain,
        "+ both of a pair in one batch": replace(plain, split_pairs=False),
        "+ attention backend": replace(plain, attention="auto"),
        "+ compiled blocks": replace(plain, compile=compiled),
        "+ selective checkpointing": replace(plain, checkpointing="selective"),
        "this worker": Speed(attention="auto", compile=compiled, checkpointing="selective", split_pairs=False),
    }
