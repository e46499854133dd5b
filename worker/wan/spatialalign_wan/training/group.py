"""The processes that train together, one for each GPU, and what they tell each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from ..models import settings

# What a process can have to say after a pair; the worst of all counts.
GO, STOP, FAIL = 0, 1, 2


@dataclass
class Group:
    rank: int
    size: int
    where: torch.device

    @classmethod
    def alone(cls, where: torch.device) -> Group:
        return cls(0, 1, where)

    @classmethod
    def join(cls) -> Group:
        """Joins the group that torchrun's environment describes."""
        from ..models.loading import device

        where = device()
        if where.type == "cuda":
            torch.cuda.set_device(where)
        dist.init_process_group("nccl" if where.type == "cuda" else "gloo", timeout=timedelta(minutes=30))
        return cls(dist.get_rank(), dist.get_world_size(), where)

    def leave(self) -> None:
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def sum(self, numbers: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, of float64 numbers: grouped otherwise it differs by less than fp32 can tell."""
        if self.size == 1:
            return numbers
        total = numbers.to(self.where).clone()
        dist.all_reduce(total)
        return total.to(numbers.device)

    def worst(self, word: int) -> int:
        if self.size == 1:
            return word
        said = torch.tensor([word], device=self.where)
        dist.all_reduce(said, op=dist.ReduceOp.MAX)
        return int(said)

    def gather(self, numbers: torch.Tensor) -> list[torch.Tensor]:
        """Everybody's numbers by rank, on the first process; nothing on the others."""
        if self.size == 1:
            return [numbers]
        own = numbers.to(self.where)
        found = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(found, own)
        return [part.to(numbers.device) for part in found] if self.rank == 0 else []

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()


def processes_per_node(environ: Mapping[str, str]) -> int:
    """One for each GPU; WAN_PROCESSES says another number, for machines without any."""
    return settings.processes(environ) or max(1, torch.cuda.device_count())
