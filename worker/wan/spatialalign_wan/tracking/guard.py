"""Guard metrics that need weights: that a better score is not bought with a worse video.

CLIP-IQA asks CLIP which of two opposite sentences fits a picture better. Identity consistency asks DINOv2 whether the
subject's crops look alike through the video.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..contract.exits import mismatch
from ..contract.records import TrackFrame
from ..models.video import Frames

_SENTENCES = {"clipIQAQuality": ("Good photo.", "Bad photo."), "clipIQANatural": ("Natural photo.", "Synthetic photo.")}
_CROP = 518
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Guard:
    def __init__(self, folder: Path, where: torch.device, batch: int = 32) -> None:
        from transformers import AutoModel, CLIPModel, CLIPProcessor

        self._where, self._batch = where, batch
        try:
            self._clip = CLIPModel.from_pretrained(folder / "clip", local_files_only=True, use_safetensors=True, dtype=torch.float32)
            self._clip_processor = CLIPProcessor.from_pretrained(folder / "clip", local_files_only=True)
            self._dino: Any = AutoModel.from_pretrained(folder / "dinov2", local_files_only=True, use_safetensors=True, dtype=torch.float32)
        except (OSError, ValueError, RuntimeError) as e:
            raise mismatch(f"{folder}: the guard metrics' weights cannot be loaded: {e}") from e
        # Outside: too little GPU memory is no fault of the weights.
        self._clip.to(where).eval()
        self._dino.to(where).eval()

    def measure(self, frames: Frames, tracks: Sequence[TrackFrame]) -> dict[str, float]:
        """What goes into the track line. A metric that the video cannot have is left out."""
        found = self.clip_iqa(frames)
        if (identity := self.identity(frames, tracks)) is not None:
            found["identityConsistency"] = identity
        # Rounding errors must not leave the metric's range.
        return {name: round(min(1.0, max(-1.0, value)), 6) for name, value in found.items()}

    @torch.inference_mode()
    def clip_iqa(self, frames: Frames) -> dict[str, float]:
        """The mean over all frames of the probability of the better sentence."""
        sentences = [sentence for pair in _SENTENCES.values() for sentence in pair]
        totals = dict.fromkeys(_SENTENCES, 0.0)
        for first in range(0, len(frames), self._batch):
            part = list(frames[first : first + self._batch])
            inputs = self._clip_processor(text=sentences, images=part, return_tensors="pt", padding=True).to(self._where)
            logits = self._clip(**inputs).logits_per_image.reshape(len(part), len(_SENTENCES), 2)
            chances = logits.softmax(dim=-1)[..., 0].sum(dim=0)
            for name, chance in zip(_SENTENCES, chances.tolist(), strict=True):
                totals[name] += chance
        return {name: total / len(frames) for name, total in totals.items()}

    @torch.inference_mode()
    def identity(self, frames: Frames, tracks: Sequence[TrackFrame]) -> float | None:
        """From the second crop on, the mean of the cosines to the first crop and to the one before."""
        crops = [crop for track in tracks if track.subject and (crop := subject_crop(frames, track)) is not None]
        if len(crops) < 2:
            return None
        parts = [self._class_token(torch.stack(crops[i : i + self._batch])) for i in range(0, len(crops), self._batch)]
        return consistency(torch.cat(parts))

    def _class_token(self, crops: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self._dino(pixel_values=crops.to(self._where)).last_hidden_state
        return states[:, 0].float().cpu()


def subject_crop(frames: Frames, track: TrackFrame) -> torch.Tensor | None:
    """The subject's box, its shorter side scaled to 518, cropped to a square about its centre."""
    assert track.subject is not None
    left, top, right, bottom = (round(x) for x in track.subject)
    pixels = frames[track.index, max(0, top) : bottom + 1, max(0, left) : right + 1]
    if min(pixels.shape[:2]) < 1:
        return None
    picture = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float()[None] / 255
    scale = _CROP / min(pixels.shape[:2])
    size = [max(_CROP, round(side * scale)) for side in pixels.shape[:2]]
    picture = torch.nn.functional.interpolate(picture, size=size, mode="bicubic", antialias=True).clamp(0, 1)[0]
    y, x = (size[0] - _CROP) // 2, (size[1] - _CROP) // 2
    square = picture[:, y : y + _CROP, x : x + _CROP]
    return (square - torch.tensor(_MEAN).view(3, 1, 1)) / torch.tensor(_STD).view(3, 1, 1)


def consistency(features: torch.Tensor) -> float:
    unit = torch.nn.functional.normalize(features, dim=-1)
    to_first = unit[1:] @ unit[0]
    to_previous = (unit[1:] * unit[:-1]).sum(dim=-1)
    return float(((to_first + to_previous) / 2).mean())
