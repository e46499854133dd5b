"""A detector that knows words by their colours: for tests, and for the videos of the synthetic runtime.

It does what that runtime's own does (docs/synthetic.md): connected spots of a class's colour are its detections.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..contract.exits import bad_spec
from ..contract.keys import digest
from ..contract.records import Box, TrackFrame
from ..contract.spec import Detector as Identity
from ..models.video import Frames
from .rules import Anchor, Detection, Role

RGB = tuple[int, int, int]

SUBJECTS: dict[str, RGB] = {
    "bird": (0, 128, 255), "cat": (255, 128, 0), "dog": (128, 0, 0), "duck": (255, 255, 0), "fox": (255, 0, 0),
    "goat": (255, 255, 128), "horse": (128, 0, 128), "monkey": (128, 0, 255), "pig": (255, 128, 255), "rabbit": (255, 0, 255),
    "squirrel": (255, 0, 128), "turtle": (0, 128, 0),
}  # fmt: skip
OBJECTS: dict[str, RGB] = {
    "barrel": (128, 128, 0), "bench": (0, 128, 128), "bucket": (0, 255, 255), "chair": (0, 0, 128), "crate": (255, 128, 128),
    "desk": (128, 128, 255), "hydrant": (0, 255, 0), "lamp": (128, 255, 0), "log": (0, 255, 128), "mailbox": (0, 0, 255),
    "stone": (128, 255, 128), "table": (128, 255, 255),
}  # fmt: skip

TOLERANCE = 70  # of a pixel's colour: sum over the channels of the distance to the class colour
MIN_PIXELS = 4  # smaller spots are no detection


def known_colours() -> bytes:
    """The table as the synthetic runtime digests it."""
    rows = [f"{word} {{{r} {g} {b}}}\n" for looks in (SUBJECTS, OBJECTS) for word, (r, g, b) in looks.items()]
    return "".join(rows).encode()


class ColourBlobs:
    batch = 16

    def __init__(self) -> None:
        self.identity = Identity("colour-blobs", digest(known_colours()), "1")

    def detect(self, pictures: Frames, subject: str, obj: str) -> Iterator[list[Detection]]:
        for picture in pictures:
            roles = self._roles(picture, subject, obj)
            yield [Detection(role, box) for role in Role for box in spots(roles[role])]

    def follow(self, frames: Frames, anchor: Anchor, subject: str, obj: str) -> list[TrackFrame]:
        """Colours need no anchor: each frame's box is that around all spots of the role."""
        found = []
        for index, picture in enumerate(frames):
            roles = self._roles(picture, subject, obj)
            found.append(TrackFrame(index, around(spots(roles[Role.SUBJECT])), around(spots(roles[Role.OBJECT]))))
        return found

    def _roles(self, picture: NDArray[np.uint8], subject: str, obj: str) -> dict[Role, NDArray[np.bool_]]:
        """Every pixel has the role whose colour it has within the tolerance, the nearer of two, none of a tie."""
        to_subject = _distance(picture, _colour(SUBJECTS, "subject", subject))
        to_object = _distance(picture, _colour(OBJECTS, "object", obj))
        return {
            Role.SUBJECT: (to_subject <= TOLERANCE) & (to_subject < to_object),
            Role.OBJECT: (to_object <= TOLERANCE) & (to_object < to_subject),
        }


def _colour(looks: dict[str, RGB], what: str, word: str) -> RGB:
    if word not in looks:
        raise bad_spec(f"the colour detector knows no {what} {word!r}; it knows {', '.join(looks)}")
    return looks[word]


def _distance(picture: NDArray[np.uint8], colour: RGB) -> NDArray[np.int32]:
    out: NDArray[np.int32] = np.abs(picture.astype(np.int32) - np.array(colour, dtype=np.int32)).sum(axis=2, dtype=np.int32)
    return out


def spots(mask: NDArray[np.bool_]) -> list[Box]:
    """Boxes, in inclusive pixel indices, of connected spots; pixels that touch at a corner are connected."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    boxes: list[Box] = []
    while left:
        stack = [left.pop()]
        spot = []
        while stack:
            y, x = stack.pop()
            spot.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            stack.extend(near)
        if len(spot) >= MIN_PIXELS:
            ys, xs = [y for y, _ in spot], [x for _, x in spot]
            boxes.append((float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))))
    return sorted(boxes)


def around(boxes: Sequence[Box]) -> Box | None:
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return (min(lefts), min(tops), max(rights), max(bottoms))
