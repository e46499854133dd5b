"""The manifest, which a stage writes last: without a valid one the stage did not happen."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from .keys import check_key, digest, valid_digest
from .spec import VERSION, Artifact
from .store import File, Kind, Store, StoreError, corrupt
from .strict import dump, parse

MAX_MANIFEST = 1 << 20
MAX_FILES = 1000


@dataclass
class Manifest:
    contract_version: str
    stage: str
    spec_digest: str
    attempt: int
    pod_uid: str
    shard: int
    shards: int
    outputs: dict[str, Artifact] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        if self.contract_version != VERSION:
            raise ValueError(f"contractVersion is {self.contract_version!r}, this is {VERSION}")
        if not valid_digest(self.spec_digest) or not self.stage or not self.pod_uid:
            raise ValueError("stage, specDigest and podUID must be set")
        if self.attempt < 0 or not 0 <= self.shard < self.shards:
            raise ValueError(f"attempt {self.attempt}, shard {self.shard} of {self.shards}")
        if len(self.files) > MAX_FILES:
            raise ValueError(f"files: {len(self.files)}, at most {MAX_FILES} are allowed")
        digests: dict[str, str] = {}
        for f in self.files:
            check_key(f.key)
            if f.key in digests or not valid_digest(f.digest) or f.size < 0:
                raise ValueError(f"files: {f.key} is listed twice, or without a valid digest and size")
            digests[f.key] = f.digest
        for name, a in self.outputs.items():
            if digests.get(a.key) != a.digest:
                raise ValueError(f"outputs[{name}]: {a.key} with digest {a.digest!r} is not among files")
        for name, n in self.counts.items():
            if n < 0:
                raise ValueError(f"counts[{name}]: {n} is negative")
        for name, value in self.metrics.items():
            if not math.isfinite(float(value)):
                raise ValueError(f"metrics[{name}]: {value!r} is not a finite decimal")


def directory(output: str, attempt: int, pod_uid: str, shard: int) -> str:
    return f"{output}/{attempt}-{pod_uid}/{shard}"


def commit(store: Store, output: str, m: Manifest) -> Artifact:
    """Writes a manifest after all that it vouches for, and just before it its checksum."""
    m.check()
    data = dump(m)
    if len(data) > MAX_MANIFEST:
        raise ValueError(f"manifest of {len(data)} bytes, at most {MAX_MANIFEST} are allowed")
    store.sync()
    key = directory(output, m.attempt, m.pod_uid, m.shard) + "/manifest.json"
    found = digest(data)
    store.write(key + ".sha256", f"{found.removeprefix('sha256:')}  manifest.json\n".encode())
    store.write(key, data)
    store.sync()
    return Artifact(key, found)


def find(store: Store, output: str, want: Manifest, rejected: Callable[[str, StoreError], None]) -> tuple[Artifact, Manifest] | None:
    """The newest whole manifest that this or a former attempt left of the same shard of the same spec."""
    places = []
    pattern = re.compile(re.escape(output) + r"/(0|[1-9][0-9]*)-([A-Za-z0-9-]+)/(0|[1-9][0-9]*)/manifest\.json")
    for key in store.list(output + "/"):
        match = pattern.fullmatch(key)
        if match and int(match[3]) == want.shard and int(match[1]) <= want.attempt:
            places.append((int(match[1]), match[2], key))
    for attempt, pod_uid, key in sorted(places, reverse=True):
        try:
            return _adopt(store, key, attempt, pod_uid, want)
        except StoreError as e:
            if e.kind is Kind.STORAGE:
                raise
            rejected(key, e)
    return None


def _adopt(store: Store, key: str, attempt: int, pod_uid: str, want: Manifest) -> tuple[Artifact, Manifest]:
    """Reads a manifest that no digest pins: its checksum must agree, and its content with the place where it stands."""
    checksum = store.read(Artifact(key + ".sha256"), 1024).decode("ascii", "replace")
    found, _, name = checksum.partition("  ")
    if name != "manifest.json\n":
        raise corrupt("read", key + ".sha256", "not a checksum file of manifest.json")
    a = Artifact(key, "sha256:" + found)
    try:
        m = parse(Manifest, store.read(a, MAX_MANIFEST))
        m.check()
    except (ValueError, RecursionError) as e:
        raise corrupt("read", key, f"not a valid manifest: {e}") from e
    if (m.stage, m.spec_digest, m.shard, m.shards, m.attempt, m.pod_uid) != (
        want.stage, want.spec_digest, want.shard, want.shards, attempt, pod_uid,
    ):  # fmt: skip
        raise corrupt("read", key, "it is of another stage, spec, shard, attempt or pod")
    for f in m.files:
        store.verify(f)
    return a, m
