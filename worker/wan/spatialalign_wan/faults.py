"""Gives the errors of PyTorch the contract's codes."""

from __future__ import annotations

from .contract.exits import ExitCode, StageError

_MEMORY_HINTS = {
    "encode": "set WAN_DEVICE=cpu for encode, which then takes 24 GB of the pod's memory, or take a GPU with more memory; other stages"
    " use what it has made",
    "train": "set WAN_CHECKPOINTING=full or WAN_SPLIT_PAIRS=yes in the AlignmentRuntime's env of train, take smaller"
    " sampling.frames, width and height, or a GPU with more memory",
    "sample": "take a GPU with more memory, or smaller sampling.frames, width and height",
    "track": "set WAN_DETECTOR_BATCH, 16 if unset, to less in the AlignmentRuntime's env of track, or take a GPU with more memory",
}
_MEMORY_SIGNS = ("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
_GPU_SIGNS = ("CUDA error", "CUDNN_STATUS", "cuDNN error", "NCCL", "CUBLAS_STATUS", "gloo/transport", "Connection closed by peer")


def classify(e: BaseException, stage: str = "") -> StageError | None:
    """The stage words what to do about too little memory."""
    import sys

    torch = sys.modules.get("torch")
    if torch is None:
        return None  # nothing of it has run
    text = f"{type(e).__name__}: {e}".strip()
    first = text.splitlines()[0][:600] if text else ""
    distributed = getattr(torch.distributed, "DistError", ())
    gpu = (distributed and isinstance(e, distributed)) or any(sign in text for sign in _GPU_SIGNS)
    # Before the GPU's faults: these libraries word both alike, "CUDA error: out of memory".
    memory = "CUDA out of memory" in text or (gpu and any(sign in text for sign in _MEMORY_SIGNS))
    if memory or isinstance(e, torch.OutOfMemoryError):
        hint = _MEMORY_HINTS.get(stage, "take a GPU with more memory")
        return StageError(ExitCode.OUT_OF_MEMORY, f"too little GPU memory: {first}: {hint} (docs/planning.md)")
    if gpu:
        return StageError(ExitCode.GPU, f"GPU or collective communication: {first}")
    return None
