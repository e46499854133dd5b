"""Tracking: labels, the real detectors at tiny size, the colour-blob detector, guard metrics."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from spatialalign_wan.contract import records
from spatialalign_wan.models import video
from spatialalign_wan.tracking import labels
from spatialalign_wan.tracking.blobs import ColourBlobs, known_colours, spots
from spatialalign_wan.tracking.grounded import GroundedSAM2, corners, found, mask_box
from spatialalign_wan.tracking.guard import Guard, consistency, subject_crop
from spatialalign_wan.tracking.rules import Anchor, Detection, Role
from support import World

CPU = torch.device("cpu")


def pictures(count: int = 24, height: int = 48, width: int = 64) -> video.Frames:
    """A rabbit that moves from the left of a stone to its right, in the synthetic runtime's colours."""
    frames = np.full((count, height, width, 3), 40, np.uint8)
    frames[:, 30:37, 28:38] = (128, 255, 128)
    for i in range(count):
        left = 2 + round(i * (width - 12) / count)
        frames[i, 10:17, left : left + 6] = (255, 0, 255)
    return frames


@pytest.fixture(scope="module")
def text() -> labels.Text:
    return labels.text_of(tiny.bert_tokenizer(), "cat", "fire hydrants")


def probabilities(text: labels.Text, **tokens: float) -> torch.Tensor:
    out = torch.zeros(256)
    where = {"cat": text.subject_tokens[0], "fire": text.object_tokens[0], "hydrant": text.object_tokens[1], "s": text.object_tokens[2]}
    where |= {"dot": text.subject_tokens[0] + 1, "cls": 0, "sep": len(text.ids) - 1}
    for name, value in tokens.items():
        out[where[name]] = value
    return out


def test_tokens_belong_to_words(text: labels.Text) -> None:
    assert text.text == "cat. fire hydrants."
    assert (text.subject_tokens, text.object_tokens) == ((1,), (3, 4, 5))  # between them the dot


@pytest.mark.parametrize(
    ("tokens", "span", "strict"),
    [
        ({"cat": 0.5}, Role.SUBJECT, Role.SUBJECT),
        ({"cat": 0.5, "cls": 0.9}, Role.SUBJECT, Role.SUBJECT),
        ({"cat": 0.5, "dot": 0.4}, Role.SUBJECT, None),  # "cat."
        ({"cat": 0.5, "sep": 0.4}, Role.SUBJECT, None),  # "cat [SEP]"
        ({"fire": 0.5, "hydrant": 0.6, "s": 0.4}, Role.OBJECT, Role.OBJECT),
        ({"hydrant": 0.6}, Role.OBJECT, None),  # a part of the phrase names it, but is not the phrase
        ({"cat": 0.5, "hydrant": 0.31}, None, None),  # both
        ({"cat": 0.5, "hydrant": 0.29}, Role.SUBJECT, Role.SUBJECT),
        ({"cat": 0.29}, None, None),  # neither
        ({"cat": 0.3}, Role.SUBJECT, None),  # at least for spans, more than for phrases
    ],
)
def test_labels(text: labels.Text, tokens: dict[str, float], span: Role | None, strict: Role | None) -> None:
    # fp32 holds no 0.3: the nearest number is above it.
    assert labels.by_span(probabilities(text, **tokens), text) is span
    if tokens != {"cat": 0.3}:
        assert labels.by_phrase(probabilities(text, **tokens), text, tiny.bert_tokenizer()) is strict


def test_upper_case_is_a_word_but_never_a_phrase() -> None:
    upper = labels.text_of(tiny.bert_tokenizer(), "Cat", "fire hydrants")
    assert labels.by_span(probabilities(upper, cat=0.5), upper) is Role.SUBJECT
    assert labels.by_phrase(probabilities(upper, cat=0.5), upper, tiny.bert_tokenizer()) is None


def test_queries_below_the_threshold_find_nothing() -> None:
    p = torch.zeros(3, 256)
    p[0, 5], p[1, 7] = 0.41, 0.4
    assert found(p) == [0]


