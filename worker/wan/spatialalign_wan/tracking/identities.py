"""Who the detectors are, for specs and track keys. Known without PyTorch."""

from __future__ import annotations

from dataclasses import replace

from ..contract.spec import Detector

NAME = "grounding-dino-tiny+sam2.1-hiera-large"
# Raised whenever the boxes of a video may change. The published way of labelling is another revision.
REVISION, STRICT_REVISION = "1", "1-strict"


def grounded(digest: str, strict: bool) -> Detector:
    return Detector(NAME, digest, STRICT_REVISION if strict else REVISION)


def with_guards(own: Detector, digest: str) -> Detector:
    """Guard metrics are kept with the tracks: other weights of theirs are another tracker, and nobody compares their values."""
    return replace(own, revision=f"{own.revision}+guards-{digest.removeprefix('sha256:')[:12]}")
