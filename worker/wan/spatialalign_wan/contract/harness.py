"""Runs `<stage> --spec <file> --spec-digest <digest>` from the arguments to the exit code, whatever happens in between."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import manifest
from .exits import ExitCode, Interrupted, StageError, bad_spec
from .keys import valid_digest
from .progress import Progress, Server
from .spec import Artifact, Spec, read_spec
from .store import Store, StoreError
from .strict import to_json
from .task import ALONE, Place, Task

MAX_TERMINATION = 4096
MANY = 1 << 20
_CUT = " ... (the rest is in the log)"
_POD_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")

Work = Callable[[Task], None]
Classify = Callable[[BaseException], StageError | None]


@dataclass(frozen=True)
class Call:
    """The parsed arguments and environment."""

    stage: str
    spec_file: str
    spec_digest: str
    store: str
    pod_uid: str
    attempt: int
    shard: int
    shards: int
    place: Place
    heartbeat: int
    address: str
    pace_seconds: float


def main(arguments: Sequence[str], stages: Mapping[str, Work], classify: Classify = lambda _: None) -> int:
    """Runs a stage and gives its exit code; classify gives foreign exceptions, such as PyTorch's, their code."""
    # Pods of other users in the volume's group must be able to add files to our directories.
    os.umask(0o002)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log = _logger()
    code, last_word = ExitCode.DONE, {}
    try:
        last_word = _run(parse_call(arguments, stages, os.environ), stages, stop, log)
    except BaseException as e:  # noqa: BLE001 (whatever it was, the pod has a last word)
        error = _error(e, classify)
        code = error.code
        last_word = {"class": code.class_name, "message": str(error) or type(e).__name__}
        trace = traceback.format_exc() if code is ExitCode.BUG else ""
        log.error("stage failed: %s", error, extra={"fields": {"class": code.class_name, "exitCode": int(code), "stack": trace}})
    message = encode_termination(last_word)
    if len(message) > MAX_TERMINATION:
        code = ExitCode.BUG
        message = encode_termination({"class": code.class_name, "message": "outputs, counts and metrics do not fit a termination message"})
    _write_termination(os.environ.get("SPATIALALIGN_TERMINATION_LOG") or "/dev/termination-log", message)
    return int(code)


def _error(e: BaseException, classify: Classify) -> StageError:
    if isinstance(e, StageError):
        return e
    if isinstance(e, KeyboardInterrupt):
        return Interrupted("interrupted")
    return classify(e) or StageError(ExitCode.BUG, f"{type(e).__name__}: {e}")


def _run(call: Call, stages: Mapping[str, Work], stop: threading.Event, log: logging.Logger) -> dict[str, Any]:
    spec: Spec = read_spec(call.spec_file, call.spec_digest, call.stage)
    task = Task(
        spec=spec, spec_digest=call.spec_digest, store=Store.open(call.store), progress=Progress(call.stage, call.heartbeat), log=log,
        attempt=call.attempt, shard=call.shard, shards=call.shards, pod_uid=call.pod_uid, environ=os.environ, stop=stop,
        pace_seconds=call.pace_seconds, place=call.place, heartbeat=call.heartbeat,
    )  # fmt: skip
    server = None
    try:
        server = Server(task.progress, call.address)
    except OSError as e:
        log.warning("no progress will be served: %s", e)
    try:
        if done := manifest.find(task.store, spec.output, task.manifest, lambda key, e: _rejected(log, key, e)):
            log.info("adopted the result of an earlier attempt: %s", done[0].key)
            return _success(*done, adopted=True) if call.place.first else _FOLLOWER
        stages[call.stage](task)
        if not call.place.first:
            return _FOLLOWER
        # The work is done: a SIGTERM that arrives now must not lose it.
        return _success(manifest.commit(task.store, spec.output, task.manifest), task.manifest, adopted=False)
    finally:
        if server:
            server.close()


# The first of the pods that train together names the manifest, for all of them.
_FOLLOWER = {"class": ExitCode.DONE.class_name}


def _rejected(log: logging.Logger, key: str, e: StoreError) -> None:
    log.warning("manifest of an earlier attempt is not good enough to adopt: %s: %s", key, e)


def _success(where: Artifact, m: manifest.Manifest, adopted: bool) -> dict[str, Any]:
    counts = m.counts | ({"adopted": 1} if adopted else {})
    word = {"class": ExitCode.DONE.class_name, "manifest": where, "outputs": m.outputs, "counts": counts, "metrics": m.metrics}
    return {name: to_json(value) for name, value in word.items() if value}


