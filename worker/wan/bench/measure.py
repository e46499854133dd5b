"""Times, peak memory, and whether two ways compute the same."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from .sizes import Pair
from .trainers import PairTrainer

# What this worker must reach over the baseline, and its peak memory. That tells too whether checkpoints save what they should:
# at the real size a graph that keeps the activations of a pair takes some 200 GB.
MUST_PAIRS, MUST_SAMPLES, MUST_GIB = 1.5, 1.25, 80e9 / 2**30
MAX_MARGIN, MAX_VELOCITY, MIN_COSINE = 1e-4, 1e-2, 0.99
# Of a guided velocity the error is that of two passes, weighed by 5 and -4: 6.4 times MAX_VELOCITY, were it the same in every
# step. What has no direction averages out, over 50 steps to a seventh; 5e-2 leaves room for what has one.
MAX_DRIFT = 5e-2


@dataclass(frozen=True)
class Row:
    what: str
    name: str
    seconds: float
    """For a pair, or for a sample."""
    peak_gib: float | None
    gain: float

    def markdown(self) -> str:
        memory = "-" if self.peak_gib is None else f"{self.peak_gib:.1f}"
        return f"| {self.what} | {self.name} | {self.seconds:.3f} | {self.gain:.2f} | {memory} |"


def timed(work: Callable[[int], object], warm_up: int, count: int, where: torch.device) -> tuple[float, float | None]:
    """Seconds for each of count calls after a warm-up, and peak memory in GiB."""
    for n in range(warm_up):
        work(n)
    if where.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for n in range(warm_up, warm_up + count):
        work(n)
    if where.type == "cuda":
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / count
    return seconds, torch.cuda.max_memory_allocated() / 2**30 if where.type == "cuda" else None


def release() -> None:
    gc.collect()
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class Agreement:
    """Of a fresh adapter the margin must be the same, 0 but for rounding; of one whose B is not zero margin, velocities and
    gradients. The loss proves nothing: it is ln 2 for a fresh adapter whatever the network computes."""

    fresh_margin: float
    margin: float
    """Difference from the baseline's."""
    margin_of_baseline: float
    velocity: float
    cosine: float

    @property
    def fine(self) -> bool:
        # Rounding without a direction hardly moves a mean over two million numbers; what has one moves it as it does velocities.
        margin = MAX_MARGIN + MAX_VELOCITY * abs(self.margin_of_baseline)
        margins = self.fresh_margin <= MAX_MARGIN and self.margin <= margin
        return margins and self.velocity <= MAX_VELOCITY and self.cosine >= MIN_COSINE

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def _randomize(trainer: PairTrainer) -> None:
    """B ~ N(0, 1e-2), the same for every trainer."""
    for i, (name, parameter) in enumerate(trainer.adapter().items()):
        if name.endswith("lora_B.weight"):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i)) * 1e-2
            with torch.no_grad():
                parameter.copy_(noise)


@dataclass(frozen=True)
class Probe:
    fresh_margin: float
    margin: float
    velocities: torch.Tensor
    gradients: torch.Tensor


def probe(trainer: PairTrainer, pair: Pair) -> Probe:
    fresh = trainer.gradient(pair, 0)
    _randomize(trainer)
    moved = trainer.gradient(pair, 0)
    velocities = torch.cat([moved.policy.winner, moved.policy.loser]).detach().double().cpu()
    return Probe(fresh.terms.margin.item(), moved.terms.margin.item(), velocities, moved.gradients)


def agreement(a: Probe, b: Probe) -> Agreement:
    return Agreement(
        fresh_margin=abs(a.fresh_margin - b.fresh_margin),
        margin=abs(a.margin - b.margin),
        margin_of_baseline=a.margin,
        velocity=float((a.velocities - b.velocities).norm() / a.velocities.norm()),
        cosine=float(torch.nn.functional.cosine_similarity(a.gradients, b.gradients, dim=0)),
    )


def drift(start: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> float:
    """How far two samples end from each other, relative to the way from their noise, which both have in common."""
    return float((a - b).norm() / (a - start).norm())
