"""The loss of one pair.

    s(x)   = mse(v_ref, v) - mse(v_theta, v)                 mean over all latent elements
    margin = clip(beta * (s(x_w) - s(x_l)), -clip, clip)
    dpo    = -log sigmoid(margin)
    reg    = ( mse(v_theta(x_w), v_ref(x_w)) + mse(v_theta(x_l), v_ref(x_l)) ) / 2
    loss   = dpo + lambda * reg

`reg` is the zeroth-order regularizer: it holds the policy's output itself, not its gradient, to the reference's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, mse_loss


@dataclass(frozen=True)
class Objective:
    beta: float
    regularization: float
    """lambda"""
    margin_clip: float

    def loss(self, policy: Side, reference: Side, target: Side) -> Terms:
        advantage_w = mse_loss(reference.winner, target.winner) - mse_loss(policy.winner, target.winner)
        advantage_l = mse_loss(reference.loser, target.loser) - mse_loss(policy.loser, target.loser)
        margin = (self.beta * (advantage_w - advantage_l)).clamp(-self.margin_clip, self.margin_clip)
        regularizer = (mse_loss(policy.winner, reference.winner) + mse_loss(policy.loser, reference.loser)) / 2
        return Terms(-logsigmoid(margin) + self.regularization * regularizer, margin, regularizer)


@dataclass(frozen=True)
class Side:
    """Velocities, or their targets, of the noised winner and loser of a pair, in fp32."""

    winner: Tensor
    loser: Tensor


@dataclass(frozen=True)
class Terms:
    loss: Tensor
    margin: Tensor
    regularizer: Tensor

    def numbers(self) -> Tensor:
        """Loss, margin and regularizer as float64, without their graph."""
        return torch.stack([self.loss, self.margin, self.regularizer]).detach().double().cpu()


def noised(latent: Tensor, noise: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """x_t = (1 - sigma) x + sigma e, and the velocity e - x that leads along the flow."""
    return (1 - sigma) * latent + sigma * noise, noise - latent
