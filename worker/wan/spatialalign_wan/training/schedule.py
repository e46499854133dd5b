"""The learning rate."""

from __future__ import annotations

import math


def rate(peak: float, step: int, warmup: int, end: int) -> float:
    """Linear from 0 over the warm-up, then half a cosine to 0, where it stays: it never rises again.

    The first step (number 0) has rate 0 unless there is no warm-up."""
    if step < warmup:
        return peak * step / warmup
    if step >= end:
        return 0.0
    return peak * (1 + math.cos(math.pi * (step - warmup) / (end - warmup))) / 2