def parse_call(arguments: Sequence[str], stages: Mapping[str, Work], environ: Mapping[str, str]) -> Call:
    usage = f"usage: {'|'.join(sorted(stages))} --spec <file> --spec-digest sha256:<hex>"
    if not arguments:
        raise bad_spec(f"no stage is named; {usage}")
    stage, rest = arguments[0], list(arguments[1:])
    if stage not in stages:
        raise bad_spec(f"stage {stage!r} is not one of this program's; {usage}")
    flags = dict(zip(rest[::2], rest[1::2], strict=False))
    if len(rest) != 4 or set(flags) != {"--spec", "--spec-digest"} or not valid_digest(flags["--spec-digest"]):
        raise bad_spec(f"arguments {rest}: want both flags and nothing else; {usage}")
    shards = _number(environ, "SPATIALALIGN_SHARDS", 1, 1, MANY)
    place = _place(environ, shards) if stage == "train" else ALONE
    store = environ.get("SPATIALALIGN_STORE", "")
    if not store:
        raise bad_spec("environment variable SPATIALALIGN_STORE is not set: want file:///dir or s3://bucket/prefix")
    pod_uid = environ.get("SPATIALALIGN_POD_UID", "")
    if not _POD_UID.fullmatch(pod_uid):
        raise bad_spec(f"environment variable SPATIALALIGN_POD_UID is {pod_uid!r}, want the pod's UID")
    return Call(
        stage=stage, spec_file=flags["--spec"], spec_digest=flags["--spec-digest"], store=store, pod_uid=pod_uid,
        attempt=_number(environ, "SPATIALALIGN_ATTEMPT", 0, 0, MANY), shards=shards, place=place,
        shard=_number(environ, "JOB_COMPLETION_INDEX", 0, 0, shards - 1) if place is ALONE else 0,
        heartbeat=_number(environ, "SPATIALALIGN_HEARTBEAT_SECONDS", 300, 1, MANY),
        address=environ.get("SPATIALALIGN_PROGRESS_ADDRESS") or ":9400",
        pace_seconds=_number(environ, "WAN_PACE_MILLISECONDS", 0, 0, MANY) / 1000,
    )  # fmt: skip


def _number(environ: Mapping[str, str], name: str, fallback: int, low: int, high: int) -> int:
    text = environ.get(name, "")
    if not text:
        return fallback
    if not re.fullmatch("[0-9]{1,7}", text) or not low <= int(text) <= high:
        raise bad_spec(f"environment variable {name} is {text!r}, want a number from {low} to {high}")
    return int(text)


def _place(environ: Mapping[str, str], shards: int) -> Place:
    """Among the pods of a training."""
    nodes = _number(environ, "NNODES", 1, 1, MANY)
    if nodes == 1:
        return ALONE
    if shards > 1:
        raise bad_spec(f"environment variable SPATIALALIGN_SHARDS is {shards}, want 1 where NNODES is {nodes}")
    host, port = environ.get("MASTER_ADDR", ""), _number(environ, "MASTER_PORT", 0, 1, 65535)
    if not host or not port:
        raise bad_spec(
            f"environment variables MASTER_ADDR and MASTER_PORT are not both set: want where the first of {nodes} pods is reached"
        )
    return Place(_number(environ, "JOB_COMPLETION_INDEX", 0, 0, nodes - 1), nodes, host, port)


def encode_termination(word: Mapping[str, Any]) -> bytes:
    """JSON whose message is cut so that the whole fits, if it can."""

    def encode(message: str | None) -> bytes:
        fields = dict(word) | ({} if message is None else {"message": message})
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")

    data = encode(None)
    message = str(word.get("message", ""))
    if len(data) <= MAX_TERMINATION or not message:
        return data
    keep = min(len(message), MAX_TERMINATION)
    while keep > 0 and len(data := encode(message[:keep] + _CUT)) > MAX_TERMINATION:
        keep -= 64
    return data


def _write_termination(path: str, message: bytes) -> None:
    """Writes to the file that the kubelet put there, and where there is none to standard output, as the last line."""
    try:
        # Neither is it made when it is absent: nobody would read it.
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC)
    except OSError:
        sys.stdout.write(message.decode() + "\n")
        sys.stdout.flush()
        return
    with os.fdopen(handle, "wb") as file:
        file.write(message)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {"time": self.formatTime(record), "level": record.levelname, "msg": record.getMessage()}
        fields |= {name: value for name, value in getattr(record, "fields", {}).items() if value != ""}
        return json.dumps(fields, ensure_ascii=False)


def _logger() -> logging.Logger:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    log = logging.getLogger("spatialalign")
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    return log
