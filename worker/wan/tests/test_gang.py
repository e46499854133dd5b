"""Training in several pods: what they compute together, how they find each other, and how one's end becomes the others'."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from pods import FORKED, free_port, in_the_second_step_of_rank_1, together, until
from spatialalign_wan.contract.exits import ExitCode, Interrupted, StageError
from spatialalign_wan.contract.spec import Artifact
from spatialalign_wan.contract.task import Place
from spatialalign_wan.stages import train as stage
from spatialalign_wan.training import gang
from spatialalign_wan.training.gang import Following, Gang, Start
from spatialalign_wan.training.launch import Mailbox
from support import TRAINING, World

SETTINGS = TRAINING | {"steps": 4, "scheduleSteps": 5, "pairsPerStep": 4}


@pytest.mark.parametrize("processes", [(1, 1), (2, 1)], ids=str)
def test_several_nodes_train_bit_by_bit_what_one_does(sampled: World, processes: tuple[int, ...]) -> None:
    size = str(sum(processes))
    one = sampled.done(sampled.train_spec(f"out/one-{size}", sampled.pairs(), SETTINGS), WAN_PROCESSES=size, **FORKED)
    output = f"out/several-{size}"
    first, second = [pod.end() for pod in together(sampled, sampled.train_spec(output, sampled.pairs(), SETTINGS), processes=processes)]
    assert (first.code, second.code) == (0, 0), (first.message, second.message)
    assert first.word["outputs"]["adapter"]["digest"] == one["outputs"]["adapter"]["digest"]
    assert first.word["metrics"] == one["metrics"]
    assert second.word == {"class": "Succeeded"}
    assert len({key.split("/")[2] for key in sampled.store.list(output + "/")}) == 1  # rank 0 alone writes


def test_one_is_told_to_stop_and_all_go_on_to_the_same_adapter(sampled: World) -> None:
    """Rank 0; the conformance suite tells the other one."""
    settings = SETTINGS | {"pairsPerStep": 3, "checkpointEverySteps": 1}
    whole = sampled.done(sampled.train_spec("out/undisturbed", sampled.pairs(), settings), WAN_PROCESSES="2", **FORKED)
    document = sampled.train_spec("out/disturbed", sampled.pairs(), settings)
    pods = together(sampled, document, WAN_PACE_MILLISECONDS="300")
    until(lambda: any("/checkpoints/" in key for key in sampled.store.list("out/disturbed/")))
    pods[0].signal(signal.SIGTERM)
    ends = [pod.end() for pod in pods]
    assert [(end.code, end.word["class"]) for end in ends] == [(75, "Interrupted")] * 2
    assert not any(key.endswith("manifest.json") for key in sampled.store.list("out/disturbed/"))
    again = [pod.end() for pod in together(sampled, document, attempt=1)]
    assert [end.code for end in again] == [0, 0], again
    assert again[0].word["outputs"]["adapter"]["digest"] == whole["outputs"]["adapter"]["digest"]
    adopted = [pod.end() for pod in together(sampled, document, attempt=2)]
    assert [end.code for end in adopted] == [0, 0]
    assert (adopted[0].word["counts"]["adopted"], adopted[1].word) == (1, {"class": "Succeeded"})


def _fails(told: Any, mailbox: Mailbox, stop: threading.Event) -> None:
    """Runs in the processes of both pods."""

    def fail() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")

    in_the_second_step_of_rank_1(fail)
    stage._process(told, mailbox, stop)


def _hangs(told: Any, mailbox: Mailbox, stop: threading.Event) -> None:
    in_the_second_step_of_rank_1(lambda: time.sleep(60))
    stage._process(told, mailbox, stop)


def _is_killed(told: Any, mailbox: Mailbox, stop: threading.Event) -> None:
    in_the_second_step_of_rank_1(lambda: os.kill(os.getpid(), signal.SIGKILL))
    stage._process(told, mailbox, stop)


@pytest.mark.parametrize(
    ("work", "first", "second", "says"),
    [
        (_fails, ExitCode.STORAGE, ExitCode.OUT_OF_MEMORY, "another process of the training failed|rank 1 .* code 77"),
        (_hangs, ExitCode.GPU, ExitCode.STORAGE, "Timed out"),
        (_is_killed, ExitCode.STORAGE, ExitCode.GPU, "the connection to another process of the training|rank 1 .* code 76.* exit code -9"),
    ],
    ids=["it fails", "it hangs", "it is killed"],
)
def test_what_becomes_of_one_pod_ends_the_other(sampled: World, work: Any, first: ExitCode, second: ExitCode, says: str) -> None:
    """Whatever it is, it is over soon, and the pod that is to blame does not say that it follows."""
    document = sampled.train_spec(f"out/blame-{second}", sampled.pairs(), SETTINGS)
    start = time.monotonic()
    silence = "5" if work is _hangs else "300"
    ends = [pod.end() for pod in together(sampled, document, work=work, SPATIALALIGN_HEARTBEAT_SECONDS=silence, WAN_GRACE_SECONDS="17")]
    assert [end.code for end in ends] == [first, second], [end.message for end in ends]
    assert re.search(says, ends[0].message)
    assert "\n" not in ends[0].message
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"NNODES": "two"}, "NNODES"), ({"NNODES": "0"}, "NNODES"), ({"NNODES": "-1"}, "NNODES"), ({"NNODES": "1.5"}, "NNODES"),
        ({"JOB_COMPLETION_INDEX": "2"}, "JOB_COMPLETION_INDEX"), ({"JOB_COMPLETION_INDEX": "-1"}, "JOB_COMPLETION_INDEX"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR"), ({"MASTER_PORT": ""}, "MASTER_PORT"), ({"MASTER_PORT": "65536"}, "MASTER_PORT"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT"), ({"SPATIALALIGN_SHARDS": "2"}, "SPATIALALIGN_SHARDS"),
        ({"MASTER_ADDR": "a" * 64 + ".b", "JOB_COMPLETION_INDEX": "1"}, "MASTER_ADDR"),
    ],
    ids=str,
)  # fmt: skip
def test_a_place_that_is_none(sampled: World, changes: dict[str, str], says: str) -> None:
    place = {"NNODES": "2", "JOB_COMPLETION_INDEX": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    end = sampled.run(sampled.train_spec("out/nowhere", sampled.pairs()), **place | changes)
    assert (end.code, says in end.message) == (64, True), end.message


def test_other_stages_know_no_place(sampled: World) -> None:
    sampled.done(sampled.sample_spec("out/samples-again"), NNODES="2", MASTER_ADDR="", MASTER_PORT="x")


def test_a_first_pod_that_never_comes(sampled: World) -> None:
    place = {"NNODES": "2", "JOB_COMPLETION_INDEX": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    end = sampled.run(sampled.train_spec("out/waits", sampled.pairs()), SPATIALALIGN_HEARTBEAT_SECONDS="1", **place)
    assert (end.code, end.word["class"], "network policy" in end.message, "\n" in end.message) == (76, "GPUFault", True, False)


@dataclass
class Member:
    """As much of a task as a gang asks for."""

    place: Place
    heartbeat: int = 5
    spec_digest: str = "sha256:spec"
    attempt: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("gang"))
    beats: int = 0
    working: bool = False
    failure: StageError | None = None

    @property
    def progress(self) -> Member:
        return self

    def beat(self) -> None:
        self.beats += 1

    def check_stop(self) -> None:
        if self.stop.is_set():
            raise Interrupted


def members(nodes: int) -> list[Member]:
    port = free_port()
    return [Member(Place(rank, nodes, "127.0.0.1", port)) for rank in range(nodes)]


CHECKPOINT = Artifact("out/x", "sha256:" + "1" * 64)


@pytest.fixture
def pool() -> Any:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def meets(pool: ThreadPoolExecutor, member: Member, go: threading.Event) -> Future[Start]:
    """Meets the others and works until it is told to go, fails, or another has ended."""

    def run() -> Start:
        with gang.joined(member) as team:  # type: ignore[arg-type]
            assert team is not None
            start = team.meet(member.place.rank + 1, 1234, CHECKPOINT if member.place.first else None)
            member.working = True
            while not go.wait(0.01):
                member.check_stop()
                team.poll()
                if team.ended or member.failure:
                    raise team.ended or member.failure
            return start

    return pool.submit(run)


def test_all_begin_with_what_the_first_one_says(pool: ThreadPoolExecutor) -> None:
    three, go = members(3), threading.Event()
    met = [meets(pool, member, go) for member in reversed(three)]
    until(lambda: all(member.working for member in three))
    with socket.create_connection(("127.0.0.1", three[0].place.port), 10) as late:  # of one that is there already
        late.sendall(b'{"key": "sha256:spec/0", "rank": 1, "processes": 1}\n')
        assert late.recv(1) == b""
    go.set()
    assert [m.result(10) for m in met] == [Start([1, 2, 3], 1234, CHECKPOINT)] * 3


def test_the_last_one_is_waited_for_however_long_it_takes(pool: ThreadPoolExecutor) -> None:
    """Its node may be busy: whoever is there makes no step, and that is no fault."""
    three, go = members(3), threading.Event()
    three[0].heartbeat = three[1].heartbeat = 0
    met = [meets(pool, three[0], go)]
    until(lambda: three[0].beats > 0)
    met.append(meets(pool, three[1], go))
    until(lambda: three[1].beats > 3)
    go.set()
    met.append(meets(pool, three[2], go))
    assert all(m.result(10) for m in met)


def test_a_name_that_is_not_known_yet(pool: ThreadPoolExecutor) -> None:
    late = Member(Place(1, 2, "nowhere.invalid", 1), heartbeat=0)
    met = meets(pool, late, threading.Event())
    until(lambda: late.beats > 2)
    late.stop.set()
    with pytest.raises(Interrupted):
        met.result(10)


def test_whoever_else_connects_is_no_member(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a pod of another attempt, nor who talks nonsense, nor who says nothing."""
    monkeypatch.setattr(gang, "LINGER", 0.1)
    monkeypatch.setattr(gang, "CONNECT", 0.5)
    first, second = members(2)
    go = threading.Event()
    met = meets(pool, first, go)
    until(lambda: first.beats > 0)
    stranger = Member(second.place, attempt=1)
    with pytest.raises(Following, match="connection to rank 0"):
        meets(pool, stranger, go).result(10)
    beyond, same = (b'{"key": "sha256:spec/0", "rank": %d, "processes": 1}\n' % rank for rank in (2, 0))
    for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b"{}\n", beyond, same, b"x" * (1 << 17), b""):
        line = socket.create_connection(("127.0.0.1", first.place.port))
        line.sendall(nonsense)
        line.settimeout(10)
        with pytest.raises((ConnectionError, EOFError)):  # noqa: PT012
            if not line.recv(1):
                raise EOFError
        line.close()
    met_too = meets(pool, second, go)
    go.set()
    assert met.result(10) == met_too.result(10)


