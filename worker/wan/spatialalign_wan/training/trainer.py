"""Trains an adapter: pairs are shared out over the processes, their gradients summed in float64, then one step of AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..contract.exits import ExitCode, Interrupted, StageError, bad_input
from ..contract.records import PairLine
from ..models import lora
from ..models.tensors import drawn_normal
from .checkpoints import Checkpoint, Progress, Tensors
from .draws import Drawer, Draws
from .gang import Following
from .group import FAIL, GO, STOP, Group
from .objective import Objective, Side, noised
from .schedule import rate

if TYPE_CHECKING:
    from .passes import Passes

BETAS, EPSILON, WEIGHT_DECAY = (0.9, 0.999), 1e-8, 0.01


@dataclass(frozen=True)
class Options:
    steps: int
    schedule_steps: int
    warmup_steps: int
    pairs_per_step: int
    learning_rate: float


@dataclass(frozen=True)
class Data:
    """What pairs are made of; latents and embeddings are read when a draw first needs them."""

    pairs: Sequence[PairLine]
    latent: Callable[[str], torch.Tensor]
    text: Callable[[str], torch.Tensor]


class Trainer:
    def __init__(
        self, network: torch.nn.Module, passes: Passes, data: Data, draws: Draws, objective: Objective, options: Options, group: Group
    ) -> None:
        self._passes, self._data, self._draws, self._objective = passes, data, draws, objective
        self._options, self._group = options, group
        self._drawer = Drawer(data.pairs, draws)
        self.parameters = lora.parameters(network)
        self._adam = torch.optim.AdamW(self.parameters.values(), lr=0.0, betas=BETAS, eps=EPSILON, weight_decay=WEIGHT_DECAY, foreach=False)
        self.progress = Progress()
        self._sum = torch.zeros(sum(p.numel() for p in self.parameters.values()), dtype=torch.float64)
        self._terms = torch.zeros(3, dtype=torch.float64)

    @property
    def done(self) -> bool:
        return self.progress.step >= self._options.steps

    def step(self, stopping: Callable[[], bool]) -> tuple[float, float, float, float]:
        """Takes the next step and gives its loss, margin, regularizer and gradient norm.

        When any process is to stop, all do after the same pair, with what they have summed so far in self.progress."""
        size, count = self._group.size, self._options.pairs_per_step
        first = self.progress.pairs
        for start in range(first, count, size):
            failure = None
            try:
                if start + self._group.rank < count:
                    self._add(self.progress.step * count + start + self._group.rank)
            except Exception as e:  # noqa: BLE001 (raised below: the others wait for this process's word)
                failure = e
            word = self._group.worst(FAIL if failure else STOP if stopping() else GO)
            if failure:
                raise failure
            if word == FAIL:
                raise Following("another process of the training failed")
            self.progress.pairs = min(count, start + size)
            if word == STOP and self.progress.pairs < count:
                raise Interrupted
        stats = self._update()
        self.progress.step += 1
        self.progress.pairs = 0
        self.progress.history.append(stats)
        return stats

    def _add(self, n: int) -> None:
        """Adds the gradient of draw number n."""
        pair = self._data.pairs[self._drawer.draw(n)]
        sigma = self._draws.sigma(n)
        of_winner, of_loser = self._data.latent(pair.winner), self._data.latent(pair.loser)
        if of_winner.shape != of_loser.shape:
            raise bad_input(
                f"pair of prompt {pair.prompt_id!r}, iteration {pair.iteration}: the latent of winner {pair.winner} has shape"
                f" {tuple(of_winner.shape)}, that of loser {pair.loser} {tuple(of_loser.shape)}: pair samples of one size"
            )
        winner, winner_target = self._noised(of_winner, n, "winner", sigma)
        loser, loser_target = self._noised(of_loser, n, "loser", sigma)
        text = self._data.text(pair.prompt_id)
        both = Side(winner, loser)
        reference = self._passes.reference(both, sigma, text)
        terms = self._objective.loss(self._passes.policy(both, sigma, text), reference, Side(winner_target, loser_target))
        gradients = torch.autograd.grad(terms.loss, list(self.parameters.values()))
        # From fp32 to fp64 on the CPU: 25 MB a pair, and sums that do not depend on who added what.
        self._sum += torch.cat([g.reshape(-1).double().cpu() for g in gradients])
        self._terms += terms.numbers()

    def _noised(self, own: torch.Tensor, n: int, role: str, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
        latent = own[None].to(self._group.where)
        noise = drawn_normal(tuple(latent.shape), self._draws.noise_seed(n, role)).to(self._group.where)
        return noised(latent, noise, sigma)

    def _update(self) -> tuple[float, float, float, float]:
        step, count = self.progress.step, self._options.pairs_per_step
        total = self._group.sum(torch.cat([self._sum, self._terms])) / count
        gradient, (loss, margin, regularizer) = total[:-3], total[-3:].tolist()
        norm = float(gradient.norm())
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise StageError(
                ExitCode.DIVERGED,
                f"training diverged in step {step}: loss {loss}, gradient norm {norm}:"
                " lower training.learningRate or raise training.lambda",
            )
        at = 0
        for parameter in self.parameters.values():
            part = gradient[at : at + parameter.numel()].reshape(parameter.shape)
            parameter.grad = part.to(parameter.device, parameter.dtype)
            at += parameter.numel()
        for group in self._adam.param_groups:
            group["lr"] = rate(self._options.learning_rate, step, self._options.warmup_steps, self._options.schedule_steps)
        self._adam.step()
        self._adam.zero_grad()
        self._sum.zero_()
        self._terms.zero_()
        return loss, margin, regularizer, norm

    def checkpoint(self) -> Checkpoint:
        """All that the training is. Every process calls it; the first one's is the whole."""
        progress = self.progress
        progress.partial = self._group.gather(torch.cat([self._sum, self._terms])) if progress.pairs else []
        return Checkpoint(progress, dict(self.parameters), self._moments("exp_avg"), self._moments("exp_avg_sq"))

    def _moments(self, name: str) -> Tensors:
        state = self._adam.state
        return {key: state[p][name] for key, p in self.parameters.items() if p in state}

    def restore(self, c: Checkpoint) -> None:
        """Goes on from a checkpoint: bit by bit the same with as many processes, to rounding with another number."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(c.adapter[name])
        if c.first_moment:
            for name, parameter in self.parameters.items():
                self._adam.state[parameter] = {
                    "step": torch.tensor(float(c.progress.step)),
                    "exp_avg": c.first_moment[name].to(parameter.device),
                    "exp_avg_sq": c.second_moment[name].to(parameter.device),
                }
        self.progress = Progress(c.progress.step, c.progress.pairs, [], list(c.progress.history))
        parts = c.progress.partial
        if not parts:
            return
        if len(parts) == self._group.size:
            own = parts[self._group.rank]
        else:  # pairs are done in order whatever the number of processes: the first one takes up the sum
            own = torch.stack(parts).sum(dim=0) if self._group.rank == 0 else torch.zeros_like(parts[0])
        self._sum, self._terms = own[:-3].clone(), own[-3:].clone()
