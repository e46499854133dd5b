"""Samples the latent of one video: Euler steps along the flow, from the noise of a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..contract.exits import Interrupted
from .embeds import pad
from .loading import sigmas
from .settings import VideoSettings
from .tensors import normal
from .video import Frames

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan, WanTransformer3DModel


@dataclass(frozen=True)
class State:
    """All that a sample in progress is: Euler's method remembers nothing else. Always fp32."""

    step: int
    latents: torch.Tensor


def latent_shape(vae: AutoencoderKLWan, v: VideoSettings) -> tuple[int, ...]:
    time, space = int(vae.config["scale_factor_temporal"]), int(vae.config["scale_factor_spatial"])
    return (1, int(vae.config["z_dim"]), (v.frames - 1) // time + 1, v.height // space, v.width // space)


class Sampler:
    def __init__(self, network: WanTransformer3DModel, steps: int, guidance_scale: float) -> None:
        self._network, self._guidance_scale = network, guidance_scale
        self._where = next(network.parameters()).device
        self._dtype = network.patch_embedding.weight.dtype
        self._sigmas = sigmas(steps).to(self._where)

    def start(self, seed: int, shape: tuple[int, ...]) -> State:
        return State(0, normal(shape, seed).to(self._where))

    @torch.no_grad()
    def run(
        self, state: State, prompt: torch.Tensor, negative: torch.Tensor | None, stopping: Callable[[], bool], step_done: Callable[[], None]
    ) -> State:
        """Takes the steps that are left. When it is to stop it raises Stopped, which holds how far it came."""
        latents = state.latents.to(self._where, torch.float32)
        text = pad(prompt, self._where, self._dtype)
        other = None if negative is None else pad(negative, self._where, self._dtype)
        for step in range(state.step, len(self._sigmas) - 1):
            if stopping():
                raise Stopped(State(step, latents))
            now, then = self._sigmas[step], self._sigmas[step + 1]
            latents = latents + (then - now) * self._velocity(latents, now, text, other)
            step_done()
        return State(len(self._sigmas) - 1, latents)

    def _velocity(self, latents: torch.Tensor, sigma: torch.Tensor, text: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
        time = (1000 * sigma).expand(1)
        # In two passes, as the reference does: of one batch of two the kernels may round otherwise.
        guided = self._predict(latents, time, text)
        if other is None:
            return guided
        free = self._predict(latents, time, other)
        return free + self._guidance_scale * (guided - free)

    def _predict(self, latents: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self._network(latents.to(self._dtype), time, text, return_dict=False)[0]
        return out.float()


@torch.no_grad()
def decode(vae: AutoencoderKLWan, latents: torch.Tensor) -> Frames:
    """The pictures of a latent, [frames, height, width, 3]."""
    where = latents.device
    mean, std = (torch.tensor(vae.config[name], device=where).view(1, -1, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    pictures = vae.decode((latents * std + mean).to(vae.dtype), return_dict=False)[0][0]
    scaled = ((pictures.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(1, 2, 3, 0).cpu().numpy())


class Stopped(Interrupted):
    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state