@pytest.mark.parametrize("met", [True, False], ids=["when they work", "before they have met"])
@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_is_told_to_stop_stops_all(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, rank: int, met: bool) -> None:
    monkeypatch.setattr(gang, "LINGER", 0.1)
    three = members(3)
    ends = ended(pool, three if met else three[:2], lambda: three[rank].stop.set())
    assert [e.code for e in ends] == [ExitCode.CHECKPOINTED] * len(ends)
    assert [isinstance(e, Following) for e in ends] == [other != rank for other in range(len(ends))]


def test_how_one_ends_is_what_the_others_hear(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gang, "LINGER", 0.1)
    three = members(3)
    ends = ended(pool, three, lambda: setattr(three[1], "failure", StageError(ExitCode.OUT_OF_MEMORY, "9 GiB")))
    assert [(e.code, str(e)) for e in (ends[0], ends[2])] == [(ExitCode.STORAGE, "rank 1 of the training ended with code 77: 9 GiB")] * 2


def test_one_that_vanishes(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gang, "LINGER", 0.1)
    monkeypatch.setattr(Gang, "end", lambda self, error: [line.close() for line in self._members.values()])
    three = members(3)
    ends = ended(pool, three, lambda: setattr(three[2], "failure", StageError(ExitCode.BUG, "nobody hears this")))
    assert [(e.code, "connection to rank 2 of the training broke" in str(e)) for e in ends[:2]] == [(ExitCode.STORAGE, True)] * 2


