"""The LoRA adapter: where it sits in the network, and its file, which diffusers loads as it is."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load

from ..contract.exits import mismatch
from ..contract.keys import hash64
from ..contract.spec import Artifact
from .tensors import drawn_uniform, header, save

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

    from ..contract.task import Task

# The text's way into the video: both linear layers of its embedding, keys and values of every cross-attention.
TARGETS = ("attn2.to_k", "attn2.to_v", "text_embedder.linear_1", "text_embedder.linear_2")
POLICY, REFERENCE = "policy", "reference"

MAX_ADAPTER = 1 << 30
_PREFIX = "transformer."
_ABOUT = "spatialalign"
_TENSOR = re.compile(r"transformer\.(.+)\.lora_(A|B)\.weight")

State = dict[str, torch.Tensor]
"""By module and side, for example blocks.0.attn2.to_k.lora_A.weight."""


@dataclass(frozen=True)
class About:
    """What an adapter's file says of it."""

    base: str
    rank: int
    alpha: int


def read_about(data: bytes, key: str) -> About:
    """Reads the header alone: an adapter that does not fit is refused before a model is loaded."""
    try:
        found = header(data)
        about = json.loads(found.get("__metadata__", {})[_ABOUT])
        return About(str(about["base"]), int(about["rank"]), int(about["alpha"]))
    except (ValueError, KeyError, TypeError) as e:
        raise mismatch(
            f"{key} is no adapter of this runtime: {e if isinstance(e, ValueError) else 'its header says nothing of one'}"
        ) from e


def read_adapter(task: Task, a: Artifact, base: str, rank: int | None = None, alpha: int | None = None) -> tuple[About, bytes]:
    """Reads the adapter of a spec, which must be of this base model and, where they are given, of this rank and alpha."""
    data = task.read(a, MAX_ADAPTER)
    about = read_about(data, a.key)
    if about.base != base:
        raise mismatch(f"{a.key} is an adapter of the model {about.base}, not of {base}")
    if (rank is not None and about.rank != rank) or (alpha is not None and about.alpha != alpha):
        raise mismatch(f"{a.key}: adapter of rank {about.rank} and alpha {about.alpha}, the spec trains rank {rank} and alpha {alpha}")
    return about, data


def attach(network: WanTransformer3DModel, rank: int, alpha: int, name: str = POLICY) -> None:
    """Adds an adapter in fp32, unmerged: the base stays as it is, in bf16."""
    from peft import LoraConfig

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(TARGETS), lora_dropout=0.0, bias="none")
    network.add_adapter(config, adapter_name=name)
    for parameter in parameters(network, name).values():
        parameter.data = parameter.data.float()


def parameters(network: torch.nn.Module, name: str = POLICY) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters by name, in the order of names."""
    found: dict[str, torch.nn.Parameter] = {}
    for path, module in network.named_modules():
        for side in ("A", "B"):
            layers = getattr(module, f"lora_{side}", None)
            if isinstance(layers, torch.nn.ModuleDict) and name in layers:
                found[f"{path}.lora_{side}.weight"] = layers[name].weight  # type: ignore[assignment]
    return dict(sorted(found.items()))


def initialize(network: torch.nn.Module, seed: int) -> None:
    """A by Kaiming, B zero: at first the adapter changes nothing. Each matrix draws by its name."""
    for name, parameter in parameters(network).items():
        if name.endswith("lora_B.weight"):
            torch.nn.init.zeros_(parameter)
            continue
        bound = 1 / math.sqrt(parameter.shape[1])  # Kaiming's with a = sqrt(5), as peft has it
        parameter.data.copy_(drawn_uniform(tuple(parameter.shape), bound, hash64("adapter", str(seed), name)))


def encode(network: torch.nn.Module, about: About, name: str = POLICY) -> bytes:
    state = {_PREFIX + key: value.detach().float().cpu().contiguous() for key, value in parameters(network, name).items()}
    diffusers = {"r": about.rank, "lora_alpha": about.alpha, "target_modules": sorted(TARGETS), "lora_dropout": 0.0, "bias": "none"}
    return save(
        state,
        {
            "format": "pt",
            "lora_adapter_metadata": json.dumps({_PREFIX + key: value for key, value in diffusers.items()}, sort_keys=True),
            _ABOUT: json.dumps({"base": about.base, "rank": about.rank, "alpha": about.alpha}, sort_keys=True),
        },
    )


def decode(data: bytes, key: str) -> State:
    state: State = {}
    for name, tensor in load(data).items():
        if not (match := _TENSOR.fullmatch(name)):
            raise mismatch(f"{key}: tensor {name} is of no layer that this runtime adapts")
        state[f"{match[1]}.lora_{match[2]}.weight"] = tensor
    return state


def restore(network: torch.nn.Module, state: Mapping[str, torch.Tensor], key: str, name: str = POLICY) -> None:
    """Sets an attached adapter, which must have exactly the state's matrices."""
    own = parameters(network, name)
    if set(own) != set(state) or any(own[n].shape != state[n].shape for n in own):
        raise mismatch(f"{key}: its matrices are not those of an adapter of this model")
    with torch.no_grad():
        for n, parameter in own.items():
            parameter.copy_(state[n])


def load_into(network: WanTransformer3DModel, about: About, data: bytes, key: str, name: str = POLICY) -> None:
    attach(network, about.rank, about.alpha, name)
    restore(network, decode(data, key), key, name)


_COMFYUI = (
    (re.compile(r"blocks\.(\d+)\.attn2\.to_(k|v)"), r"blocks.\1.cross_attn.\2"),
    (re.compile(r"condition_embedder\.text_embedder\.linear_1"), "text_embedding.0"),
    (re.compile(r"condition_embedder\.text_embedder\.linear_2"), "text_embedding.2"),
)


def to_comfyui(data: bytes, key: str) -> bytes:
    """The same adapter under the names of the original checkpoint. It has no alpha there, so that B carries its scale."""
    about = read_about(data, key)
    out: dict[str, Any] = {}
    for name, tensor in decode(data, key).items():
        path, side = name.rsplit(".lora_", 1)
        for pattern, replacement in _COMFYUI:
            path, changed = pattern.subn(replacement, path)
            if changed:
                break
        else:
            raise mismatch(f"{key}: ComfyUI has no name for {name}")
        scaled = tensor * (about.alpha / about.rank) if side.startswith("B") else tensor
        out[f"diffusion_model.{path}.lora_{side}"] = scaled.contiguous()
    return save(out, {"format": "pt"})
