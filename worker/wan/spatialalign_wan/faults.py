"""Gives the errors of PyTorch the contract's codes."""

from __future__ import annotations

from .contract.exits import ExitCode, StageError

_MEMORY = (
    "too little GPU memory: {}: set WAN_CHECKPOINTING=full or WAN_SPLIT_PAIRS=yes in the AlignmentRuntime's env of train, take smaller"
    " sampling.frames, width and height, or a GPU with more memory (docs/planning.md)"
)
_GPU_SIGNS = ("CUDA error", "CUDNN_STATUS", "cuDNN error", "NCCL", "CUBLAS_STATUS", "gloo/transport", "Connection closed by peer")


def classify(e: BaseException) -> StageError | None:
    import sys

    torch = sys.modules.get("torch")
    if torch is None:
        return None  # nothing of it has run
    text = f"{type(e).__name__}: {e}".strip()
    first = text.splitlines()[0][:600] if text else ""
    if isinstance(e, torch.OutOfMemoryError) or "CUDA out of memory" in text:
        return StageError(ExitCode.OUT_OF_MEMORY, _MEMORY.format(first))
    distributed = getattr(torch.distributed, "DistError", ())
    if (distributed and isinstance(e, distributed)) or any(sign in text for sign in _GPU_SIGNS):
        return StageError(ExitCode.GPU, f"GPU or collective communication: {first}")
    return None
