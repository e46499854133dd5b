"""Small things about tensors in files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def header(data: bytes) -> dict[str, Any]:
    """The header of a safetensors file; ValueError when it is none. Needs no tensor to be loaded."""
    if len(data) < 8 or (length := int.from_bytes(data[:8], "little")) > min(len(data) - 8, 100 << 20):
        raise ValueError("not a safetensors file")
    try:
        found = json.loads(data[8 : 8 + length])
    except ValueError as e:
        raise ValueError("not a safetensors file") from e
    if not isinstance(found, dict):
        raise ValueError("not a safetensors file")
    end = max((entry["data_offsets"][1] for name, entry in found.items() if name != "__metadata__"), default=0)
    if 8 + length + end != len(data):
        raise ValueError("the safetensors file is truncated")
    return found


def fingerprint(tensor: torch.Tensor) -> str:
    """Digest of a tensor's numbers, shape and type."""
    raw = tensor.detach().cpu().contiguous()
    h = hashlib.sha256(f"{raw.dtype} {tuple(raw.shape)}\n".encode())
    h.update(raw.view(torch.uint8).numpy().tobytes() if raw.numel() else b"")
    return "sha256:" + h.hexdigest()


def normal(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Noise of a sample, the reference's: PyTorch's on the CPU, as every GPU model draws differently. Of a seed it uses the
    lower 32 bits."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def drawn_normal(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Noise of a training, from all 64 bits of a seed: of 32, two of a training's 100,000 draws would often be the same."""
    return torch.from_numpy(_generator(seed).standard_normal(shape, dtype=np.float32))


def drawn_uniform(shape: tuple[int, ...], bound: float, seed: int) -> torch.Tensor:
    """Between -bound and bound, likewise."""
    return torch.from_numpy(_generator(seed).random(shape, dtype=np.float32)) * (2 * bound) - bound


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.uint8: "U8",
}  # fmt: skip


def save(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file. The library's own writer puts the metadata in another order each time; here, the same tensors
    give the same bytes, so that digests can be compared."""
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    parts, at = [], 0
    # The widest types first, as the library does, so that every tensor is aligned.
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        raw = tensor.detach().cpu().contiguous()
        data = raw.reshape(-1).view(torch.uint8).numpy().tobytes() if raw.numel() else b""
        entries[name] = {"dtype": _TYPES[raw.dtype], "shape": list(raw.shape), "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    head = json.dumps(entries, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + b"".join(parts)
