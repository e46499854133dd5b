"""The processes that train together, one for each GPU of each pod, and what they tell each other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from ..models import settings
from .gang import Following

# What a process can have to say after a pair; the worst of all counts.
GO, STOP, FAIL = 0, 1, 2

# How gloo, NCCL and the store word that the other end is gone.
_GONE = (
    "Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused", "remote process exit",
    "Connection was likely closed",
)  # fmt: skip


@dataclass(frozen=True)
class Seats:
    """Where the processes of a pod sit among those of all pods, and where they find them. Picklable."""

    host: str
    port: int
    first: int
    """The rank of the pod's first process."""
    size: int
    silence: int
    """Seconds that a process waits for a word of the others."""


def open_store() -> TCPStore:
    """In which the processes of all pods find each other, at a free port of this one. It lasts as long as it is held."""
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


@dataclass
class Group:
    rank: int
    size: int
    where: torch.device
    leads: bool = True
    """Speaks for the processes of its pod."""
    remote: bool = False
    """Some of the others are in other pods."""

    @classmethod
    def alone(cls, where: torch.device) -> Group:
        return cls(0, 1, where)

    @classmethod
    def join(cls, seats: Seats | None) -> Group:
        """Joins the group that torchrun's environment describes: the whole, or of several pods this one's part."""
        from ..models.loading import device

        where = device()
        backend = "nccl" if where.type == "cuda" else "gloo"
        if where.type == "cuda":
            torch.cuda.set_device(where)
        if seats is None:
            dist.init_process_group(backend, timeout=timedelta(minutes=30))
            return cls(dist.get_rank(), dist.get_world_size(), where, dist.get_rank() == 0)
        # A fault of NCCL is then raised here, where it can be told, instead of ending the process.
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
        own, silence = int(os.environ["LOCAL_RANK"]), timedelta(seconds=seats.silence)
        with _told():
            store = TCPStore(seats.host, seats.port, is_master=False, timeout=silence)
            dist.init_process_group(backend, store=store, rank=seats.first + own, world_size=seats.size, timeout=silence)
        return cls(dist.get_rank(), dist.get_world_size(), where, own == 0, remote=True)

    def leave(self) -> None:
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def sum(self, numbers: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, of float64 numbers: grouped otherwise it differs by less than fp32 can tell."""
        if self.size == 1:
            return numbers
        total = numbers.to(self.where).clone()
        with self._talking():
            dist.all_reduce(total)
        return total.to(numbers.device)

    def worst(self, word: int) -> int:
        if self.size == 1:
            return word
        said = torch.tensor([word], device=self.where)
        with self._talking():
            dist.all_reduce(said, op=dist.ReduceOp.MAX)
            return int(said)

    def gather(self, numbers: torch.Tensor) -> list[torch.Tensor]:
        """Everybody's numbers by rank, on the first process; nothing on the others."""
        if self.size == 1:
            return [numbers]
        own = numbers.to(self.where)
        found = [torch.empty_like(own) for _ in range(self.size)]
        with self._talking():
            dist.all_gather(found, own)
        return [part.to(numbers.device) for part in found] if self.rank == 0 else []

    def barrier(self) -> None:
        if self.size > 1:
            with self._talking():
                dist.barrier()

    def _talking(self) -> AbstractContextManager[None]:
        return _told() if self.remote else nullcontext()  # of processes of one pod the agent knows who is gone


@contextmanager
def _told() -> Iterator[None]:
    """Tells a connection that broke, for which some other pod is to blame, from what else can go wrong."""
    try:
        yield
    except RuntimeError as e:
        if any(sign in str(e) for sign in _GONE):
            raise Following(f"the connection to another process of the training broke: {str(e).splitlines()[0][:300]}") from e
        raise


def processes_per_node(environ: Mapping[str, str]) -> int:
    """One for each GPU; WAN_PROCESSES says another number."""
    return settings.processes(environ) or (max(1, torch.cuda.device_count()) if settings.on_gpu(environ) else 1)
