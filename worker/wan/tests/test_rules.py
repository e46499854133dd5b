"""The method's rules, against planted detections: each INVALID reason, and each boundary from both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from spatialalign_wan.contract.records import NO_STABLE_RUN, TOO_FEW_VALID, TOO_MANY_REDUNDANT, TrackFrame
from spatialalign_wan.contract.spec import Detector as Identity
from spatialalign_wan.models.video import Frames
from spatialalign_wan.tracking.detector import track
from spatialalign_wan.tracking.rules import Anchor, Detection, FrameClass, Role, classify, judge

S, O, U = (Detection(role, (0.0, 0.0, 1.0, 1.0)) for role in (Role.SUBJECT, Role.OBJECT, None))

# v: valid, m: miss, r: redundant
PLANTED = {"v": [S, O], "m": [S], "r": [S, O, U]}


def verdict_of(pattern: str, batch: int = 1) -> tuple[str, int | None]:
    v = judge(len(pattern), batch, lambda first, last: [PLANTED[c] for c in pattern[first:last]])
    return v.reason, v.anchor.frame if v.anchor else None


@pytest.mark.parametrize(
    ("detections", "want"),
    [
        ([], FrameClass.MISS), ([S], FrameClass.MISS), ([U], FrameClass.MISS), ([S, O], FrameClass.VALID), ([O, S], FrameClass.VALID),
        ([S, S], FrameClass.REDUNDANT), ([S, U], FrameClass.REDUNDANT), ([U, U], FrameClass.REDUNDANT), ([S, O, O], FrameClass.REDUNDANT),
        ([S, O, U], FrameClass.REDUNDANT),
    ],
)  # fmt: skip
def test_a_frame_is_valid_with_exactly_one_of_each(detections: Sequence[Detection], want: FrameClass) -> None:
    assert classify(detections) is want


CASES = [
    ("v" * 81, "", 0),
    # 16 redundant frames are fine, 17 are too many.
    ("v" * 65 + "r" * 16, "", 0),
    ("v" * 64 + "r" * 17, TOO_MANY_REDUNDANT, None),
    # 19 valid frames are too few, 20 are enough.
    ("v" * 19 + "m" * 62, TOO_FEW_VALID, None),
    ("v" * 20 + "m" * 61, "", 0),
    # Runs of 3 are not stable, one of 4 is, and its first frame is the anchor.
    ("vvvm" * 20, NO_STABLE_RUN, None),
    ("vvvm" * 19 + "vvvv", "", 76),
    ("mvvvrvvvvvvm" + "v" * 20, "", 5),
    # Redundant frames are looked at first, whatever else is wrong.
    ("r" * 17 + "m" * 64, TOO_MANY_REDUNDANT, None),
    ("m" * 64 + "r" * 17, TOO_MANY_REDUNDANT, None),
    ("r" * 16 + "m" * 65, TOO_FEW_VALID, None),
    # Too few valid frames come before no stable run.
    ("vvvm" * 6, TOO_FEW_VALID, None),
    ("v" * 19, TOO_FEW_VALID, None),
    ("v" * 20, "", 0),
    ("m" * 81, TOO_FEW_VALID, None),
]


@pytest.mark.parametrize(("pattern", "reason", "anchor"), CASES)
@pytest.mark.parametrize("batch", [1, 7, 16, 81])
def test_the_verdict_does_not_depend_on_the_batches(pattern: str, reason: str, anchor: int | None, batch: int) -> None:
    if reason == TOO_FEW_VALID and pattern == "vvvm" * 6:
        assert pattern.count("v") == 18
    assert verdict_of(pattern, batch) == (reason, anchor)


def test_detection_stops_when_the_reason_is_certain() -> None:
    looked = []

    def detect(first: int, last: int) -> Iterator[list[Detection]]:
        looked.append(last)
        return iter([PLANTED["r"]] * (last - first))

    v = judge(81, 8, detect)
    assert (v.reason, v.unseen, v.redundant, looked[-1]) == (TOO_MANY_REDUNDANT, 64, 17, 24)


def test_misses_alone_stop_it_only_when_no_redundant_frames_can_become_too_many() -> None:
    v = judge(81, 1, lambda first, last: [PLANTED["m"]] * (last - first))
    assert (v.reason, v.unseen, v.miss) == (TOO_FEW_VALID, 16, 65)  # 16 frames are left


class Planted:
    """A detector that finds what it was told, and follows with boxes that tell the anchor."""

    identity, batch = Identity("planted", "", "1"), 5

    def __init__(self, pattern: str) -> None:
        self._frames = iter(pattern)
        self.anchors: list[Anchor] = []

    def detect(self, pictures: Frames, subject: str, obj: str) -> Iterator[list[Detection]]:
        for _ in pictures:
            yield PLANTED[next(self._frames)]

    def follow(self, frames: Frames, anchor: Anchor, subject: str, obj: str) -> list[TrackFrame]:
        self.anchors.append(anchor)
        return [TrackFrame(i, anchor.subject, None) for i in reversed(range(len(frames)))]


def test_a_tracked_line_has_its_frames_in_order() -> None:
    planted = Planted("mm" + "v" * 28)
    done = track(planted, np.zeros((30, 8, 16, 3), np.uint8), "cat", "box")
    assert [frame.index for frame in done.frames] == list(range(30))
    assert (done.status, done.width, done.height, planted.anchors[0].frame) == ("Tracked", 16, 8, 2)


def test_an_invalid_sample_is_not_followed() -> None:
    planted = Planted("m" * 30)
    done = track(planted, np.zeros((30, 8, 8, 3), np.uint8), "cat", "box")
    assert (done.status, done.reason, done.frames, planted.anchors) == ("Invalid", TOO_FEW_VALID, [], [])
