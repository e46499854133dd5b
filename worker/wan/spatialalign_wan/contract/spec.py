"""The spec of a stage, decoded and checked before anything is read or loaded."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .exits import bad_spec
from .keys import check_key, digest, hex_hash, valid_digest
from .strict import build, decode

VERSION = "v1"
MAX_SPEC = 256 << 10  # what Kubernetes allows of annotations

_DEVICE = re.compile(r"[!-~]([ -~]{0,62}[!-~])?")
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?(e[+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Artifact:
    """A file in the store, pinned by digest; the digest is empty only where a user names an input without one."""

    key: str
    digest: str = field(default="", metadata={"omit_default": True})


@dataclass(frozen=True)
class Model:
    name: str
    digest: str


@dataclass(frozen=True)
class Sampling:
    """Everything but prompt and seed that a sample's content depends on. What is absent is the runtime's own."""

    model: Model
    numerics_revision: str
    adapter: Artifact | None = None
    steps: int = 0
    guidance_scale: str = field(default="", metadata={"omit_default": True})
    negative_prompt: str = field(default="", metadata={"omit_default": True})
    frames: int = field(default=0, metadata={"omit_default": True})
    width: int = field(default=0, metadata={"omit_default": True})
    height: int = field(default=0, metadata={"omit_default": True})
    device: str = field(default="", metadata={"omit_default": True})


@dataclass(frozen=True)
class EncodeSpec:
    """Not of the operator's own stages: for admins who encode a prompt set before any GPU samples it."""

    prompts: Artifact
    model: Model
    numerics_revision: str
    negative_prompt: str = ""


@dataclass(frozen=True)
class SampleSpec:
    prompts: Artifact
    index: Artifact
    sampling: Sampling
    keep_latents: bool = False


@dataclass(frozen=True)
class Detector:
    name: str
    digest: str
    revision: str


@dataclass(frozen=True)
class TrackSpec:
    prompts: Artifact
    index: Artifact
    detector: Detector
    require_videos: bool = False


@dataclass(frozen=True)
class Training:
    """Hyperparameters; decimals are strings, so that every language reads the same number."""

    steps: int
    schedule_steps: int
    warmup_steps: int
    checkpoint_every_steps: int
    pairs_per_step: int
    learning_rate: str
    beta: str
    regularization: str = field(metadata={"json": "lambda"})
    margin_clip: str
    lora_rank: int
    lora_alpha: int


@dataclass(frozen=True)
class TrainSpec:
    prompts: Artifact
    pairs: Artifact
    model: Model
    numerics_revision: str
    seed: int
    iteration: int
    training: Training
    start_adapter: Artifact | None = None
    reference_adapter: Artifact | None = None


@dataclass(frozen=True)
class Spec:
    contract_version: str
    stage: str
    output: str
    encode: EncodeSpec | None = None
    sample: SampleSpec | None = None
    track: TrackSpec | None = None
    train: TrainSpec | None = None


STAGES = ("encode", "sample", "track", "train")


def read_spec(file: str, want_digest: str, stage: str) -> Spec:
    """Reads the spec's file and refuses any other than the one that the arguments name."""
    try:
        data = Path(file).read_bytes()
    except OSError as e:
        raise bad_spec(f"--spec: {e}") from e
    if len(data) > MAX_SPEC:
        raise bad_spec(f"--spec {file}: {len(data)} bytes, at most {MAX_SPEC} are allowed")
    if (got := digest(data)) != want_digest:
        raise bad_spec(f"--spec {file} has digest {got}, not {want_digest} as --spec-digest says")
    try:
        return decode_spec(data, stage)
    except (ValueError, RecursionError) as e:
        raise bad_spec(f"spec {file}: {e}") from e


def decode_spec(data: bytes, stage: str) -> Spec:
    # The version comes first, so that a newer spec is refused for its version and not for its fields.
    document = decode(data)
    version = document.get("contractVersion") if isinstance(document, dict) else None
    if isinstance(version, str) and version != VERSION:
        raise ValueError(f"contractVersion is {version!r}, this program knows {VERSION}")
    spec = build(Spec, document, "")
    if spec.stage != stage:
        raise ValueError(f"stage is {spec.stage!r}, but the program was called as {stage!r}")
    try:
        check_key(spec.output)
    except ValueError as e:
        raise ValueError(f"output: {e}") from e
    blocks = {name: block for name in STAGES if (block := getattr(spec, name)) is not None}
    if set(blocks) != {stage}:
        raise ValueError(f"exactly the block {stage!r} must be set")
    _CHECKS[stage](blocks[stage])
    return spec


