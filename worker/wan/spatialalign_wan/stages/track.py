"""track: the boxes of subject and object in the videos of an index. The tracks of a video are kept under its digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract import records, samples
from ..contract.exits import bad_input, bad_spec, mismatch
from ..contract.keys import digest, track_key, track_part
from ..contract.records import INVALID, NO_VIDEO, TRACKED, TrackLine
from ..contract.spec import Artifact
from ..contract.spec import Detector as Identity
from ..contract.store import StoreError
from ..contract.strict import to_json
from ..contract.task import Item, Task
from ..models import settings, weights

if TYPE_CHECKING:
    from ..models.video import Frames
    from ..tracking.detector import Detector
    from ..tracking.guard import Guard

MAX_VIDEO = 256 << 20


@dataclass(frozen=True)
class Choice:
    """The detector of this image: who it is, known without loading it, and how to load it and the guard metrics' models."""

    identity: Identity
    load: Callable[[], Detector]
    load_guard: Callable[[], Guard] | None = None


def choose(task: Task) -> Choice:
    choice, guards = _detector(task), guard_folder(task.environ)
    if guards is None:
        return choice

    def load() -> Guard:
        from ..models.loading import device
        from ..tracking.guard import Guard

        return Guard(guards, device())

    from ..tracking import identities

    return Choice(identities.with_guards(choice.identity, weights.identify(guards).digest), choice.load, load)


def guard_folder(environ: Mapping[str, str]) -> Path | None:
    if not environ.get("WAN_GUARD_PATH"):
        return None
    from ..tracking.guard_files import PATTERNS

    return weights.folder(environ, "WAN_GUARD_PATH", PATTERNS)


def _detector(task: Task) -> Choice:
    name, batch = task.environ.get("WAN_DETECTOR") or "grounding-dino", settings.detector_batch(task.environ)
    if name == "colour-blobs":
        from ..tracking.blobs import ColourBlobs

        blobs = ColourBlobs()
        return Choice(blobs.identity, lambda: blobs)
    if name != "grounding-dino":
        raise bad_spec(f"environment variable WAN_DETECTOR is {name!r}, want grounding-dino or colour-blobs")
    strict = strictness(task.environ.get("WAN_LABELS", ""))
    folder = weights.folder(task.environ, "WAN_DETECTOR_PATH", weights.DETECTOR_FILES)
    own = weights.identify(folder).digest
    from ..tracking import identities

    def load() -> Detector:
        from ..models.loading import device
        from ..tracking.grounded import GroundedSAM2

        return GroundedSAM2(folder, own, device(), strict, batch)

    return Choice(identities.grounded(own, strict), load)


def strictness(text: str) -> bool:
    if text not in ("", "span", "strict"):
        raise bad_spec(f"environment variable WAN_LABELS is {text!r}, want span or strict")
    return text == "strict"


def track(task: Task) -> None:
    spec = task.spec.track
    assert spec is not None
    choice = choose(task)
    if (choice.identity.digest, choice.identity.revision) != (spec.detector.digest, spec.detector.revision):
        raise mismatch(
            f"the spec wants detector {spec.detector}, this image has {choice.identity}: set detector of the AlignmentRuntime to what"
            " the command `info` prints"
        )
    items = task.read_items(spec.prompts, spec.index)
    task.progress.total(len(items), "videos")
    worker = _Worker(task, choice)
    lines = [worker.line(item) for item in items]
    task.write(track_part(task.shard), b"".join(records.track_json(line) + b"\n" for line in lines))
    tracked = sum(line.status == TRACKED for line in lines)
    task.count(total=len(items), tracked=tracked, invalid=len(items) - tracked, reused=worker.reused)


class _Worker:
    def __init__(self, task: Task, choice: Choice) -> None:
        self._task, self._choice = task, choice
        assert task.spec.track is not None
        self._spec = task.spec.track
        self._detector: Detector | None = None
        self._guard: Guard | None = None
        self.reused = 0

    def line(self, item: Item) -> TrackLine:
        """The tracks of one sample."""
        task = self._task
        task.check_stop()
        try:
            line, reused = self._tracks(item, samples.resolve_video(task.store, item.line))
        except StoreError as e:
            if self._spec.require_videos and (e.missing or e.corrupt):
                raise bad_input(
                    f"sample {item.line.sample_id}: its sidecar or video is missing or damaged: {e}: sample it again, which puts a new"
                    " one in its place"
                ) from e
            if not e.missing:
                raise
            task.log.warning("sample %s has no video: %s", item.line.sample_id, e)
            line, reused = TrackLine(status=INVALID, reason=NO_VIDEO), False
        line.sample_id, line.prompt_id, line.seed = item.line.sample_id, item.line.prompt_id, item.line.seed
        if reused:
            self.reused += 1
            task.progress.skip()
        else:
            task.progress.add()
            task.pace()
        return line

    def _tracks(self, item: Item, where: Artifact) -> tuple[TrackLine, bool]:
        """Kept ones if there are."""
        task, data = self._task, None
        if not where.digest:  # a user's video that nobody has pinned
            data = task.store.read(where, MAX_VIDEO)
            where = Artifact(where.key, digest(data))
        own = self._spec.detector
        key = track_key(where.digest, (own.name, own.digest, own.revision), item.prompt.subject, item.prompt.object)
        kept, replace = None, False
        try:
            kept = samples.read_kept_tracks(task.store, key)
        except StoreError as e:
            if not (e.missing or e.corrupt):
                raise
            replace = e.corrupt
            if replace:
                task.log.warning("kept tracks are damaged and made again: %s", e)
        if kept is not None:
            if kept.guards is not None or self._choice.load_guard is None:
                return kept, True
            replace = True  # of a tracker without the weights for guard metrics: its boxes are as good
        from ..models.video import decode
        from ..tracking.rules import MAX_FRAMES

        frames = decode(data if data is not None else task.store.read(where, MAX_VIDEO), where.key, MAX_FRAMES)
        line = kept or self._find(item, frames)
        if self._choice.load_guard is not None:  # of invalid videos too: an adapter must not look better by spoiling some
            self._guard = self._guard or self._choice.load_guard()
            line.guards = self._guard.measure(frames, line.frames)
        samples.keep_tracks(task.store, key, line, replace)
        return line, False

    def _find(self, item: Item, frames: Frames) -> TrackLine:
        from ..tracking.detector import track as track_video

        if self._detector is None:
            self._detector = self._choice.load()
        line = track_video(self._detector, frames, item.prompt.subject, item.prompt.object)
        self._task.log.info(
            "sample %s: %s %s", item.line.sample_id, line.status, line.reason, extra={"fields": {"counts": to_json(line.counts)}}
        )  # fmt: skip
        return line
