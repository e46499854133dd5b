"""What a stage works on: its spec, the store, its place among the shards, and the manifest that it fills."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import records
from .exits import Interrupted, bad_input, bad_spec
from .keys import digest, valid_key
from .manifest import Manifest, directory
from .progress import Progress, decimal
from .spec import VERSION, Artifact, Spec
from .store import File, Store

MAX_PROMPTS, MAX_INDEX, MAX_PAIRS = 64 << 20, 256 << 20, 256 << 20


@dataclass(frozen=True)
class Item:
    """A line of the index with its prompt."""

    line: records.IndexLine
    prompt: records.PromptLine


@dataclass(frozen=True)
class Place:
    """Of a pod among those that train together."""

    rank: int
    nodes: int
    host: str
    """Where the pod of rank 0 is reached, and its port."""
    port: int

    @property
    def first(self) -> bool:
        """The first pod alone writes."""
        return self.rank == 0


ALONE = Place(0, 1, "", 0)


@dataclass
class Task:
    spec: Spec
    spec_digest: str
    store: Store
    progress: Progress
    log: logging.Logger
    attempt: int
    shard: int
    shards: int
    pod_uid: str
    environ: Mapping[str, str]
    stop: threading.Event = field(default_factory=threading.Event)
    pace_seconds: float = 0.0
    place: Place = ALONE
    heartbeat: int = 300
    """Seconds: how long a stage may make no step."""

    def __post_init__(self) -> None:
        self.manifest = Manifest(VERSION, self.spec.stage, self.spec_digest, self.attempt, self.pod_uid, self.shard, self.shards)

    def check_stop(self) -> None:
        """Ends the stage when it was told to stop. Called where everything done so far is in the store."""
        if self.stop.is_set():
            raise Interrupted

    def pace(self) -> None:
        """Waits as long as the setting WAN_PACE_MILLISECONDS asks for, so that tests can interrupt in between."""
        if self.pace_seconds:
            self.stop.wait(self.pace_seconds)

    def key(self, name: str) -> str:
        """Where this pod puts the file of a name."""
        return f"{directory(self.spec.output, self.attempt, self.pod_uid, self.shard)}/{name}"

    def read(self, a: Artifact, limit: int) -> bytes:
        """Reads an input, checks its digest and records it."""
        data = self.store.read(a, limit)
        self.manifest.inputs[a.key] = a.digest or digest(data)
        return data

    def write(self, name: str, data: bytes) -> Artifact:
        """Stores a file below this pod's own prefix and lists it in the manifest."""
        f: File = self.store.write(self.key(name), data)
        self.manifest.files.append(f)
        return f.artifact

    def output(self, name: str, a: Artifact) -> None:
        self.manifest.outputs[name] = a

    def count(self, **counts: int) -> None:
        self.manifest.counts.update(counts)

    def metric(self, name: str, value: float) -> None:
        self.progress.metric(name, value)
        self.manifest.metrics[name] = decimal(value)

    def read_prompts(self, a: Artifact) -> dict[str, records.PromptLine]:
        try:
            return records.read_prompts(self.read(a, MAX_PROMPTS), a.key)
        except ValueError as e:
            raise bad_spec(f"prompts {e}") from e

    def read_items(self, prompts: Artifact, index: Artifact) -> list[Item]:
        """The lines of the index that are this shard's."""
        by_id = self.read_prompts(prompts)
        try:
            lines = records.read_index(self.read(index, MAX_INDEX), index.key)
        except ValueError as e:
            raise bad_input(f"index {e}") from e
        items = []
        for position, line in enumerate(lines):
            if line.prompt_id not in by_id:
                raise bad_input(f"index {index.key}: sample {line.sample_id} is of prompt {line.prompt_id!r}, which the prompts lack")
            if not valid_key(line.sample_id):
                raise bad_input(f"index {index.key}: sample {line.sample_id!r} is no valid id")
            if position % self.shards == self.shard:
                items.append(Item(line, by_id[line.prompt_id]))
        return items
