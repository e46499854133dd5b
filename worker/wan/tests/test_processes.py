"""Training in several processes under torchrun's agent, on gloo: the sums, an interruption, and how a process's end is
told. Processes are forked off a server that has imported everything; one test spawns them as a pod does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load

from pods import FORKED, in_the_second_step_of_rank_1
from spatialalign_wan.contract.exits import ExitCode, Interrupted, StageError
from spatialalign_wan.contract.progress import Progress
from spatialalign_wan.stages import train as stage
from spatialalign_wan.training import launch
from spatialalign_wan.training.gang import Following
from spatialalign_wan.training.launch import Mailbox
from spatialalign_wan.training.trainer import Trainer
from support import TRAINING, World

TWENTY = TRAINING | {"steps": 20, "scheduleSteps": 30, "warmupSteps": 2, "pairsPerStep": 4, "checkpointEverySteps": 0}


def adapter(world: World, m: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load(world.read(m["outputs"]["adapter"]))


def test_any_number_of_processes_trains_the_same(sampled: World) -> None:
    """20 steps, 1, 2 and 4 processes: to 1e-6, and the metrics with them."""
    found = {}
    for processes in (1, 2, 4):
        m = sampled.done(sampled.train_spec(f"out/world-{processes}", sampled.pairs(), TWENTY), WAN_PROCESSES=str(processes), **FORKED)
        found[processes] = adapter(sampled, m), m["metrics"]
    for processes in (2, 4):
        for name, tensor in found[1][0].items():
            assert torch.allclose(found[processes][0][name], tensor, rtol=0, atol=1e-6), name
        assert found[processes][1] == found[1][1]
    fresh = sampled.done(sampled.train_spec("out/world-0", sampled.pairs(), TWENTY | {"steps": 1}))
    moved = [name for name in found[1][0] if (found[1][0][name] - adapter(sampled, fresh)[name]).abs().max() > 1e-3]
    assert moved  # 20 steps go somewhere


def interrupted_when(ready: Callable[[], bool], then: Callable[[], None]) -> threading.Thread:
    def wait() -> None:
        while not ready():
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_sigterm_in_the_middle_and_the_same_adapter(sampled: World, method: str) -> None:
    settings = TWENTY | {"steps": 5, "checkpointEverySteps": 1, "pairsPerStep": 3}
    whole = sampled.done(sampled.train_spec("out/two-whole", sampled.pairs(), settings), WAN_PROCESSES="2", **FORKED)
    output = f"out/two-{method}"
    document = sampled.train_spec(output, sampled.pairs(), settings)
    thread = interrupted_when(
        lambda: any("/checkpoints/" in key for key in sampled.store.list(output + "/")), lambda: os.kill(os.getpid(), signal.SIGTERM)
    )
    end = sampled.run(document, WAN_PROCESSES="2", WAN_START_METHOD=method, WAN_PACE_MILLISECONDS="200")
    thread.join()
    assert (end.code, end.word["class"]) == (75, "Interrupted"), end.message
    m = sampled.done(document, attempt=1, WAN_PROCESSES="2", **FORKED)
    assert m["outputs"]["adapter"]["digest"] == whole["outputs"]["adapter"]["digest"]
    assert sampled.file(m, "metrics.jsonl") == sampled.file(whole, "metrics.jsonl")


def test_another_number_of_processes_takes_up_half_a_step(sampled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of a step by one process, gone on by two."""
    settings = TRAINING | {"pairsPerStep": 5, "checkpointEverySteps": 0}
    want = sampled.done(sampled.train_spec("out/half-whole", sampled.pairs(), settings))
    document, calls, add = sampled.train_spec("out/half", sampled.pairs(), settings), [], Trainer._add

    def counted(self: Trainer, n: int) -> None:
        calls.append(n)
        if len(calls) == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        add(self, n)

    monkeypatch.setattr(Trainer, "_add", counted)
    assert sampled.run(document).code == 75
    monkeypatch.undo()
    (key,) = [key for key in sampled.store.list("out/half/") if "/checkpoints/" in key]
    assert "step-00000001-pair-00000002" in key
    m = sampled.done(document, attempt=1, WAN_PROCESSES="2", **FORKED)
    for name, tensor in adapter(sampled, want).items():
        assert torch.allclose(adapter(sampled, m)[name], tensor, rtol=0, atol=1e-6)


def _out_of_memory(told: Any, mailbox: Mailbox, stop: threading.Event) -> None:
    """Runs in the processes: the second one fails in its second step."""
    in_the_second_step_of_rank_1(lambda: _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")))
    stage._process(told, mailbox, stop)


def _killed(told: Any, mailbox: Mailbox, stop: threading.Event) -> None:
    in_the_second_step_of_rank_1(lambda: os.kill(os.getpid(), signal.SIGKILL))
    stage._process(told, mailbox, stop)


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("work", "code", "name", "says"),
    [(_out_of_memory, 77, "OutOfMemory", "9.00 GiB"), (_killed, 76, "GPUFault", "")],
    ids=["out of memory", "killed"],
)
def test_a_process_that_fails_says_why_and_ends_the_others(
    sampled: World, monkeypatch: pytest.MonkeyPatch, work: Any, code: int, name: str, says: str
) -> None:
    real = launch.run_processes
    monkeypatch.setattr(launch, "run_processes", lambda task, count, _, *more: real(task, count, work, *more))
    start = time.monotonic()
    end = sampled.run(sampled.train_spec(f"out/fails-{code}", sampled.pairs()), WAN_PROCESSES="2", WAN_GRACE_SECONDS="20", **FORKED)
    assert (end.code, end.word["class"], says in end.message) == (code, name, True), end.message
    assert time.monotonic() - start < 40


