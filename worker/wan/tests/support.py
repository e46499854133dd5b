"""A store and pods that run in this process: the whole program but for its start, so that PyTorch is imported once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spatialalign_wan.cli import main
from spatialalign_wan.contract import keys, spec
from spatialalign_wan.contract.store import Store
from spatialalign_wan.models import settings, weights

PROMPTS = [
    {"promptID": "p1", "type": "LR", "subject": "rabbit", "object": "stone", "prompt": "a rabbit is on the left of a stone"},
    {"promptID": "p2", "type": "TL", "subject": "cat", "object": "hydrant", "prompt": "a cat is on top of a hydrant"},
]

TRAINING = {
    "steps": 3, "scheduleSteps": 4, "warmupSteps": 1, "checkpointEverySteps": 1, "pairsPerStep": 2, "learningRate": "0.01",
    "beta": "1", "lambda": "0.5", "marginClip": "5", "loraRank": 2, "loraAlpha": 2,
}  # fmt: skip


@dataclass
class Ended:
    code: int
    word: dict[str, Any]

    @property
    def message(self) -> str:
        return str(self.word.get("message", ""))


@dataclass
class World:
    """A store that fills up, and the weights."""

    root: Path
    model: Path
    environ: dict[str, str] = field(default_factory=dict)
    pods: int = 0

    def __post_init__(self) -> None:
        self.folder = self.root / "store"
        self.store = Store.open(f"file://{self.folder}")
        self.model_spec = {"name": "tiny", "digest": weights.identify(self.model).digest}
        self.prompts = self.put_lines("in/prompts.jsonl", PROMPTS)

    def put_lines(self, key: str, lines: list[dict[str, Any]]) -> dict[str, str]:
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self.store.write(key, data)
        return {"key": key, "digest": keys.digest(data)}

    def sampling(self, **more: Any) -> dict[str, Any]:
        return {"model": self.model_spec, "numericsRevision": settings.NUMERICS_REVISION, "steps": 2, **more}

    def index(
        self, sampling: Mapping[str, Any], seeds: int = 2, first: int = 1, prompts: list[dict[str, str]] = PROMPTS
    ) -> list[dict[str, Any]]:
        from spatialalign_wan.contract.strict import build

        typed = build(spec.Sampling, dict(sampling), "")
        lines = [
            {"sampleID": spec.sample_key(typed, p["prompt"], seed), "promptID": p["promptID"], "seed": seed}
            for p in prompts
            for seed in range(first, first + seeds)
        ]
        return sorted(lines, key=lambda line: line["sampleID"])

    def spec(self, stage: str, output: str, block: dict[str, Any]) -> dict[str, Any]:
        return {"contractVersion": "v1", "stage": stage, "output": output, stage: block}

    def sample_spec(self, output: str, seeds: int = 2, first: int = 1, **sampling: Any) -> dict[str, Any]:
        asked = self.sampling(**sampling)
        lines = self.index(asked, seeds, first)
        index = self.put_lines(f"in/index-{output.replace('/', '-')}.jsonl", lines)
        return self.spec("sample", output, {"prompts": self.prompts, "index": index, "sampling": asked, "keepLatents": True})

    def train_spec(self, output: str, pairs: list[dict[str, Any]], training: Mapping[str, Any] = TRAINING, **more: Any) -> dict[str, Any]:
        block = {
            "prompts": self.prompts, "pairs": self.put_lines(f"in/pairs-{output.replace('/', '-')}.jsonl", pairs),
            "model": self.model_spec, "numericsRevision": settings.NUMERICS_REVISION, "seed": 1, "iteration": 1,
            "training": dict(training), **more,
        }  # fmt: skip
        return self.spec("train", output, block)

    def pairs(self, swapped: bool = False) -> list[dict[str, Any]]:
        """The first two samples of each prompt, whichever looks better."""
        lines, pairs = self.index(self.sampling()), []
        for p in PROMPTS:
            winner, loser = [line["sampleID"] for line in lines if line["promptID"] == p["promptID"]][:2][:: -1 if swapped else 1]
            pairs.append(
                {"promptID": p["promptID"], "iteration": 1, "winner": winner, "loser": loser, "winnerScore": 0.9, "loserScore": 0.1}
            )
        return pairs

    def run(
        self, document: dict[str, Any] | bytes, stage: str = "", attempt: int = 0, shard: int = 0, shards: int = 1, **environ: str
    ) -> Ended:
        self.pods += 1
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        stage = stage or (json.loads(data)["stage"] if not isinstance(document, bytes) else "sample")
        file, last_word = self.root / f"spec-{self.pods}.json", self.root / f"termination-{self.pods}"
        file.write_bytes(data)
        last_word.touch()
        surroundings = {
            "SPATIALALIGN_STORE": f"file://{self.folder}", "SPATIALALIGN_POD_UID": f"uid-{self.pods}",
            "SPATIALALIGN_ATTEMPT": str(attempt), "SPATIALALIGN_SHARDS": str(shards), "JOB_COMPLETION_INDEX": str(shard),
            "SPATIALALIGN_PROGRESS_ADDRESS": "127.0.0.1:0", "SPATIALALIGN_TERMINATION_LOG": str(last_word),
            "WAN_MODEL_PATH": str(self.model), **self.environ, **environ,
        }  # fmt: skip
        with changed_environment(surroundings):
            code = main([stage, "--spec", str(file), "--spec-digest", keys.digest(data)])
        return Ended(code, json.loads(last_word.read_bytes()))

    def done(self, document: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Runs a pod that must succeed, and gives its manifest."""
        end = self.run(document, **more)
        assert end.code == 0, end.message
        manifest: dict[str, Any] = json.loads(self.read(end.word["manifest"]))
        return manifest | {"word": end.word}

    def read(self, artifact: Mapping[str, str]) -> bytes:
        return self.store.read(spec.Artifact(artifact["key"], artifact["digest"]), 1 << 30)

    def file(self, manifest: Mapping[str, Any], name: str) -> bytes:
        (found,) = [f for f in manifest["files"] if f["key"].endswith("/" + name)]
        return self.read(found)


@contextmanager
def changed_environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
