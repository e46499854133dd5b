"""The check command: are the weights whole, and do the models run? It uses no GPU, so that it can run before one is rented."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .contract.exits import ExitCode, StageError, mismatch
from .models import weights
from .tracking.guard_files import PATTERNS as GUARD_FILES

_FOLDERS = {
    "WAN_MODEL_PATH": weights.MODEL_FILES,
    "WAN_DETECTOR_PATH": weights.DETECTOR_FILES,
    "WAN_GUARD_PATH": GUARD_FILES,
}


def check(environ: Mapping[str, str], record: bool, load: bool) -> None:
    named = [name for name in _FOLDERS if environ.get(name)]
    if not named:
        raise StageError(ExitCode.BAD_SPEC, f"none of {', '.join(_FOLDERS)} is set: there are no weights to check")
    for name in named:
        root = weights.folder(environ, name, _FOLDERS[name])
        for path in sorted(root.rglob("*.safetensors")):
            _whole(path)
        found = weights.hash_files(root)
        recorded = root / weights.RECORD
        if recorded.exists() and not record and (was := weights.identify(root).digest) != found.digest:
            raise mismatch(f"{root}: the files have digest {found.digest}, {weights.RECORD} says {was}: a file was changed")
        if record:
            weights.record(root, found)
        size = sum(f.size for f in found.files)
        print(f"{name}={root}: {len(found.files)} files, {size / 1e9:.2f} GB, {found.digest}")
    if load:
        _load(environ)


def _whole(path: Path) -> None:
    """Is the file as long as its header says? That is told without reading it."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(size - 8, 100 << 20):
            raise mismatch(f"{path} is no safetensors file, or is truncated")
        entries = header_entries(start + file.read(length))
    if 8 + length + max(entries, default=0) != size:
        raise mismatch(f"{path} is truncated: {size} bytes")


def header_entries(data: bytes) -> list[int]:
    """Where the tensors of a header end."""
    import json

    try:
        found = json.loads(data[8:])
        return [int(entry["data_offsets"][1]) for name, entry in found.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise mismatch(f"the header of a safetensors file cannot be read: {e}") from e


def _load(environ: Mapping[str, str]) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import numpy as np
    import torch

    from .models import embeds, loading

    subject, other = "rabbit", "stone"
    frames = np.full((2, 480, 832, 3), 128, np.uint8)
    cpu = torch.device("cpu")
    if environ.get("WAN_MODEL_PATH"):
        model = Path(environ["WAN_MODEL_PATH"])
        embeds.Encoder(model, cpu).encode(f"a {subject} is on the left of a {other}")
        print("text encoder: loaded, and encodes")
        network = loading.transformer(model, cpu)
        print(f"transformer: loaded, {sum(p.numel() for p in network.parameters()) / 1e9:.2f} billion parameters")
        loading.vae(model, cpu)
        print("vae: loaded")
    if environ.get("WAN_DETECTOR_PATH"):
        from .tracking.grounded import GroundedSAM2
        from .tracking.rules import Anchor

        detector = GroundedSAM2(Path(environ["WAN_DETECTOR_PATH"]), "", cpu, strict=False, batch=1)
        list(detector.detect(frames[:1], subject, other))
        detector.follow(frames, Anchor(0, (100, 200, 200, 300), (400, 200, 500, 300)), subject, other)
        print("detector: loaded, looks at a frame and follows into another")
    if environ.get("WAN_GUARD_PATH"):
        from .tracking.guard import Guard

        Guard(Path(environ["WAN_GUARD_PATH"]), cpu).measure(frames, [])
        print("guard metrics: loaded, and measure")
