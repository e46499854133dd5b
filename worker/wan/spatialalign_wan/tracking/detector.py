"""What every detector offers, and how a video is tracked with one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ..contract.records import INVALID, TRACKED, FrameCounts, TrackFrame, TrackLine
from ..contract.spec import Detector as Identity
from ..models.video import Frames
from . import rules
from .rules import Anchor, Detection


class Detector(Protocol):
    """Finds subject and object in pictures, and follows both through a video from an anchor."""

    identity: Identity
    batch: int

    def detect(self, pictures: Frames, subject: str, obj: str) -> Iterable[Sequence[Detection]]: ...
    def follow(self, frames: Frames, anchor: Anchor, subject: str, obj: str) -> list[TrackFrame]: ...


def track(detector: Detector, frames: Frames, subject: str, obj: str) -> TrackLine:
    """A video's track line, without the ids of a sample."""
    count, height, width, _ = frames.shape
    verdict = rules.judge(count, detector.batch, lambda first, last: detector.detect(frames[first:last], subject, obj))
    counts = FrameCounts(verdict.valid, verdict.redundant, verdict.miss, verdict.unseen)
    line = TrackLine(width=width, height=height, frame_count=count, status=INVALID, reason=verdict.reason, counts=counts)
    if verdict.anchor is not None:
        followed = detector.follow(frames, verdict.anchor, subject, obj)
        line.status, line.frames = TRACKED, sorted(followed, key=lambda frame: frame.index)
    return line