def _check_encode(s: EncodeSpec) -> None:
    _pinned("encode.prompts", s.prompts)
    _model("encode.model", s.model)


def _check_sample(s: SampleSpec) -> None:
    _pinned("sample.prompts", s.prompts)
    _pinned("sample.index", s.index)
    check_sampling("sample.sampling", s.sampling)


def _check_track(s: TrackSpec) -> None:
    if not s.detector.name or not valid_digest(s.detector.digest):
        raise ValueError(f"track.detector: name {s.detector.name!r} and digest {s.detector.digest!r} must both be set")
    _input("track.prompts", s.prompts)
    _input("track.index", s.index)


def _check_train(s: TrainSpec) -> None:
    t = s.training
    for name in ("steps", "pairs_per_step", "lora_rank", "lora_alpha"):
        if getattr(t, name) < 1:
            raise ValueError(f"train.training.{name} is {getattr(t, name)}, want at least 1")
    if t.schedule_steps < t.steps:
        raise ValueError(f"train.training.scheduleSteps is {t.schedule_steps}, want at least the {t.steps} of steps")
    if not 0 <= t.warmup_steps <= t.schedule_steps:
        raise ValueError(f"train.training.warmupSteps is {t.warmup_steps}, want 0 to the {t.schedule_steps} of scheduleSteps")
    if t.checkpoint_every_steps < 0:
        raise ValueError(f"train.training.checkpointEverySteps is {t.checkpoint_every_steps}, want at least 0")
    _pinned("train.prompts", s.prompts)
    _pinned("train.pairs", s.pairs)
    _model("train.model", s.model)
    for name, artifact in (("startAdapter", s.start_adapter), ("referenceAdapter", s.reference_adapter)):
        if artifact is not None:
            _pinned(f"train.{name}", artifact)
    decimal("train.training.learningRate", t.learning_rate, 1)
    decimal("train.training.beta", t.beta)
    decimal("train.training.lambda", t.regularization)
    decimal("train.training.marginClip", t.margin_clip)


_CHECKS: dict[str, Any] = {"encode": _check_encode, "sample": _check_sample, "track": _check_track, "train": _check_train}


def check_sampling(where: str, s: Sampling) -> None:
    if s.steps < 1:
        raise ValueError(f"{where}.steps is {s.steps}, want at least 1")
    if min(s.frames, s.width, s.height) < 0:
        raise ValueError(f"{where}: frames {s.frames}, width {s.width}, height {s.height}: want at least 1, or 0 for the runtime's own")
    if s.guidance_scale:
        decimal(f"{where}.guidanceScale", s.guidance_scale)
    if s.device and not _DEVICE.fullmatch(s.device):
        raise ValueError(f"{where}.device is {s.device!r}, want a GPU model of 1 to 64 printable characters")
    if s.adapter is not None:
        _pinned(f"{where}.adapter", s.adapter)
    _model(f"{where}.model", s.model)


def decimal(where: str, text: str, high: float = 1e6) -> float:
    value = float(text) if _DECIMAL.fullmatch(text) else math.nan
    if not 0 <= value <= high:
        raise ValueError(f"{where} is {text!r}, want a decimal from 0 to {high:g}")
    return value


def _model(where: str, m: Model) -> None:
    if not m.name or not valid_digest(m.digest):
        raise ValueError(f"{where}: name {m.name!r} and digest {m.digest!r} must both be set")


def _input(where: str, a: Artifact) -> None:
    try:
        check_key(a.key)
    except ValueError as e:
        raise ValueError(f"{where}: {e}") from e
    if a.digest and not valid_digest(a.digest):
        raise ValueError(f"{where}: digest {a.digest!r} is not sha256: and 64 hex digits")


def _pinned(where: str, a: Artifact) -> None:
    _input(where, a)
    if not a.digest:
        raise ValueError(f"{where}: the digest of {a.key} is not set")


def sample_key(s: Sampling, prompt: str, seed: int) -> str:
    """Addresses a sample by its inputs. The adapter enters by digest, its key does not."""
    parts = ["sample", s.model.digest, s.numerics_revision, s.adapter.digest if s.adapter else "", str(s.steps)]
    if s.guidance_scale or s.negative_prompt or s.frames or s.width or s.height:
        parts += [s.guidance_scale, s.negative_prompt, str(s.frames), str(s.width), str(s.height)]
    if s.device:
        parts += ["device", s.device]
    return hex_hash(*parts, prompt, str(seed))
