"""GroundingDINO finds, SAM 2.1 follows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..contract.exits import bad_spec, mismatch
from ..contract.records import Box, TrackFrame
from ..models.loading import base_dtype
from ..models.video import Frames
from . import identities, labels
from .rules import Anchor, Detection, Role

_IDS = {1: Role.SUBJECT, 2: Role.OBJECT}


class GroundedSAM2:
    def __init__(self, folder: Path, digest: str, where: torch.device, strict: bool, batch: int) -> None:
        from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor, Sam2VideoModel, Sam2VideoProcessor

        self.identity, self.batch = identities.grounded(digest, strict), batch
        self._where, self._strict = where, strict
        dino, sam = folder / "grounding-dino", folder / "sam2"
        local = {"local_files_only": True}
        try:
            self._dino_processor = GroundingDinoProcessor.from_pretrained(dino, **local)
            # The detector in fp32: its thresholds decide, and it takes little of the time once it is batched.
            self._dino = GroundingDinoForObjectDetection.from_pretrained(dino, dtype=torch.float32, use_safetensors=True, **local)
            self._sam_processor = Sam2VideoProcessor.from_pretrained(sam, **local)
            self._sam = Sam2VideoModel.from_pretrained(sam, dtype=base_dtype(where), use_safetensors=True, **local)
        except (OSError, ValueError, RuntimeError) as e:
            raise mismatch(f"{folder}: the detector's weights cannot be loaded: {e}") from e
        self._dino.to(where).eval()
        self._sam.to(where).eval()

    @torch.inference_mode()
    def detect(self, pictures: Frames, subject: str, obj: str) -> Iterator[list[Detection]]:
        tokenizer = self._dino_processor.tokenizer
        try:
            text = labels.text_of(tokenizer, subject, obj)
        except ValueError as e:
            raise bad_spec(str(e)) from e
        inputs = self._dino_processor(images=list(pictures), text=[text.text] * len(pictures), return_tensors="pt").to(self._where)
        outputs = self._dino(**inputs)
        _, height, width, _ = pictures.shape
        for logits, boxes in zip(outputs.logits, outputs.pred_boxes, strict=True):
            probabilities = logits.sigmoid().float().cpu()
            yield [self._detection(probabilities[i], boxes[i], text, width, height) for i in found(probabilities)]

    def _detection(self, probabilities: torch.Tensor, box: torch.Tensor, text: labels.Text, width: int, height: int) -> Detection:
        if self._strict:
            role = labels.by_phrase(probabilities, text, self._dino_processor.tokenizer)
        else:
            role = labels.by_span(probabilities, text)
        return Detection(role, corners(box.tolist(), width, height))

    @torch.inference_mode()
    def follow(self, frames: Frames, anchor: Anchor, subject: str, obj: str) -> list[TrackFrame]:
        """Both ways over the whole video. In between the session forgets, or the way back would remember the way there."""
        session = self._sam_processor.init_video_session(
            video=frames, inference_device=self._where, video_storage_device="cpu", dtype=base_dtype(self._where)
        )
        boxes: dict[int, dict[Role, Box]] = {}
        for reverse in (False, True):
            session.reset_tracking_data()
            self._sam_processor.add_inputs_to_inference_session(
                inference_session=session, frame_idx=anchor.frame, obj_ids=[1, 2],
                input_boxes=[[list(anchor.subject), list(anchor.object)]],
            )  # fmt: skip
            for output in self._sam.propagate_in_video_iterator(session, start_frame_idx=anchor.frame, reverse=reverse):
                # The anchor frame itself comes first in the forward direction, and keeps those boxes.
                boxes.setdefault(output.frame_idx, self._boxes(output, session, frames.shape[1], frames.shape[2]))
        return [TrackFrame(index, found.get(Role.SUBJECT), found.get(Role.OBJECT)) for index, found in sorted(boxes.items())]

    def _boxes(self, output: Any, session: Any, height: int, width: int) -> dict[Role, Box]:
        masks = self._sam_processor.post_process_masks([output.pred_masks], original_sizes=[[height, width]], binarize=False)[0]
        found = {}
        for number, mask in zip(session.obj_ids, masks, strict=True):
            box = mask_box((mask.reshape(height, width) > 0).cpu().numpy())
            if box is not None:
                found[_IDS[number]] = box
        return found


def found(probabilities: torch.Tensor) -> list[int]:
    """Which of the detector's queries found something at all."""
    return [int(i) for i in torch.nonzero(probabilities.max(dim=-1).values > labels.BOX_THRESHOLD).flatten()]


def corners(box: list[float], width: int, height: int) -> Box:
    """From centre and size, relative, to [left, top, right, bottom] in pixels."""
    x, y, w, h = box
    return ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)


def mask_box(mask: NDArray[np.bool_]) -> Box | None:
    """The box of a mask in inclusive pixel indices: one column has width 0. An empty mask has none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    return (float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1]))