def test_boxes_and_masks() -> None:
    assert corners([0.5, 0.5, 0.5, 0.25], 80, 40) == (20.0, 15.0, 60.0, 25.0)
    mask = np.zeros((10, 20), bool)
    assert mask_box(mask) is None
    mask[3:7, 5] = True
    assert mask_box(mask) == (5.0, 3.0, 5.0, 6.0)  # one column: width 0


@pytest.fixture(scope="module")
def grounded(detector_weights: Path) -> GroundedSAM2:
    return GroundedSAM2(detector_weights, "sha256:" + "0" * 64, CPU, strict=False, batch=4)


def test_grounding_dino_is_batched_over_frames(grounded: GroundedSAM2, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights find nothing of use: every query is let through, and one frame is as the same in a batch."""
    monkeypatch.setattr(labels, "BOX_THRESHOLD", 0.0)
    frames = pictures(4)
    together = list(grounded.detect(frames, "rabbit", "stone"))
    assert [len(f) for f in together] == [5, 5, 5, 5]
    alone = list(grounded.detect(frames[2:3], "rabbit", "stone"))[0]
    for a, b in zip(alone, together[2], strict=True):
        assert a.box == pytest.approx(b.box, abs=1e-3)
        assert a.role is b.role


@pytest.mark.parametrize(
    ("threshold", "counts"),
    [(0.0, {"valid": 0, "redundant": 17, "miss": 0, "unseen": 23}), (1.0, {"valid": 0, "redundant": 0, "miss": 24, "unseen": 16})],
    ids=["too many in every frame", "nothing in any frame"],
)
def test_how_many_frames_the_detector_takes_together_changes_no_line(
    world: World, detector_weights: Path, monkeypatch: pytest.MonkeyPatch, threshold: float, counts: dict[str, int]
) -> None:
    """It stops in the midst of a batch once the reason is certain."""
    from spatialalign_wan.models import weights
    from spatialalign_wan.tracking import identities

    monkeypatch.setattr(labels, "BOX_THRESHOLD", threshold)
    together: list[int] = []
    detect = GroundedSAM2.detect

    def counted(self: GroundedSAM2, frames: video.Frames, subject: str, obj: str) -> Any:
        together.append(len(frames))
        return detect(self, frames, subject, obj)

    monkeypatch.setattr(GroundedSAM2, "detect", counted)
    who = vars(identities.grounded(weights.identify(detector_weights).digest, strict=False))
    lines, sizes = [], []
    for batch in ("", "1", "7", "81"):
        together.clear()
        name = f"in/batch-{batch}.mp4"
        world.store.write(name, video.encode(pictures(40), batch))  # another video, or its line would be there
        index = world.put_lines(f"in/batch-{batch}.jsonl", [{"sampleID": "v", "promptID": "p1", "seed": 1, "video": {"key": name}}])
        document = world.spec("track", f"out/batch-{batch}", {"prompts": world.prompts, "index": index, "detector": who})
        m = world.done(document, WAN_DETECTOR_PATH=str(detector_weights), WAN_DETECTOR_BATCH=batch)
        lines.append(track_lines(world, m)["v"])
        sizes.append(list(together))
    assert lines == [lines[0]] * 4
    assert lines[0]["counts"] == counts
    looked = 40 - counts["unseen"]
    assert sizes == [[16] * 2, [1] * looked, [7] * -(-looked // 7), [40]]


@pytest.mark.parametrize("value", ["0", "82", "-1", "four", "1.5"])
def test_a_batch_that_is_none(world: World, value: str) -> None:
    end = world.run(world.spec("track", "out/none", blob_block(world, [])), WAN_DETECTOR="colour-blobs", WAN_DETECTOR_BATCH=value)
    assert (end.code, "WAN_DETECTOR_BATCH" in end.message) == (64, True)


def test_words_without_a_token_are_a_bad_spec(grounded: GroundedSAM2) -> None:
    from spatialalign_wan.contract.exits import StageError

    with pytest.raises(StageError, match="no token"):
        list(grounded.detect(pictures(1), "rabbit", "\u200b"))


def test_sam_follows_both_ways_and_forgets_in_between(grounded: GroundedSAM2, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = pictures(9)
    anchor = Anchor(4, (22.0, 10.0, 28.0, 17.0), (28.0, 30.0, 38.0, 37.0))
    seen: list[tuple[bool, int]] = []
    real = grounded._sam.propagate_in_video_iterator

    def spy(session: Any, start_frame_idx: int, reverse: bool) -> Any:
        assert session.output_dict_per_obj == {} or all(not o["non_cond_frame_outputs"] for o in session.output_dict_per_obj.values())
        for output in real(session, start_frame_idx=start_frame_idx, reverse=reverse):
            seen.append((reverse, output.frame_idx))
            yield output

    monkeypatch.setattr(grounded._sam, "propagate_in_video_iterator", spy)
    both = grounded.follow(frames, anchor, "rabbit", "stone")
    assert [f.index for f in both] == list(range(9))
    assert seen == [(False, i) for i in range(4, 9)] + [(True, i) for i in range(4, -1, -1)]
    # The way back is the same when there was no way there to remember.
    backwards = grounded.follow(frames[:5], anchor, "rabbit", "stone")
    assert [f for f in both if f.index < 4] == [f for f in backwards if f.index < 4]


def test_what_sam_follows_keeps_its_role(grounded: GroundedSAM2, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks are planted: each object's is where the session was told that it is."""
    anchor = Anchor(1, (2.0, 10.0, 8.0, 17.0), (28.0, 30.0, 38.0, 37.0))

    def planted(session: Any, start_frame_idx: int, reverse: bool) -> Any:
        masks = torch.full((len(session.obj_ids), 1, 48, 64), -10.0)
        for i in range(len(session.obj_ids)):
            (left, top), (right, bottom) = session.point_inputs_per_obj[i][anchor.frame]["point_coords"].reshape(2, 2).tolist()
            masks[i, 0, round(top * 48 / 128) : round(bottom * 48 / 128) + 1, round(left * 64 / 128) : round(right * 64 / 128) + 1] = 10.0
        yield SimpleNamespace(frame_idx=start_frame_idx, pred_masks=masks)

    monkeypatch.setattr(grounded._sam, "propagate_in_video_iterator", planted)
    (frame,) = grounded.follow(pictures(3), anchor, "rabbit", "stone")
    assert frame.subject == pytest.approx(anchor.subject, abs=1)
    assert frame.object == pytest.approx(anchor.object, abs=1)


def test_the_whole_stage_with_the_real_detectors(
    world: World, detector_weights: Path, grounded: GroundedSAM2, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What random weights find is planted; all else is real, with SAM 2 following."""
    from spatialalign_wan.models import weights
    from spatialalign_wan.stages import track as stage
    from spatialalign_wan.tracking import identities

    colours = ColourBlobs()
    monkeypatch.setattr(grounded, "detect", colours.detect)
    identity = identities.grounded(weights.identify(detector_weights).digest, strict=False)
    monkeypatch.setattr(stage, "choose", lambda _: stage.Choice(identity, lambda: grounded))
    world.store.write("in/mine.mp4", video.encode(pictures(), "a test"))
    index = [{"sampleID": "mine", "promptID": "p1", "seed": 1, "video": {"key": "in/mine.mp4"}}]
    block = {"prompts": world.prompts, "index": world.put_lines("in/mine.jsonl", index), "detector": vars(identity)}
    line = json.loads(world.file(world.done(world.spec("track", "out/track", block)), "tracks/part-0.jsonl"))
    assert (line["status"], line["frameCount"], len(line["frames"])) == ("Tracked", 24, 24)
    again = world.done(world.spec("track", "out/track-2", block))
    assert again["counts"]["reused"] == 1
    assert json.loads(world.file(again, "tracks/part-0.jsonl")) == line


def test_another_detector_is_a_mismatch(world: World, detector_weights: Path) -> None:
    from spatialalign_wan.models import weights

    detector = {"name": "d", "digest": weights.identify(detector_weights).digest, "revision": "1"}
    block = {"prompts": world.prompts, "index": world.put_lines("in/none.jsonl", []), "detector": detector}
    settings = {"WAN_DETECTOR_PATH": str(detector_weights)}
    assert world.run(world.spec("track", "out/t1", block), **settings).code == 0
    end = world.run(world.spec("track", "out/t2", block), **settings, WAN_LABELS="strict")
    assert (end.code, "1-strict" in end.message) == (66, True)
    assert world.run(world.spec("track", "out/t3", block), **settings, WAN_LABELS="loose").code == 64
    assert world.run(world.spec("track", "out/t4", block)).code == 64  # no weights are named


def blob_block(world: World, lines: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"prompts": world.prompts, "index": world.put_lines("in/blob.jsonl", lines), "detector": vars(ColourBlobs().identity), **more}


def test_colour_blobs_track_what_moves(world: World) -> None:
    world.store.write("in/v.mp4", video.encode(pictures(), "a test"))
    lines = [{"sampleID": "v", "promptID": "p1", "seed": 1, "video": {"key": "in/v.mp4"}}]
    m = world.done(world.spec("track", "out/blobs", blob_block(world, lines)), WAN_DETECTOR="colour-blobs")
    line = json.loads(world.file(m, "tracks/part-0.jsonl"))
    assert line["status"] == "Tracked"
    lefts = [frame["subject"][0] for frame in line["frames"]]
    assert lefts == sorted(lefts)
    assert lefts[0] < line["frames"][0]["object"][0] < lefts[-1]


def test_videos_that_cannot_be_read(world: World) -> None:
    whole = video.encode(pictures(), "a test")
    world.store.write("in/cut.mp4", whole[: len(whole) // 3])
    line = {"sampleID": "v", "promptID": "p1", "seed": 1, "video": {"key": "in/cut.mp4"}}
    end = world.run(world.spec("track", "out/cut", blob_block(world, [line])), WAN_DETECTOR="colour-blobs")
    assert (end.code, "in/cut.mp4" in end.message) == (65, True)
    line["video"] = {"key": "in/lost.mp4"}
    m = world.done(world.spec("track", "out/lost", blob_block(world, [line])), WAN_DETECTOR="colour-blobs")
    assert json.loads(world.file(m, "tracks/part-0.jsonl"))["reason"] == "NoVideo"
    required = blob_block(world, [line], requireVideos=True)
    assert world.run(world.spec("track", "out/required", required), WAN_DETECTOR="colour-blobs").code == 65


def test_words_that_have_no_colour_are_named(world: World) -> None:
    prompts = [{"promptID": "p1", "type": "LR", "subject": "unicorn", "object": "stone", "prompt": "a unicorn"}]
    world.prompts = world.put_lines("in/unicorn.jsonl", prompts)
    world.store.write("in/v.mp4", video.encode(pictures(4), "a test"))
    lines = [{"sampleID": "v", "promptID": "p1", "seed": 1, "video": {"key": "in/v.mp4"}}]
    end = world.run(world.spec("track", "out/unicorn", blob_block(world, lines)), WAN_DETECTOR="colour-blobs")
    assert (end.code, "unicorn" in end.message) == (64, True)


def test_spots_touch_at_corners() -> None:
    mask = np.zeros((9, 9), bool)
    mask[0:2, 0:2] = mask[2:4, 2:4] = True  # one spot, joined at a corner
    mask[7, 0:3] = True  # three pixels are no detection
    mask[6:8, 6:8] = True
    assert spots(mask) == [(0.0, 0.0, 3.0, 3.0), (6.0, 6.0, 7.0, 7.0)]


@pytest.mark.parametrize(("colour", "dogs"), [((198, 0, 0), 1), ((199, 0, 0), 0), ((128, 63, 0), 1), ((128, 64, 0), 0)])
def test_a_colour_within_the_tolerance_is_the_nearer_words(colour: tuple[int, int, int], dogs: int) -> None:
    """A dog is (128, 0, 0), a barrel (128, 128, 0): what is as near to one as to the other is neither."""
    picture = np.full((1, 8, 8, 3), 255, np.uint8)
    picture[0, 2:4, 2:4] = colour
    (found,) = ColourBlobs().detect(picture, "dog", "barrel")
    assert [d.role for d in found] == [Role.SUBJECT] * dogs


def test_the_colours_are_the_synthetic_runtimes() -> None:
    """Its digest of them stands in the runtime's manifest."""
    from spatialalign_wan.contract.keys import digest

    manifest = Path(__file__).parents[3] / "config/runtimes/synthetic.yaml"
    assert digest(known_colours()) in manifest.read_text()


def test_detections_carry_their_role() -> None:
    (one,) = ColourBlobs().detect(pictures(1), "rabbit", "stone")
    assert one == [Detection(Role.SUBJECT, (2.0, 10.0, 7.0, 16.0)), Detection(Role.OBJECT, (28.0, 30.0, 37.0, 36.0))]


def guarded_world(world: World, guard_weights: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """A good video and a grey one; the settings of a tracker that measures guard metrics, and the block of its spec."""
    from spatialalign_wan.models import weights
    from spatialalign_wan.tracking import identities

    lines = []
    for name, frames in (("good", pictures()), ("grey", np.full((24, 48, 64, 3), 40, np.uint8))):
        world.store.write(f"in/{name}.mp4", video.encode(frames, "a test"))
        lines.append({"sampleID": name, "promptID": "p1", "seed": 1, "video": {"key": f"in/{name}.mp4"}})
    who = identities.with_guards(ColourBlobs().identity, weights.identify(guard_weights).digest)
    return {"WAN_DETECTOR": "colour-blobs", "WAN_GUARD_PATH": str(guard_weights)}, blob_block(world, lines, detector=vars(who))


def track_lines(world: World, m: dict[str, Any]) -> dict[str, Any]:
    return {line["sampleID"]: line for line in map(json.loads, world.file(m, "tracks/part-0.jsonl").splitlines())}


def test_guard_metrics_stand_in_the_track_lines_of_every_video(world: World, guard_weights: Path) -> None:
    settings, block = guarded_world(world, guard_weights)
    m = world.done(world.spec("track", "out/guard", block), **settings)
    assert m["counts"] == {"total": 2, "tracked": 1, "invalid": 1, "reused": 0}
    found = track_lines(world, m)
    assert set(found["good"]["guards"]) == set(records.GUARDS)
    assert all(-1 <= value <= 1 for value in found["good"]["guards"].values())
    assert set(found["grey"]["guards"]) == {"clipIQAQuality", "clipIQANatural"}  # without a subject there is no identity
    for line in found.values():
        assert 0 < line["guards"]["clipIQAQuality"] < 1


def test_guard_metrics_are_kept_with_the_tracks(world: World, guard_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an interrupted shard, and whoever tracks the same videos later, measures none again."""
    settings, block = guarded_world(world, guard_weights)
    measured: list[int] = []
    measure = Guard.measure

    def counted(self: Guard, frames: video.Frames, tracks: Any) -> dict[str, float]:
        measured.append(1)
        if len(measured) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return measure(self, frames, tracks)

    monkeypatch.setattr(Guard, "measure", counted)
    assert world.run(world.spec("track", "out/stopped", block), **settings).code == 75
    m = world.done(world.spec("track", "out/stopped", block), attempt=1, **settings)
    assert (len(measured), m["counts"]["reused"]) == (2, 1)
    again = world.done(world.spec("track", "out/again", block), **settings)
    assert (len(measured), again["counts"]["reused"]) == (2, 2)
    assert track_lines(world, again) == track_lines(world, m)


def test_tracks_without_guard_metrics_get_them(world: World, guard_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spatialalign_wan.contract import keys, samples, spec

    settings, block = guarded_world(world, guard_weights)
    first = track_lines(world, world.done(world.spec("track", "out/first", block), **settings))["good"]
    who = spec.Detector(**block["detector"])
    digest = keys.digest((world.folder / "in/good.mp4").read_bytes())
    key = keys.track_key(digest, (who.name, who.digest, who.revision), "rabbit", "stone")
    line = samples.read_kept_tracks(world.store, key)
    line.guards = None
    samples.keep_tracks(world.store, key, line, replace=True)
    monkeypatch.setattr(ColourBlobs, "detect", lambda *_: pytest.fail("its boxes are there"))
    again = track_lines(world, world.done(world.spec("track", "out/second", block), **settings))["good"]
    assert again == first


def test_other_guard_weights_are_another_tracker(world: World, guard_weights: Path) -> None:
    settings, block = guarded_world(world, guard_weights)
    end = world.run(world.spec("track", "out/plain", block | {"detector": vars(ColourBlobs().identity)}), **settings)
    assert (end.code, "+guards-" in end.message) == (66, True)


def test_track_lines_tell_what_the_frames_were(world: World) -> None:
    """Once the reason is certain the other frames are not looked at: the counts then say how many."""
    for name, frames in (("good", pictures()), ("grey", np.full((81, 48, 64, 3), 40, np.uint8))):
        world.store.write(f"in/{name}.mp4", video.encode(frames, "a test"))
    lines = [{"sampleID": n, "promptID": "p1", "seed": 1, "video": {"key": f"in/{n}.mp4"}} for n in ("good", "grey")]
    m = world.done(world.spec("track", "out/counts", blob_block(world, lines)), WAN_DETECTOR="colour-blobs")
    found = track_lines(world, m)
    assert found["good"]["counts"] == {"valid": 24, "redundant": 0, "miss": 0, "unseen": 0}
    assert found["grey"]["counts"] == {"valid": 0, "redundant": 0, "miss": 65, "unseen": 16}
    again = world.done(world.spec("track", "out/counts-2", blob_block(world, lines)), WAN_DETECTOR="colour-blobs")
    assert track_lines(world, again) == found


def test_identity_consistency_by_hand() -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 1.0]])
    assert consistency(features) == pytest.approx((0 + (0 + 1) / 2) / 2)


def test_a_crop_is_a_square_about_the_subject() -> None:
    crop = subject_crop(pictures(1), records.TrackFrame(0, (2.0, 10.0, 7.0, 16.0)))
    assert crop is not None
    assert crop.shape == (3, 518, 518)
    assert subject_crop(pictures(1), records.TrackFrame(0, (99.0, 10.0, 120.0, 16.0))) is None


def test_a_crop_is_normalized_as_dinov2_expects() -> None:
    white = np.full((1, 40, 40, 3), 255, np.uint8)
    crop = subject_crop(white, records.TrackFrame(0, (0.0, 0.0, 20.0, 20.0), None))
    assert crop is not None
    want = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert crop[:, 9, 9].tolist() == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [("clipIQAQuality", "Good photo.", "Bad photo."), ("clipIQANatural", "Natural photo.", "Synthetic photo.")],
)
def test_clip_iqa_is_the_chance_of_the_better_sentence(guard_weights: Path, name: str, better: str, worse: str) -> None:
    guard, frames = Guard(guard_weights, CPU), pictures(3)
    inputs = guard._clip_processor(text=[worse, better], images=list(frames), return_tensors="pt", padding=True)
    with torch.no_grad():
        logits = guard._clip(**inputs).logits_per_image
    want = float(torch.sigmoid(logits[:, 1] - logits[:, 0]).mean())
    assert want != pytest.approx(0.5, abs=1e-3)
    assert guard.clip_iqa(frames)[name] == pytest.approx(want, abs=1e-5)


def test_too_little_memory_is_no_fault_of_the_guards_weights(guard_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(torch.OutOfMemoryError):
        Guard(guard_weights, CPU)


def test_clip_prefers_neither_of_two_equal_sentences(guard_weights: Path) -> None:
    guard = Guard(guard_weights, CPU, batch=5)
    whole = guard.clip_iqa(pictures(7))
    assert whole == pytest.approx(Guard(guard_weights, CPU, batch=7).clip_iqa(pictures(7)), abs=1e-6)