def _told_at_the_end(parent: int, mailbox: Mailbox, stop: threading.Event) -> None:
    """The first process is done at once and waits for the agent, the second one is told to stop before it is done."""
    if os.environ["RANK"] == "1":
        time.sleep(1)
        os.kill(parent, signal.SIGTERM)
        assert stop.wait(30)
    mailbox.put("result-" + os.environ["RANK"], {})


def _told_at_the_start(parent: int, mailbox: Mailbox, stop: threading.Event) -> None:
    """As if no process had come to take the signal."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if os.environ["RANK"] == "1":
        os.kill(parent, signal.SIGTERM)
    time.sleep(60)


def _run_two(work: Any, read: Callable[[Mailbox], Any]) -> Any:
    stop = threading.Event()
    environ = FORKED | {"WAN_GRACE_SECONDS": "900"}
    task = SimpleNamespace(environ=environ, stop=stop, progress=Progress("train", 300), check_stop=lambda: None)
    return launch.run_processes(task, 2, work, os.getpid(), read)  # type: ignore[arg-type]


def test_sigterm_when_all_is_done_loses_nothing() -> None:
    start = time.monotonic()
    found = _run_two(_told_at_the_end, lambda mailbox: [mailbox.get(f"result-{rank}") for rank in range(2)])
    assert found == [{}, {}]
    assert time.monotonic() - start < 400  # nobody waited for the agent until it killed them


def test_sigterm_before_any_process_could_say_a_word_is_an_interruption() -> None:
    with pytest.raises(Interrupted):
        _run_two(_told_at_the_start, lambda _: None)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("codes", "stopping", "want"),
    [
        ([], True, 75), ([0], True, 75), ([0, 0], True, None), ([0, 0], False, None), ([75, 75], True, 75), ([76, 75], True, 75),
        ([76], True, 75), ([78, 75], True, 78), ([], False, 76), ([0], False, 76), ([76, 75], False, 76), ([75], False, 76),
    ],
)  # fmt: skip
def test_what_outcomes_amount_to(tmp_path: Path, codes: list[int], stopping: bool, want: int | None) -> None:
    mailbox = Mailbox(tmp_path)
    for rank, code in enumerate(codes):
        mailbox.put(f"outcome-{rank}", {"code": code, "message": "", "time": rank})
    if want is None:
        launch._raise_outcome(mailbox, 2, "the agent", stopping)
        return
    with pytest.raises(StageError) as e:
        launch._raise_outcome(mailbox, 2, "the agent", stopping)
    assert e.value.code == ExitCode(want)


@pytest.mark.parametrize(
    ("codes", "ended", "want", "says"),
    [
        ([69, 69], False, 69, "lost 0"), ([69, 77], False, 77, "77"), ([69], False, 76, "without a word"), ([75, 69], False, 69, "lost 1"),
        ([69, 69], True, 69, "rank 9"), ([69], True, 69, "rank 9"), ([], True, 69, "rank 9"), ([76, 69], True, 69, "rank 9"),
        ([77, 69], True, 77, "77"), ([75, 75], True, 75, "75"), ([0, 0], True, None, ""),
    ],
)  # fmt: skip
def test_a_pod_follows_another_only_when_none_of_its_own_is_to_blame(
    tmp_path: Path, codes: list[int], ended: bool, want: int | None, says: str
) -> None:
    """A process that ends with 69 here has lost its connection to another one, of this pod or of another."""
    mailbox = Mailbox(tmp_path)
    for rank, code in enumerate(codes):
        message = f"lost {rank}" if code == 69 else str(code)
        mailbox.put(f"outcome-{rank}", {"code": code, "message": message, "follows": code == 69, "time": rank})
    other = Following("rank 9 has ended") if ended else None
    if want is None:
        launch._raise_outcome(mailbox, 2, "the agent", False, other)
        return
    with pytest.raises(StageError, match=says) as e:
        launch._raise_outcome(mailbox, 2, "the agent", False, other)
    assert (e.value.code, isinstance(e.value, Following)) == (ExitCode(want), want == 69)


def test_progress_comes_up_from_the_processes(sampled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    finish = stage._finish

    def spy(task: Any, result: Any) -> None:
        seen.append(task.progress.snapshot())
        finish(task, result)

    monkeypatch.setattr(stage, "_finish", spy)
    sampled.done(sampled.train_spec("out/progress", sampled.pairs()), WAN_PROCESSES="2", **FORKED)
    assert (seen[0]["done"], seen[0]["total"], seen[0]["progressPercentage"]) == (3, 3, 100)
    assert {m["name"] for m in seen[0]["metrics"]} >= {"loss", "margin", "regularizer", "gradNorm"}
    assert "lastCheckpointTime" in seen[0]
