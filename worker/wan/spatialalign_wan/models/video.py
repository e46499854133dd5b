"""Videos as files: mp4 written, anything that FFmpeg reads decoded."""

from __future__ import annotations

import io
from collections.abc import Mapping

import av
import numpy as np
from numpy.typing import NDArray

from ..contract.exits import bad_input
from .settings import FPS

Frames = NDArray[np.uint8]
"""[frames, height, width, 3], RGB."""


def encode(frames: Frames, comment: str) -> bytes:
    """An mp4 (H.264, yuv420p, 16 fps), the same bytes for the same frames; the comment tells that a model made it."""
    out = io.BytesIO()
    _, height, width, _ = frames.shape
    with av.open(out, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        container.metadata["comment"] = comment
        container.metadata["title"] = "AI-generated video"
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "25", "preset": "medium", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()


def decode(data: bytes, name: str, limit: int) -> Frames:
    """At most the first `limit` frames."""
    pictures = []
    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.video:
                raise bad_input(f"{name} holds no video")
            for picture in container.decode(video=0):
                pictures.append(picture.to_ndarray(format="rgb24"))
                if len(pictures) == limit:
                    break
    except (av.FFmpegError, ValueError) as e:
        raise bad_input(f"{name} cannot be decoded: {e}") from e
    if not pictures:
        raise bad_input(f"{name} holds no frame")
    return np.stack(pictures)


def metadata(data: bytes) -> Mapping[str, str]:
    with av.open(io.BytesIO(data)) as container:
        return dict(container.metadata)
