"""The pods that train together: they find each other, begin together, and hear of each other's ends. The pod of rank 0 listens
at MASTER_PORT and passes on what it hears, a line of JSON each. The training processes have a connection of their own: group.py."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..contract.exits import ExitCode, StageError, bad_spec
from ..contract.spec import Artifact
from ..contract.strict import build, decode, to_json
from ..contract.task import Task
from ..faults import classify

AGAIN = 0.2  # seconds between two looks at the others
CONNECT = 5.0  # for one attempt to connect, and for whoever connects to say who it is
LINGER = 5.0  # how long a pod stays that ends because another did: so the end of that one is seen first, and is what counts
MAX_HEARD = 1 << 16
# Notices within half a minute that the other's node is gone.
_KEEP_ALIVE = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 4, socket.TCP_USER_TIMEOUT: 30_000}
_BROKEN = -1  # no exit code: the connection says it


class Following(StageError):
    """Ends because another process or pod does, whose own end says why."""

    def __init__(self, message: str, code: ExitCode = ExitCode.STORAGE) -> None:
        super().__init__(code, message)


@dataclass(frozen=True)
class Start:
    """What the first pod tells all when they are there."""

    processes: list[int]
    """Of each pod, by rank."""
    port: int
    """At the first pod, where the processes find each other."""
    checkpoint: Artifact | None = None
    """Chosen once, for all."""


@dataclass(frozen=True)
class _Hello:
    """What a member says first."""

    key: str
    rank: int
    processes: int


class _Line:
    """A connection on which words come and go."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._data = connection, b""
        self.since = time.monotonic()
        self.processes = 0
        """Of the pod at the other end."""
        self.over = False
        """There is nothing more to hear."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        connection.setblocking(False)

    def say(self, word: dict[str, Any]) -> None:
        with suppress(OSError):  # it is noticed when the line is heard
            self._connection.settimeout(CONNECT)
            self._connection.sendall(json.dumps(word).encode() + b"\n")
            self._connection.setblocking(False)

    def hear(self) -> list[dict[str, Any]]:
        """The words that have come. Whoever talks nonsense has said all."""
        try:
            while not self.over:
                part = self._connection.recv(1 << 16)
                self._data += part
                self.over = not part or len(self._data) > MAX_HEARD
        except BlockingIOError:
            pass
        except OSError:
            self.over = True
        *lines, self._data = self._data.split(b"\n")
        try:
            return [dict(decode(line)) for line in lines]
        except (ValueError, TypeError):
            self.over = True
            return []

    def close(self) -> None:
        self._connection.close()


class Gang:
    """One pod's place among those that train together. Its methods are called by one thread at a time."""

    def __init__(self, task: Task) -> None:
        self._task, self._place = task, task.place
        self._key = f"{task.spec_digest}/{task.attempt}"  # of no other training and attempt
        self._listener = _listen(self._place.port) if self._place.first else None
        self._guests: list[_Line] = []  # who have not said yet who they are
        self._members: dict[int, _Line] = {}  # by rank; of another rank than 0 the first alone
        self._start: Start | None = None
        self.host = "127.0.0.1"
        """Of the first pod, as this one reaches it."""
        self.ended: Following | None = None
        """What this pod is to end with, as another has ended."""

    def meet(self, processes: int, port: int, checkpoint: Artifact | None) -> Start:
        """Waits until all pods are there, for as long as their nodes take, and gives what the first one says."""
        if self._place.first:
            self._wait(lambda: len(self._members) == self._place.nodes - 1)
            self._start = Start([processes, *(line.processes for _, line in sorted(self._members.items()))], port, checkpoint)
            self._tell({"start": to_json(self._start)})
        else:
            self._members[0] = self._connect()
            self._members[0].say(to_json(_Hello(self._key, self._place.rank, processes)))
            self._wait(lambda: self._start is not None)
        assert self._start is not None
        self._task.log.info("all %d pods of the training have found each other; this is rank %d", self._place.nodes, self._place.rank)
        return self._start

    def poll(self) -> None:
        """Hears what was said since."""
        if self._listener is not None:
            with suppress(BlockingIOError):
                while True:
                    self._guests.append(_Line(self._listener.accept()[0]))
        for guest in list(self._guests):
            self._introduce(guest)
        for rank, line in list(self._members.items()):
            self._take(rank, line, line.hear())

    def end(self, error: StageError | None) -> None:
        """Tells the others how this pod ends."""
        if isinstance(error, Following) or (error is not None and error.code is ExitCode.CHECKPOINTED):
            self._task.stop.wait(LINGER)  # not at all where this very pod was told to stop
        code = ExitCode.DONE if error is None else error.code
        self._tell({"end": {"rank": self._place.rank, "code": int(code), "message": str(error or "")[:500]}})
        for line in [*self._guests, *self._members.values()]:
            line.close()
        if self._listener is not None:
            self._listener.close()

    def _take(self, rank: int, line: _Line, words: list[dict[str, Any]]) -> None:
        """Takes in what a member has said."""
        for word in words:
            if "start" in word:
                self._start = build(Start, word["start"], "start")
            elif word["end"]["code"] == ExitCode.DONE:
                del self._members[rank]
                line.close()
                return
            else:
                self._hear_end(word["end"])
        if line.over:
            del self._members[rank]
            line.close()
            self._hear_end({"rank": rank, "code": _BROKEN, "message": ""})

    def _introduce(self, guest: _Line) -> None:
        """Makes a member of whoever has said what a member says."""
        heard = guest.hear()
        if not heard and not guest.over and time.monotonic() - guest.since < CONNECT:
            return
        self._guests.remove(guest)
        try:
            hello = build(_Hello, heard[0] if heard else {}, "")
        except ValueError:
            hello = _Hello("", 0, 0)
        if hello.key != self._key or not 0 < hello.rank < self._place.nodes or self._start is not None:
            guest.close()
            return
        if hello.rank in self._members:
            self._members[hello.rank].close()
        guest.processes = hello.processes
        self._members[hello.rank] = guest
        self._take(hello.rank, guest, heard[1:])

    def _hear_end(self, end: dict[str, Any]) -> None:
        if self.ended is not None:
            return
        if end["code"] == ExitCode.CHECKPOINTED:
            self.ended = Following(f"rank {end['rank']} of the training was told to stop", ExitCode.CHECKPOINTED)
        elif end["code"] == _BROKEN:
            self.ended = Following(f"the connection to rank {end['rank']} of the training broke: its own end says why")
        else:
            self.ended = Following(f"rank {end['rank']} of the training ended with code {end['code']}: {end['message']}")
        if self._place.first:
            self._tell({"end": end})

    def _tell(self, word: dict[str, Any]) -> None:
        for line in self._members.values():
            line.say(word)

    def _wait(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._task.check_stop()
            self.poll()
            if self.ended is not None:
                raise self.ended
            self._task.progress.beat()
            if not ready():
                self._task.stop.wait(AGAIN)

    def _connect(self) -> _Line:
        """Finds the first pod, whose name is known from when it has a node."""
        at, known = (self._place.host, self._place.port), 0.0
        while True:
            self._task.check_stop()
            try:
                connection = socket.create_connection(at, CONNECT)
            except UnicodeError as e:
                raise bad_spec(f"environment variable MASTER_ADDR is {self._place.host!r}: {e}") from e
            except socket.gaierror:
                known = 0.0
                self._task.progress.beat()
            except OSError as e:
                known = known or time.monotonic()
                if time.monotonic() - known > self._task.heartbeat:
                    raise StageError(
                        ExitCode.GPU,
                        f"rank 0 of the training, {at[0]}:{at[1]}, is out of reach for {self._task.heartbeat} s, though its name is known:"
                        f" {e}; does a network policy keep the pods of a training apart?",
                    ) from e
            else:
                self.host = connection.getpeername()[0]
                return _Line(connection)
            self._task.stop.wait(AGAIN)


def _listen(port: int) -> socket.socket:
    try:
        try:
            listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        except (OSError, ValueError):  # without IPv6
            listener = socket.create_server(("", port), backlog=128)
    except OSError as e:
        raise StageError(ExitCode.STORAGE, f"the other pods of the training cannot be heard at port {port}: {e}") from e
    listener.setblocking(False)
    return listener


@contextmanager
def joined(task: Task) -> Iterator[Gang | None]:
    """Of a training on one node None."""
    if task.place.nodes == 1:
        yield None
        return
    gang = Gang(task)
    try:
        yield gang
    except Exception as e:
        gang.end(e if isinstance(e, StageError) else classify(e, "train") or StageError(ExitCode.BUG, f"{type(e).__name__}: {e}"))
        raise
    gang.end(None)