def test_who_follows_goes_last_unless_it_is_told(pool: ThreadPoolExecutor) -> None:
    """So that the first to end says whose fault it was."""
    two, go = members(2), threading.Event()
    first, second = (meets(pool, member, go) for member in two)
    until(lambda: all(member.working for member in two))
    two[1].failure = StageError(ExitCode.DIVERGED, "NaN")
    with pytest.raises(StageError, match="NaN"):
        second.result(10)
    time.sleep(0.5)
    assert not first.done()
    two[0].stop.set()
    with pytest.raises(Following):
        first.result(1)


def test_one_that_is_done_ends_no_other(pool: ThreadPoolExecutor) -> None:
    two, go = members(2), [threading.Event(), threading.Event()]
    met = [meets(pool, member, go[member.place.rank]) for member in two]
    until(lambda: all(member.working for member in two))
    go[1].set()
    assert met[1].result(10)
    time.sleep(0.2)
    assert not met[0].done()
    go[0].set()
    assert met[0].result(10)


@pytest.mark.parametrize(
    ("error", "lingers"),
    [(None, False), (StageError(ExitCode.DIVERGED, "NaN"), False), (Following("rank 9"), True), (Interrupted(), True)],
    ids=["it is done", "it is to blame", "it follows", "its processes were told by those of others"],
)
def test_the_end_that_counts_is_seen_first(error: StageError | None, lingers: bool) -> None:
    first, waits = members(2)[0], []
    first.stop.wait = waits.append  # type: ignore[assignment]
    Gang(first).end(error)  # type: ignore[arg-type]
    assert waits == ([gang.LINGER] if lingers else [])


