"""Loads the models of diffusers and transformers from folders, on the device that is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..contract.exits import ExitCode, StageError, mismatch
from . import settings
from .settings import SHIFT, Speed

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

# No library may look for weights anywhere else than where it is told to, or draw bars into a log of JSON lines.
for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "DIFFUSERS_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS"):
    os.environ.setdefault(_name, "1")
for _name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
    os.environ.setdefault(_name, "error")


def device() -> torch.device:
    """The GPU of this process; torchrun tells which. Never a CPU unasked, as PyTorch would take one where the driver is too old."""
    if not settings.on_gpu(os.environ):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise StageError(
            ExitCode.GPU,
            f"no GPU can be used: CUDA {torch.version.cuda} finds none (is one requested, and the node's driver new enough?);"
            " WAN_DEVICE=cpu is for tests and for encode",
        )
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def base_dtype(where: torch.device) -> torch.dtype:
    """bf16 on GPUs, as the model was trained; fp32 on a CPU, where tests compare bits."""
    return torch.bfloat16 if where.type == "cuda" else torch.float32


def transformer(model: Path, where: torch.device) -> WanTransformer3DModel:
    from diffusers import WanTransformer3DModel

    try:
        loaded = WanTransformer3DModel.from_pretrained(
            model / "transformer", torch_dtype=base_dtype(where), local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as e:
        raise mismatch(f"{model}/transformer cannot be loaded: {e}") from e
    loaded.requires_grad_(False)
    return loaded.to(where).eval()


def vae(model: Path, where: torch.device) -> AutoencoderKLWan:
    from diffusers import AutoencoderKLWan

    try:
        # In fp32, as its makers run it: bf16 leaves visible steps in skies.
        loaded = AutoencoderKLWan.from_pretrained(model / "vae", torch_dtype=torch.float32, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as e:
        raise mismatch(f"{model}/vae cannot be loaded: {e}") from e
    loaded.requires_grad_(False)
    return loaded.to(where).eval()


def choose_attention(network: WanTransformer3DModel, speed: Speed, where: torch.device) -> str:
    """Sets the attention backend: only those that the wheels contain, as others would be downloaded when first used."""
    chosen = speed.attention
    if chosen == "auto":
        # cuDNN's kernels are the fastest of the wheel's on Hopper and later; flash runs from Ampere on.
        capability = torch.cuda.get_device_capability(where) if where.type == "cuda" else (0, 0)
        chosen = "_native_cudnn" if capability >= (9, 0) else "_native_flash" if capability >= (8, 0) else "native"
    network.set_attention_backend(chosen)
    return chosen


def compile_blocks(network: WanTransformer3DModel, speed: Speed) -> None:
    """For passes without gradients; all blocks share the code of the first one. An adapter is there already."""
    if speed.compile != "no":
        network.compile_repeated_blocks(fullgraph=True, backend=speed.backend)


def sigmas(steps: int) -> torch.Tensor:
    """Noise levels of the reference's sampler, from 1 to 0: evenly spaced, then shifted towards noise.

    The stock scheduler ends elsewhere: its smallest sigma is already shifted once when it is spaced."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    class ReferenceScheduler(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
        def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
            super().set_timesteps(sigmas=torch.linspace(1, 0, num_inference_steps + 1)[:-1].tolist(), device=device)

    scheduler = ReferenceScheduler(shift=SHIFT)
    scheduler.set_timesteps(steps)
    levels: torch.Tensor = scheduler.sigmas
    return levels


def provenance(where: torch.device, attention: str, speed: Speed, image: str) -> dict[str, str]:
    """What does not enter a sample's key, but may explain a difference."""
    import diffusers

    about = {
        "torch": torch.__version__, "diffusers": diffusers.__version__, "attention": attention, "compile": speed.compile, "device": "cpu",
    }  # fmt: skip
    if where.type == "cuda":
        about |= {"device": torch.cuda.get_device_name(where), "cuda": str(torch.version.cuda)}
    if image:
        about["image"] = image
    return about
