"""Runs a function in one process for each GPU, under torchrun's agent, and keeps the contract's exit codes alive.

The agent knows only whether a process failed. So each process leaves its outcome in a file; the parent reads those. The
agent passes SIGTERM on and waits, for what is left of the pod's grace period, until all have saved their progress.

Of several pods each has an agent for its own processes alone: torchrun's agents would wait for each other where nothing reaches
them, at their rendezvous and for five minutes at their end. What pods have to tell each other goes through gang.py.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..contract.exits import ExitCode, Interrupted, StageError
from ..contract.progress import Progress
from ..faults import classify
from ..models import settings
from .gang import Following

if TYPE_CHECKING:
    from ..contract.task import Task
    from .gang import Gang

MARGIN = 15  # of the grace period, for the agent itself and the termination message
POLL = 0.1
PATIENCE = 10  # seconds in which processes that have lost others end by themselves


class Mailbox:
    """A folder in which processes leave word."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, word: dict[str, Any]) -> None:
        temporary = self._folder / f"{name}.{os.getpid()}~"
        temporary.write_text(json.dumps(word))
        temporary.replace(self._folder / name)

    def get(self, name: str) -> dict[str, Any] | None:
        try:
            word: dict[str, Any] = json.loads((self._folder / name).read_text())
        except FileNotFoundError:
            return None
        return word

    def path(self, name: str) -> Path:
        return self._folder / name


class RemoteProgress(Progress):
    """Progress of a process that serves none itself: the parent does."""

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__("train", 0)
        self._mailbox = mailbox
        self._words: dict[str, Any] = {"done": 0, "skipped": 0, "metrics": {}, "checkpoints": 0, "beats": 0}

    def _tell(self, **changes: Any) -> None:
        self._words |= changes
        self._words["beats"] += 1
        self._mailbox.put("progress", self._words)

    def total(self, total: int, unit: str) -> None:
        """The parent has said it."""

    def add(self, n: int = 1) -> None:
        self._tell(done=self._words["done"] + n)

    def skip(self, n: int = 1) -> None:
        self._tell(skipped=self._words["skipped"] + n)

    def beat(self) -> None:
        self._tell()

    def metric(self, name: str, value: float) -> None:
        self._words["metrics"][name] = value

    def checkpoint(self) -> None:
        self._tell(checkpoints=self._words["checkpoints"] + 1)


