"""The method's rules: which frames are valid, when a sample is INVALID, and where tracking starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from ..contract.records import NO_STABLE_RUN, TOO_FEW_VALID, TOO_MANY_REDUNDANT, Box

MAX_REDUNDANT = 16  # more redundant frames than that make a sample INVALID
MIN_VALID = 20
STABLE_RUN = 4

MAX_FRAMES = 81  # of a video, those that are looked at


class Role(Enum):
    SUBJECT = "subject"
    OBJECT = "object"


@dataclass(frozen=True)
class Detection:
    role: Role | None
    """None where neither word, or both, name what was found."""
    box: Box


class FrameClass(Enum):
    VALID = "valid"
    MISS = "miss"
    REDUNDANT = "redundant"


def classify(detections: Sequence[Detection]) -> FrameClass:
    if len(detections) < 2:
        return FrameClass.MISS
    if len(detections) == 2 and {d.role for d in detections} == {Role.SUBJECT, Role.OBJECT}:
        return FrameClass.VALID
    return FrameClass.REDUNDANT


@dataclass(frozen=True)
class Anchor:
    """The frame from which both roles are tracked, forwards and backwards."""

    frame: int
    subject: Box
    object: Box


@dataclass(frozen=True)
class Verdict:
    """Either a reason why the sample is INVALID, or an anchor."""

    reason: str
    anchor: Anchor | None
    valid: int
    redundant: int
    miss: int
    unseen: int
    """Frames not looked at: detection stopped as soon as the reason was certain, and the other counts are those until then."""


class Rules:
    """Takes the frames of one sample in order. What it decides does not depend on how they were batched."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._seen: list[FrameClass] = []
        self._run = 0
        self._run_boxes: list[Sequence[Detection]] = []
        self._anchor: Anchor | None = None

    def add(self, detections: Sequence[Detection]) -> None:
        kind = classify(detections)
        self._seen.append(kind)
        if kind is not FrameClass.VALID:
            self._run, self._run_boxes = 0, []
            return
        self._run += 1
        self._run_boxes.append(detections)
        if self._run == STABLE_RUN and self._anchor is None:
            boxes = {d.role: d.box for d in self._run_boxes[0]}
            self._anchor = Anchor(len(self._seen) - STABLE_RUN, boxes[Role.SUBJECT], boxes[Role.OBJECT])

    def certain(self) -> bool:
        """No frame to come can change why the sample is INVALID."""
        left = self._frames - len(self._seen)
        redundant, valid = self._seen.count(FrameClass.REDUNDANT), self._seen.count(FrameClass.VALID)
        if redundant > MAX_REDUNDANT:
            return True
        # Redundant frames are looked at first: they must no longer be able to become too many.
        return redundant + left <= MAX_REDUNDANT and valid + left < MIN_VALID

    def verdict(self) -> Verdict:
        redundant, valid = self._seen.count(FrameClass.REDUNDANT), self._seen.count(FrameClass.VALID)
        reason = ""
        if redundant > MAX_REDUNDANT:
            reason = TOO_MANY_REDUNDANT
        elif valid < MIN_VALID:
            reason = TOO_FEW_VALID
        elif self._anchor is None:
            reason = NO_STABLE_RUN
        miss, unseen = self._seen.count(FrameClass.MISS), self._frames - len(self._seen)
        return Verdict(reason, None if reason else self._anchor, valid, redundant, miss, unseen)


def judge(frames: int, batch: int, detect: Callable[[int, int], Iterable[Sequence[Detection]]]) -> Verdict:
    """Applies the rules to what detect(first, last) finds, batch by batch, no further than is needed."""
    rules = Rules(frames)
    for first in range(0, frames, batch):
        for detections in detect(first, min(first + batch, frames)):
            if rules.certain():
                break
            rules.add(detections)
        if rules.certain():
            break
    return rules.verdict()
