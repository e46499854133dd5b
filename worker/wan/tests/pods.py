"""Pods that run at once, each a process: forked off the server that has imported everything, as are their training processes."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any

from spatialalign_wan.training import gang, launch
from spatialalign_wan.training.trainer import Trainer
from support import Ended, World

multiprocessing.set_forkserver_preload(["preload"])
FORKED = {"WAN_START_METHOD": "forkserver"}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


def share_fork_server() -> None:
    """Else a process that is itself forked starts a server of its own, which imports everything anew."""
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[attr-defined]


class Pod:
    """A running pod."""

    def __init__(self, world: World, document: dict[str, Any], attempt: int, work: Any = None, **environ: str) -> None:
        world.pods += 1
        self._answer, theirs = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("forkserver")
        self.process = context.Process(target=_run, args=(theirs, world, document, attempt, work, FORKED | environ))
        self.process.start()
        theirs.close()

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def end(self) -> Ended:
        """Waits for it."""
        try:
            assert self._answer.poll(120), "the pod does not end"
            end: Ended = self._answer.recv()
        finally:
            self.process.kill()
            self.process.join()
        return end


def _run(answer: Connection, world: World, document: dict[str, Any], attempt: int, work: Any, environ: dict[str, str]) -> None:
    share_fork_server()
    gang.LINGER, launch.PATIENCE = 0.5, 1
    if work is not None:
        real = launch.run_processes
        launch.run_processes = lambda task, count, _, *more: real(task, count, work, *more)
    world.pods -= 1  # its own number
    answer.send(world.run(document, attempt=attempt, **environ))


def together(
    world: World, document: dict[str, Any], attempt: int = 0, processes: tuple[int, ...] = (1, 1), work: Any = None, **environ: str
) -> list[Pod]:
    """The pods of a training by rank. The last one is started first: who comes first does not matter."""
    port = str(free_port())
    pods = [
        Pod(
            world, document, attempt, work, NNODES=str(len(processes)), MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
            JOB_COMPLETION_INDEX=str(rank), WAN_PROCESSES=str(processes[rank]), **environ,
        )
        for rank in reversed(range(len(processes)))
    ]  # fmt: skip
    return pods[::-1]


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


def in_the_second_step_of_rank_1(act: Callable[[], None]) -> None:
    """Does something in the process that trains as rank 1, before its second step is added up."""
    add = Trainer._add

    def patched(self: Trainer, n: int) -> None:
        if self._group.rank == 1 and self.progress.step == 1:
            act()
        add(self, n)

    Trainer._add = patched  # type: ignore[method-assign]
