"""The loss by hand, its gradient by finite differences, the draws and the schedule."""

from __future__ import annotations

import math

import pytest
import torch

from spatialalign_wan.contract.records import PairLine
from spatialalign_wan.models.tensors import drawn_normal
from spatialalign_wan.training.draws import Drawer, Draws
from spatialalign_wan.training.objective import Objective, Side, noised
from spatialalign_wan.training.schedule import rate


def side(winner: list[float], loser: list[float]) -> Side:
    return Side(torch.tensor(winner, dtype=torch.float64), torch.tensor(loser, dtype=torch.float64))


def test_a_case_by_hand() -> None:
    policy, reference, target = side([1.0, 2.0], [0.0, 1.0]), side([0.0, 2.0], [0.0, 0.0]), side([1.0, 1.0], [0.0, 2.0])
    # s(w) = (1 + 1)/2 - (0 + 1)/2 = 1/2; s(l) = (0 + 4)/2 - (0 + 1)/2 = 3/2; reg = (1/2 + 1/2)/2
    terms = Objective(beta=2.0, regularization=0.5, margin_clip=5.0).loss(policy, reference, target)
    assert terms.margin.item() == pytest.approx(2 * (0.5 - 1.5))
    assert terms.regularizer.item() == pytest.approx(0.5)
    assert terms.loss.item() == pytest.approx(math.log(1 + math.exp(2)) + 0.25)


def test_a_fresh_adapter_loses_ln_2() -> None:
    same = side([0.3, -1.0], [2.0, 0.5])
    terms = Objective(1.0, 0.5, 5.0).loss(same, same, side([1.0, 1.0], [0.0, 0.0]))
    assert terms.loss.item() == pytest.approx(math.log(2))
    assert terms.margin.item() == 0


@pytest.mark.parametrize(("beta", "regularization", "clip"), [(1.0, 0.5, 5.0), (3.0, 0.0, 5.0), (1.0, 2.0, 0.01), (0.0, 0.5, 5.0)])
def test_the_gradient_by_finite_differences(beta: float, regularization: float, clip: float) -> None:
    generator = torch.Generator().manual_seed(7)
    values = [torch.randn(12, dtype=torch.float64, generator=generator) for _ in range(6)]
    objective = Objective(beta, regularization, clip)

    def loss(winner: torch.Tensor, loser: torch.Tensor) -> torch.Tensor:
        return objective.loss(Side(winner, loser), Side(values[2], values[3]), Side(values[4], values[5])).loss

    winner, loser = values[0].requires_grad_(), values[1].requires_grad_()
    gradients = torch.autograd.grad(loss(winner, loser), [winner, loser])
    for which, gradient in enumerate(gradients):
        for i in range(12):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [winner.detach().clone(), loser.detach().clone()]
                moved[which][i] += step
                ends.append(loss(*moved).item())
            assert gradient[i].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7)


@pytest.mark.parametrize("sign", [1, -1])
def test_beyond_the_clip_only_the_regularizer_pulls(sign: int) -> None:
    policy = Side(torch.tensor([9.0], requires_grad=True), torch.tensor([9.0], requires_grad=True))
    objective = Objective(1.0, 0.0, 5.0)
    terms = objective.loss(policy, side([0.0], [0.0]), Side(torch.tensor([9.0 * sign]), torch.tensor([-9.0 * sign])))
    assert terms.margin.item() == 5 * sign
    assert torch.autograd.grad(terms.loss, policy.winner)[0].item() == 0


def test_noise_and_its_target() -> None:
    x, e = torch.tensor([1.0, 2.0]), torch.tensor([-1.0, 0.0])
    noisy, target = noised(x, e, 0.25)
    assert noisy.tolist() == [0.5, 1.5]
    assert target.tolist() == [-2.0, -2.0]
    # A step of -sigma along the target leads back.
    assert torch.allclose(noisy - 0.25 * target, x)


def pair(prompt: str, iteration: int, winner: str) -> PairLine:
    return PairLine(prompt, iteration, winner, "l", 1.0, 0.0)


def test_prompts_are_drawn_evenly_however_many_pairs_they_have() -> None:
    pairs = [pair("a", 1, f"a{i}") for i in range(30)] + [pair("b", 1, "b1"), pair("b", 2, "b2")]
    drawer = Drawer(pairs, Draws(5, 1))
    drawn = [pairs[drawer.draw(n)] for n in range(4000)]
    assert sum(p.prompt_id == "a" for p in drawn) == pytest.approx(2000, abs=150)
    assert sum(p.winner == "b2" for p in drawn) == pytest.approx(1000, abs=120)  # by iteration, within a prompt
    shuffled = pairs[::-1]
    again = Drawer(shuffled, Draws(5, 1))
    assert [shuffled[again.draw(n)].prompt_id for n in range(50)] == [p.prompt_id for p in drawn[:50]]


def test_draws_are_those_of_the_go_side() -> None:
    """The same list and numbers stand in worker/wan/draws_test.go, where internal/pairing draws."""
    pairs = [pair("p2", 1, "x"), pair("p1", 2, "x"), pair("p1", 1, "x"), pair("p1", 1, "y"), pair("p3", 7, "x")]
    drawer = Drawer(pairs, Draws(18446744073709551615, 3))
    assert [drawer.draw(n) for n in range(12)] == GO_DRAWS


GO_DRAWS = [4, 4, 3, 2, 2, 0, 3, 1, 4, 4, 3, 4]


def test_noise_levels_are_the_references() -> None:
    levels = {Draws(1, 1).sigma(n) for n in range(20000)}
    every = {5 * u / (1 + 4 * u) for u in (1 - i / 1000 for i in range(1000))}
    assert levels <= every
    assert len(levels) == 1000
    assert 1.0 in levels


def test_draws_for_winner_and_loser_differ() -> None:
    draws = Draws(1, 1)
    seeds = {draws.noise_seed(n, role) for n in range(100) for role in ("winner", "loser")}
    assert len(seeds) == 200


def test_training_noise_depends_on_all_64_bits_of_its_seed() -> None:
    seed = 12345
    noise = drawn_normal((4, 5000), seed)
    assert torch.equal(noise, drawn_normal((4, 5000), seed))
    for bit in (0, 31, 32, 63):
        assert not torch.equal(noise, drawn_normal((4, 5000), seed ^ 1 << bit)), bit
    assert (noise.dtype, noise.shape) == (torch.float32, (4, 5000))
    assert noise.mean().item() == pytest.approx(0, abs=0.03)
    assert noise.std().item() == pytest.approx(1, abs=0.03)


def test_the_rate_rises_falls_and_stays_down() -> None:
    rates = [rate(1e-4, step, 300, 3000) for step in range(4000)]
    assert rates[0] == 0
    assert rates[150] == pytest.approx(0.5e-4)
    assert max(rates) == rates[300] == 1e-4
    assert rates[1650] == pytest.approx(0.5e-4)
    assert all(a >= b for a, b in zip(rates[300:], rates[301:], strict=False))
    assert set(rates[3000:]) == {0.0}
    assert rate(1.0, 0, 0, 10) == 1.0  # without a warm-up
