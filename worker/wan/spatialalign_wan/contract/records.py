"""The lines of the JSONL files that stages exchange."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from .spec import Artifact
from .strict import build, decode, dump, to_json

MAX_LINE = 4 << 20

Box = tuple[float, float, float, float]
"""[left, top, right, bottom] in pixels, y pointing down."""

TYPES = ("LR", "LT", "RL", "RT", "TL", "TR")

TRACKED, INVALID = "Tracked", "Invalid"
NO_VIDEO = "NoVideo"
TOO_MANY_REDUNDANT = "TooManyRedundantFrames"
TOO_FEW_VALID = "TooFewValidFrames"
NO_STABLE_RUN = "NoStableRun"
TOO_FEW_USABLE = "TooFewUsableFrames"
REASONS = ("", NO_VIDEO, TOO_MANY_REDUNDANT, TOO_FEW_VALID, NO_STABLE_RUN, TOO_FEW_USABLE)

T = TypeVar("T")


@dataclass(frozen=True)
class PromptLine:
    prompt_id: str
    type: str
    subject: str
    object: str
    prompt: str
    scene: str = ""


@dataclass(frozen=True)
class IndexLine:
    sample_id: str
    prompt_id: str
    seed: int
    video: Artifact | None = None


@dataclass(frozen=True)
class PairLine:
    prompt_id: str
    iteration: int
    winner: str
    loser: str
    winner_score: float
    loser_score: float


@dataclass(frozen=True)
class TrackFrame:
    index: int
    subject: Box | None = None
    object: Box | None = None


GUARDS = ("clipIQAQuality", "clipIQANatural", "identityConsistency")
"""Guard metrics of a video, from -1 to 1, better when higher."""


@dataclass(frozen=True)
class FrameCounts:
    """What a video's frames were to the detector. Those unseen were not looked at: the other counts are partial then."""

    valid: int
    redundant: int
    miss: int
    unseen: int


@dataclass
class TrackLine:
    sample_id: str = ""
    prompt_id: str = ""
    seed: int = 0
    width: int = 0
    height: int = 0
    frame_count: int = 0
    status: str = TRACKED
    reason: str = ""
    frames: list[TrackFrame] = field(default_factory=list)
    counts: FrameCounts | None = None
    guards: dict[str, float] | None = None
    """None where nobody measured them; a metric that this video cannot have is left out."""

    def check(self) -> None:
        if self.status not in (TRACKED, INVALID) or self.reason not in REASONS or (self.status == INVALID) != (self.reason != ""):
            raise ValueError(f"status {self.status!r} and reason {self.reason!r} do not fit")
        seen: set[int] = set()
        for frame in self.frames:
            if not 0 <= frame.index < self.frame_count or frame.index in seen:
                raise ValueError(f"frame {frame.index} lies outside the {self.frame_count} frames, or is given twice")
            seen.add(frame.index)
        if (c := self.counts) is not None and c.valid + c.redundant + c.miss + c.unseen != self.frame_count:
            raise ValueError(f"{c} are not those of {self.frame_count} frames")
        for name, value in (self.guards or {}).items():
            if name not in GUARDS or not -1 <= value <= 1:
                raise ValueError(f"guards: {name} {value} is not one of {', '.join(GUARDS)} from -1 to 1")


def lines(data: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers, without blank ones and a byte order mark at the beginning."""
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if len(line) > MAX_LINE:
            raise ValueError(f"{name}, line {number}: more than {MAX_LINE} bytes")
        if line.strip():
            yield number, line


def read(cls: type[T], data: bytes, name: str) -> Iterator[T]:
    for number, line in lines(data, name):
        try:
            yield build(cls, decode(line), "")
        except (ValueError, RecursionError) as e:
            raise ValueError(f"{name}, line {number}: {e}") from e


def read_prompts(data: bytes, name: str) -> dict[str, PromptLine]:
    found: dict[str, PromptLine] = {}
    for line in read(PromptLine, data, name):
        if line.type not in TYPES:
            raise ValueError(f"{name}: prompt {line.prompt_id!r}: type {line.type!r} is none of {', '.join(TYPES)}")
        for what in ("prompt_id", "subject", "object", "prompt"):
            if not getattr(line, what).strip():
                raise ValueError(f"{name}: prompt {line.prompt_id!r}: {what} is empty")
        if line.prompt_id in found:
            raise ValueError(f"{name}: prompt {line.prompt_id!r} occurs twice")
        found[line.prompt_id] = line
    return found


def read_index(data: bytes, name: str) -> list[IndexLine]:
    found: list[IndexLine] = []
    for line in read(IndexLine, data, name):
        if not 0 <= line.seed < 1 << 64:
            raise ValueError(f"{name}: sample {line.sample_id}: seed {line.seed} is not of 64 bits")
        if found and line.sample_id <= found[-1].sample_id:
            raise ValueError(f"{name}: sample {line.sample_id} must come after sample {found[-1].sample_id}, once and in order")
        found.append(line)
    return found


def read_pairs(data: bytes, name: str) -> list[PairLine]:
    found = list(read(PairLine, data, name))
    for line in found:
        if not line.winner_score > line.loser_score:
            raise ValueError(f"{name}: the winner's score {line.winner_score} is not above the loser's {line.loser_score}")
    if not found:
        raise ValueError(f"{name}: there are no pairs")
    return found


def to_lines(records: Iterable[object]) -> bytes:
    return b"".join(dump(record) + b"\n" for record in records)


def track_json(line: TrackLine) -> bytes:
    """A track line with its frames compact: whole pixels without a point."""

    def box(b: Box) -> list[float]:
        return [int(x) if x == int(x) else x for x in b]

    frames = []
    for frame in line.frames:
        out: dict[str, object] = {"index": frame.index}
        if frame.subject is not None:
            out["subject"] = box(frame.subject)
        if frame.object is not None:
            out["object"] = box(frame.object)
        frames.append(out)
    record: dict[str, object] = {
        "sampleID": line.sample_id, "promptID": line.prompt_id, "seed": line.seed, "width": line.width, "height": line.height,
        "frameCount": line.frame_count, "status": line.status, "reason": line.reason, "frames": frames,
    }  # fmt: skip
    if line.counts is not None:
        record["counts"] = to_json(line.counts)
    if line.guards is not None:
        record["guards"] = line.guards
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
