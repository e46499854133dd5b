"""The sizes that are measured. Weights are random: how long a pass takes does not depend on what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from spatialalign_wan.models.loading import base_dtype
from spatialalign_wan.models.tensors import normal

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel


@dataclass(frozen=True)
class Size:
    name: str
    network: Mapping[str, Any]
    latent: tuple[int, int, int, int]
    tokens: int
    rank: int


_COMMON = {
    "patch_size": (1, 2, 2), "in_channels": 16, "out_channels": 16, "freq_dim": 256, "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
}  # fmt: skip

REAL = Size(
    "Wan2.1 1.3B, 81x480x832",
    {**_COMMON, "num_attention_heads": 12, "attention_head_dim": 128, "text_dim": 4096, "ffn_dim": 8960, "num_layers": 30},
    latent=(16, 21, 60, 104), tokens=120, rank=16,
)  # fmt: skip
TINY = Size(
    "tiny, 9x32x32",
    {**_COMMON, "num_attention_heads": 2, "attention_head_dim": 12, "text_dim": 32, "ffn_dim": 32, "num_layers": 2},
    latent=(16, 3, 4, 4), tokens=12, rank=2,
)  # fmt: skip
SIZES = {"real": REAL, "tiny": TINY}


def network(size: Size, where: torch.device) -> WanTransformer3DModel:
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    with torch.device(where):
        made = WanTransformer3DModel(**size.network)
    # As loading does it: bf16 but for what the class keeps in fp32.
    for name, parameter in made.named_parameters():
        if not any(part in name for part in WanTransformer3DModel._keep_in_fp32_modules):
            parameter.data = parameter.data.to(base_dtype(where))
    # Attention as PyTorch chooses: what another network chose before would hold for this one too.
    made.set_attention_backend("native")
    return made.to(where).requires_grad_(False).eval()


@dataclass(frozen=True)
class Pair:
    winner: torch.Tensor
    loser: torch.Tensor
    text: torch.Tensor


def pair(size: Size, n: int) -> Pair:
    """Winner and loser differ in their mean: of two that look alike every adapter has the same advantage, and no margin."""
    winner, loser = normal(size.latent, 3 * n) + 1, normal(size.latent, 3 * n + 1) - 1
    return Pair(winner, loser, normal((size.tokens, size.network["text_dim"]), 3 * n + 2))
