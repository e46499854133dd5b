"""Checkpoints of a training: below the pod's own prefix, with a name that tells step and digest, so that whoever finds
one can verify it. A file appears whole or not at all, so that it needs no manifest of its own."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from ..contract.exits import ExitCode, StageError
from ..contract.keys import digest
from ..contract.spec import Artifact
from ..contract.store import StoreError
from ..models.tensors import header, save

if TYPE_CHECKING:
    from ..contract.task import Task

MAX_CHECKPOINT = 8 << 30
_NAME = re.compile(r"/checkpoints/step-(\d{8})-pair-(\d{8})-([0-9a-f]{64})\.safetensors$")

Tensors = dict[str, torch.Tensor]


@dataclass
class Progress:
    """How far a training is: steps done, and of the next one the pairs done with what they amount to so far."""

    step: int = 0
    pairs: int = 0
    partial: list[torch.Tensor] = field(default_factory=list)
    """By rank: the gradients' sum, flat, then the sums of loss, margin and regularizer. Empty between steps."""
    history: list[tuple[float, float, float, float]] = field(default_factory=list)
    """Loss, margin, regularizer and gradient norm of every step."""


@dataclass
class Checkpoint:
    progress: Progress
    adapter: Tensors
    first_moment: Tensors
    second_moment: Tensors


def encode(c: Checkpoint, spec_digest: str) -> bytes:
    tensors: Tensors = {}
    for name, group in (("adapter", c.adapter), ("m", c.first_moment), ("v", c.second_moment)):
        tensors |= {f"{name}/{key}": value.detach().cpu().contiguous() for key, value in group.items()}
    for rank, partial in enumerate(c.progress.partial):
        tensors[f"partial/{rank:05d}"] = partial.cpu().contiguous()
    tensors["history"] = torch.tensor(c.progress.history, dtype=torch.float64).reshape(-1, 4)
    about = {"specDigest": spec_digest, "step": c.progress.step, "pairs": c.progress.pairs}
    return save(tensors, {"checkpoint": json.dumps(about)})


def decode(data: bytes, spec_digest: str) -> Checkpoint:
    about = json.loads(header(data)["__metadata__"]["checkpoint"])
    if about["specDigest"] != spec_digest:
        raise ValueError(f"it is of spec {about['specDigest']}")
    tensors = load(data)

    def group(name: str) -> Tensors:
        return {key.removeprefix(name + "/"): value for key, value in sorted(tensors.items()) if key.startswith(name + "/")}

    history = [(a, b, c, d) for a, b, c, d in tensors["history"].tolist()]
    progress = Progress(int(about["step"]), int(about["pairs"]), list(group("partial").values()), history)
    if len(history) != progress.step:
        raise ValueError(f"it has the history of {len(history)} steps, not of {progress.step}")
    return Checkpoint(progress, group("adapter"), group("m"), group("v"))


def save_to(task: Task, c: Checkpoint) -> str:
    data = encode(c, task.spec_digest)
    name = f"checkpoints/step-{c.progress.step:08d}-pair-{c.progress.pairs:08d}-{digest(data).removeprefix('sha256:')}.safetensors"
    key = task.key(name)
    task.store.write(key, data)
    task.store.sync()
    task.progress.checkpoint()
    return key


def newest(task: Task) -> Artifact | None:
    """The newest that any attempt at the same spec left. Damaged ones and those of another spec are passed over."""
    found = []
    for key in task.store.list(task.spec.output + "/"):
        if match := _NAME.search(key):
            found.append((match[1], match[2], Artifact(key, "sha256:" + match[3])))
    for _, _, a in sorted(found, key=lambda f: (f[0], f[1], f[2].key), reverse=True):
        try:
            checkpoint = decode(task.store.read(a, MAX_CHECKPOINT), task.spec_digest)
        except StoreError as e:
            if not (e.corrupt or e.missing):
                raise
            task.log.warning("checkpoint is passed over: %s", e)
        except (ValueError, KeyError, TypeError, SafetensorError) as e:
            task.log.warning("checkpoint %s is passed over: %s", a.key, e)
        else:
            task.log.info("training goes on at step %d, pair %d: %s", checkpoint.progress.step, checkpoint.progress.pairs, a.key)
            return a
    return None


def load_from(task: Task, a: Artifact) -> Checkpoint:
    """Reads the checkpoint that was chosen."""
    try:
        return decode(task.store.read(a, MAX_CHECKPOINT), task.spec_digest)
    except StoreError as e:
        if not (e.corrupt or e.missing):
            raise
        # A pod of an earlier attempt that still runs has replaced it: the next attempt chooses again.
        raise StageError(ExitCode.STORAGE, f"the checkpoint that this attempt goes on from is gone: {e}") from e
