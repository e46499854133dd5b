"""Runs the program in forks of one process that has imported everything: `python tests/forkserver.py SOCKET MODEL`.

The conformance suite starts some sixty pods. Each is a process that imports PyTorch and diffusers, which takes ten
seconds: here it takes none. Their training processes are forks of a second such process. Tiny random models are made in the folder MODEL first. A client sends its arguments and
environment as a line of JSON, and its standard output and error; it is answered with the process's id, and at the end
with its exit code. When the client is gone the process is killed.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")


def receive(connection: socket.socket) -> tuple[dict[str, object], list[int]]:
    data, handles = b"", array.array("i")
    while not data.endswith(b"\n"):
        part, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(2 * handles.itemsize))
        for _, _, rights in ancillary:
            handles.frombytes(rights)
        if not part:
            raise EOFError
        data += part
    return json.loads(data), list(handles)


def supervise(connection: socket.socket) -> None:
    """In a process of its own: starts the program and watches over both ends."""
    call, handles = receive(connection)
    child = os.fork()
    if child == 0:
        connection.close()
        os.dup2(handles[0], 1)
        os.dup2(handles[1], 2)
        os.environ.clear()
        os.environ.update(call["environment"])  # type: ignore[call-overload]
        from pods import share_fork_server
        from spatialalign_wan.cli import main

        share_fork_server()
        code = 70
        try:
            code = main(call["arguments"])  # type: ignore[arg-type]
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    for handle in handles:
        os.close(handle)
    connection.sendall(b"%d\n" % child)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
            return
        if select.select([connection], [], [], 0.01)[0] and not connection.recv(1):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return


def main(path: str, folder: str) -> None:
    from multiprocessing import forkserver

    import pods  # noqa: F401
    import tiny

    forkserver.ensure_running()
    import preload  # noqa: F401

    tiny.wan(Path(folder))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are not waited for
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(64)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:  # closed: the test is over
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                try:
                    supervise(connection)
                finally:
                    os._exit(0)
            connection.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
