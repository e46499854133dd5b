"""What a training has to show: metrics.jsonl, and the same for TensorBoard and other collectors."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..contract.spec import Training
from .schedule import rate

NAMES = ("loss", "margin", "regularizer", "gradNorm")


def to_jsonl(history: Sequence[tuple[float, float, float, float]], t: Training) -> bytes:
    lines = []
    for step, numbers in enumerate(history):
        line = {"step": step, **dict(zip(NAMES, numbers, strict=True))}
        line["learningRate"] = rate(float(t.learning_rate), step, t.warmup_steps, t.schedule_steps)
        lines.append(json.dumps(line, separators=(",", ":")))
    return ("\n".join(lines) + "\n").encode()


def mean_of_last(history: Sequence[tuple[float, float, float, float]]) -> dict[str, float]:
    last = history[-max(1, len(history) // 10) :]
    return {name: sum(h[i] for h in last) / len(last) for i, name in enumerate(NAMES[:3])}


def events(lines: Iterable[dict[str, Any]]) -> bytes:
    """A TensorBoard event file."""
    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as scratch:
        with SummaryWriter(scratch) as writer:
            for line in lines:
                for name, value in line.items():
                    if name != "step":
                        writer.add_scalar(f"train/{name}", value, line["step"])
        (file,) = Path(scratch).iterdir()
        return file.read_bytes()