class _Relay(threading.Thread):
    """Passes progress up to the parent's server, and the wish to stop down to the processes; ends those that another pod has left alone."""

    def __init__(self, mailbox: Mailbox, task: Task, gang: Gang | None, end: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._mailbox, self._task, self._gang, self._end, self._ended = mailbox, task, gang, end, threading.Event()
        self._last: dict[str, Any] = {"done": 0, "skipped": 0, "checkpoints": 0, "beats": 0}
        self._alone_since = 0.0

    def run(self) -> None:
        while not self._ended.wait(POLL):
            self.pass_on()
            if self._gang is not None:
                self._listen(self._gang)

    def _listen(self, gang: Gang) -> None:
        """Processes end by themselves when others do, but those that are still to meet, or whose library does not notice."""
        gang.poll()
        if gang.ended is None:
            return
        self._alone_since = self._alone_since or time.monotonic()
        if time.monotonic() - self._alone_since > PATIENCE:
            self._end()

    def pass_on(self) -> None:
        if self._task.stop.is_set():
            self._mailbox.put("stop", {})
        word, last, progress = self._mailbox.get("progress"), self._last, self._task.progress
        if word is None or word["beats"] == last["beats"]:
            return
        for name, value in word["metrics"].items():
            progress.metric(name, value)
        if word["skipped"] > last["skipped"]:
            progress.skip(word["skipped"] - last["skipped"])
        if word["done"] > last["done"]:
            progress.add(word["done"] - last["done"])
        if word["checkpoints"] > last["checkpoints"]:
            progress.checkpoint()
        progress.beat()
        self._last = word

    def close(self) -> None:
        self._ended.set()
        self.join()
        self.pass_on()


Work = Callable[[Any, Mailbox, threading.Event], None]


@dataclass(frozen=True)
class Order:
    """What a process is told; it must be picklable."""

    work: Work
    argument: Any
    folder: str


def run_processes(task: Task, count: int, work: Work, argument: Any, read: Callable[[Mailbox], Any], gang: Gang | None = None) -> Any:
    """Runs work(argument, mailbox, stop) in each of count processes, and gives what read makes of the mailbox. With a gang other
    pods do the same."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    grace = settings.grace_seconds(task.environ)
    with tempfile.TemporaryDirectory(prefix="train-") as scratch:
        mailbox = Mailbox(Path(scratch))
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=f"train-{os.getpid()}-{time.time_ns()}", role="train",
            rdzv_backend="c10d", rdzv_endpoint="127.0.0.1:0", local_addr="127.0.0.1", max_restarts=0, monitor_interval=POLL,
            # Never a fork of this process, in which a store's and a GPU's threads may run; tests take a server that has
            # imported everything and has no thread.
            start_method=task.environ.get("WAN_START_METHOD") or "spawn", shutdown_timeout=max(1, grace - MARGIN),
        )  # fmt: skip
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        others = set(multiprocessing.active_children())

        def end_all() -> None:
            for child in set(multiprocessing.active_children()) - others:
                child.kill()

        relay = _Relay(mailbox, task, gang, end_all)
        relay.start()
        failed = ""
        try:
            task.check_stop()
            elastic_launch(config, _process)(pickle.dumps(Order(work, argument, scratch)))
        except ChildFailedError as e:
            rank, first = e.get_first_failure()
            failed = f"process {rank} of this pod, with exit code {first.exitcode}"
        except SignalException as e:
            failed = str(e)
            task.stop.set()  # the agent took the signal
            end_all()  # told to stop while it started them, the agent knows nothing of those that it has started
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            relay.close()
        _raise_outcome(mailbox, count, failed, task.stop.is_set(), gang.ended if gang else None)
        return read(mailbox)


def _raise_outcome(mailbox: Mailbox, count: int, failed: str, stopping: bool, ended: Following | None = None) -> None:
    """ended is what another pod's end makes of this one's."""
    outcomes = [outcome for rank in range(count) if (outcome := mailbox.get(f"outcome-{rank}")) is not None]
    if len(outcomes) == count and all(o["code"] == ExitCode.DONE for o in outcomes):
        return  # whatever the agent makes of it: a SIGTERM that arrives now must not lose the work
    follow = [o for o in outcomes if o.get("follows")]
    errors = [o for o in outcomes if o["code"] not in (ExitCode.DONE, ExitCode.CHECKPOINTED) and o not in follow]
    if stopping or ended is not None:
        # Those that leave first break the connections of the others: a fault is then none.
        errors = [o for o in errors if o["code"] != ExitCode.GPU]
    if errors:
        first = min(errors, key=lambda o: float(o["time"]))
        raise StageError(ExitCode(first["code"]), first["message"])
    stopped = [o for o in outcomes if o["code"] == ExitCode.CHECKPOINTED]
    if stopped and not follow and len(outcomes) == count:
        raise Interrupted(stopped[0]["message"])
    if stopping:
        raise Interrupted("interrupted before every training process had saved: the next attempt goes on from the newest checkpoint")
    if ended is not None:
        raise ended
    if len(outcomes) == count and follow:
        raise Following(follow[0]["message"])
    # Killed from outside, or dead in a library: nobody could say why.
    raise StageError(ExitCode.GPU, f"a training process ended without a word: {failed}")


def _leave_with_the_parent() -> None:
    """A process without its parent would go on with those of other pods, and nobody would hear of it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(int(ExitCode.GPU))


def _process(order_data: bytes) -> None:
    """What torchrun's agent runs."""
    order: Order = pickle.loads(order_data)  # noqa: S301 (the parent wrote it)
    mailbox, rank = Mailbox(Path(order.folder)), int(os.environ["RANK"])
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    code, message, follows = ExitCode.DONE, "", False
    try:
        order.work(order.argument, mailbox, stop)
    except BaseException as e:  # noqa: BLE001 (the parent tells what it was)
        error = e if isinstance(e, StageError) else classify(e, "train") or StageError(ExitCode.BUG, f"{type(e).__name__}: {e}")
        code, message, follows = error.code, str(error), isinstance(error, Following)
        if code is ExitCode.BUG:
            traceback.print_exc()
    mailbox.put(f"outcome-{rank}", {"code": int(code), "message": message, "follows": follows, "time": time.time()})
    if code is not ExitCode.DONE:
        # After a fault the agent then ends the others, which may wait for this one in a collective for ever. Nor may an
        # interrupted process just return: it would wait for the agent to take its result, which an agent that is being
        # stopped never does.
        raise SystemExit(int(code))

    # Nor may one that is done wait for that, whether it is stopped already or while it waits. The agent would wait for
    # ever for the result of a process that leaves with 0; the parent goes by the outcome.
    def leave(*_: object) -> NoReturn:
        os._exit(int(ExitCode.CHECKPOINTED))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    if stop.is_set():
        leave()
