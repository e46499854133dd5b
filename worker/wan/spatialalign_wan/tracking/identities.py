"""Who the detectors are, for specs and track keys. Known without PyTorch."""

from __future__ import annotations

from ..contract.spec import Detector

NAME = "grounding-dino-tiny+sam2.1-hiera-large"
# Raised whenever the boxes of a video may change. The published way of labelling is another revision.
REVISION, STRICT_REVISION = "1", "1-strict"


def grounded(digest: str, strict: bool) -> Detector:
    return Detector(NAME, digest, STRICT_REVISION if strict else REVISION)
