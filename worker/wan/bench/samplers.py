"""Steps of a sample, by the published recipe and by this worker. Decoding is the same for both and is left out."""

from __future__ import annotations

from typing import Protocol

import torch

from spatialalign_wan.models.embeds import pad
from spatialalign_wan.models.loading import base_dtype, choose_attention, compile_blocks, sigmas
from spatialalign_wan.models.sampler import Sampler, State
from spatialalign_wan.models.settings import Speed
from spatialalign_wan.models.tensors import normal

from .sizes import Pair, Size, network

GUIDANCE = 5.0


def noise(pair: Pair, n: int) -> torch.Tensor:
    return normal((1, *pair.winner.shape), n)


class VideoSampler(Protocol):
    name: str

    def run(self, pair: Pair, n: int) -> torch.Tensor: ...


class PublishedSampler:
    """BASELINE: Euler steps, each a guided and a free forward pass, attention as PyTorch chooses, nothing compiled."""

    name = "baseline: the published recipe"

    def __init__(self, size: Size, where: torch.device, steps: int) -> None:
        self._network, self._where, self._levels = network(size, where), where, sigmas(steps).to(where)

    @torch.no_grad()
    def run(self, pair: Pair, n: int) -> torch.Tensor:
        x = noise(pair, n).to(self._where)
        text, other = (pad(t, self._where, base_dtype(self._where)) for t in (pair.text, pair.text * 0))
        for now, then in zip(self._levels[:-1], self._levels[1:], strict=True):
            time = (1000 * now).expand(1)
            guided, free = (self._network(x.to(base_dtype(self._where)), time, t, return_dict=False)[0].float() for t in (text, other))
            x = x + (then - now) * (free + GUIDANCE * (guided - free))
        return x


class WorkerSampler:
    """What the stage sample runs."""

    def __init__(self, name: str, size: Size, where: torch.device, steps: int, speed: Speed) -> None:
        self.name = name
        net = network(size, where)
        choose_attention(net, speed, where)
        compile_blocks(net, speed)
        self._sampler = Sampler(net, steps, GUIDANCE)

    def run(self, pair: Pair, n: int) -> torch.Tensor:
        start = State(0, noise(pair, n))
        return self._sampler.run(start, pair.text, pair.text * 0, lambda: False, lambda: None).latents


def variants(compiled: str) -> dict[str, Speed]:
    def speed(attention: str, compile_: str) -> Speed:
        return Speed(attention=attention, compile=compile_, checkpointing="none", split_pairs=False)

    return {
        "+ attention backend": speed("auto", "no"),
        "+ compiled blocks": speed("native", compiled),
        "this worker": speed("auto", compiled),
    }