@pytest.fixture
def line() -> Any:
    """A connection as a pod has it, and its other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        own = gang._Line(listener.accept()[0])
    yield own, theirs
    own.close()
    theirs.close()


def hear(own: gang._Line, ready: Callable[[list[Any]], bool]) -> list[Any]:
    words: list[Any] = []

    def heard() -> bool:
        words.extend(own.hear())
        return ready(words)

    until(heard)
    return words


def test_words_come_whole_and_in_order(line: Any) -> None:
    own, theirs = line
    theirs.sendall(b'{"a": 1}\n{"b"')
    assert hear(own, bool) == [{"a": 1}]
    theirs.sendall(b": 2}\n")
    assert hear(own, bool) == [{"b": 2}]
    assert not own.over


@pytest.mark.parametrize("nonsense", [b"[1\n", b"[1]\n", b"1\n", b"x" * (gang.MAX_HEARD + 1)], ids=["cut", "a list", "a number", "endless"])
def test_whoever_talks_nonsense_has_said_all(line: Any, nonsense: bytes) -> None:
    own, theirs = line
    theirs.sendall(nonsense)
    assert hear(own, lambda _: own.over) == []


def test_what_is_said_to_one_that_has_gone_is_lost(line: Any) -> None:
    own, theirs = line
    theirs.close()
    for _ in range(3):
        own.say({"end": {}})
    assert hear(own, lambda _: own.over) == []


def ended(pool: ThreadPoolExecutor, those: list[Member], happens: Callable[[], object]) -> list[StageError]:
    """How each of them ends after something happens, in the midst of their work or before the last one has come."""
    met = [meets(pool, member, threading.Event()) for member in those]
    everybody = len(those) == those[0].place.nodes
    until(lambda: all(member.working if everybody else member.beats > 1 for member in those))
    happens()
    ends = [future.exception(10) for future in met]
    assert all(isinstance(e, StageError) for e in ends)
    return ends  # type: ignore[return-value]
