"""Videos as files: mp4 written, anything that FFmpeg reads decoded."""

from __future__ import annotations

import io
from collections.abc import Mapping

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from ..contract.exits import bad_input
from .settings import FPS

Frames = NDArray[np.uint8]
"""[frames, height, width, 3], RGB."""


# Colours are converted by FFmpeg's exact code: its faster one rounds differently from one CPU to another.
EXACT = (
    Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)  # fmt: skip

# With AVX-512, x264's mbtree_propagate_list works on eight macroblocks at once and lets those beyond a row's end, which are
# memory that nobody has set, change how finely the picture is coded. "cpu-independent" takes the portable function instead.
X264 = {"crf": "25", "preset": "medium", "threads": "1", "x264-params": "cpu-independent=1"}

_MATRIX_BT601, _RANGE_LIMITED = 6, 1  # as H.264 numbers them: said in the file, so that no player has to guess


def encode(frames: Frames, comment: str) -> bytes:
    """An mp4 (H.264, yuv420p, BT.601, 16 fps), the same bytes for the same frames, in whatever process and on whatever
    CPU; the comment tells that a model made it."""
    out = io.BytesIO()
    _, height, width, _ = frames.shape
    with av.open(out, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        container.metadata["comment"] = comment
        container.metadata["title"] = "AI-generated video"
        stream = container.add_stream("libx264", rate=FPS, options=X264)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.thread_count, context.colorspace, context.color_range = 1, _MATRIX_BT601, _RANGE_LIMITED
        colours = VideoReformatter()
        for picture in frames:
            rgb = av.VideoFrame.from_ndarray(picture, format="rgb24")
            yuv = colours.reformat(
                rgb, format="yuv420p", interpolation=EXACT, dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG, threads=1
            )
            container.mux(stream.encode(yuv))
        container.mux(stream.encode(None))
    return out.getvalue()


def decode(data: bytes, name: str, limit: int) -> Frames:
    """At most the first `limit` frames."""
    pictures: list[NDArray[np.uint8]] = []
    colours = VideoReformatter()
    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.video:
                raise bad_input(f"{name} holds no video")
            for picture in container.decode(video=0):
                rgb = colours.reformat(picture, format="rgb24", interpolation=EXACT, threads=1)
                pictures.append(np.asarray(rgb.to_ndarray(), np.uint8))
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
