"""Every random draw of a training, from hash(seed, iteration, number of the draw, purpose): no state, so that neither
a restart nor the number of GPUs changes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..contract.keys import choose, hash64
from ..contract.records import PairLine
from ..models.settings import SHIFT

LEVELS = 1000


@dataclass(frozen=True)
class Draws:
    seed: int
    iteration: int

    def _parts(self, what: str, n: int, purpose: str) -> tuple[str, ...]:
        return (what, str(self.seed), str(self.iteration), str(n), purpose)

    def choose(self, n: int, purpose: str, choices: int) -> int:
        return choose(choices, *self._parts("pair", n, purpose))

    def sigma(self, n: int) -> float:
        """One noise level for both of a pair: an index of 1,000, shifted towards noise as in sampling."""
        u = 1 - choose(LEVELS, *self._parts("sigma", n, "")) / LEVELS
        return SHIFT * u / (1 + (SHIFT - 1) * u)

    def noise_seed(self, n: int, role: str) -> int:
        return hash64(*self._parts("noise", n, role))


class Drawer:
    """Draws a prompt uniformly, then an iteration that has pairs for it, then a pair: as internal/pairing does."""

    def __init__(self, pairs: Sequence[PairLine], draws: Draws) -> None:
        by_prompt: dict[str, dict[int, list[int]]] = {}
        for position, pair in enumerate(pairs):
            by_prompt.setdefault(pair.prompt_id, {}).setdefault(pair.iteration, []).append(position)
        # Ordered by id as bytes and by number, whatever the order of the list.
        self._prompts = [
            [by_prompt[prompt][n] for n in sorted(by_prompt[prompt])] for prompt in sorted(by_prompt, key=lambda prompt: prompt.encode())
        ]
        self._draws = draws

    def draw(self, n: int) -> int:
        """The position in the list of draw number n."""
        iterations = self._prompts[self._draws.choose(n, "prompt", len(self._prompts))]
        positions = iterations[self._draws.choose(n, "iteration", len(iterations))]
        return positions[self._draws.choose(n, "pair", len(positions))]
