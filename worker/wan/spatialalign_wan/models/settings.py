"""What the runtime adds where a spec leaves something open, and what it can be told through its environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..contract.exits import bad_spec, mismatch
from ..contract.spec import Sampling, decimal
from ..contract.strict import parse

# Raised whenever the numbers of samples or adapters change.
NUMERICS_REVISION = "1"

# The model's usual negative prompt, in the English of its makers.
NEGATIVE_PROMPT = (
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall gray, worst"
    " quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands, poorly drawn faces,"
    " deformed, disfigured, misshapen limbs, fused fingers, still picture, messy background, three legs, many people in the"
    " background, walking backwards"
)
SHIFT = 5.0
FPS = 16
TEXT_TOKENS = 512


@dataclass(frozen=True)
class Defaults:
    """sampling.json in the model's folder, if it is there: defaults of another size of the model. It enters the digest."""

    frames: int = 81
    width: int = 832
    height: int = 480
    guidance_scale: float = 5.0
    negative_prompt: str = NEGATIVE_PROMPT


def defaults(model: Path) -> Defaults:
    try:
        return parse(Defaults, (model / "sampling.json").read_bytes())
    except FileNotFoundError:
        return Defaults()
    except ValueError as e:
        raise mismatch(f"{model}/sampling.json: {e}") from e


@dataclass(frozen=True)
class VideoSettings:
    frames: int
    width: int
    height: int
    guidance_scale: float
    negative_prompt: str

    @property
    def guided(self) -> bool:
        return self.guidance_scale > 1.0


def video_settings(s: Sampling, own: Defaults) -> VideoSettings:
    """What a sampling asks for. A size that the model cannot make is refused: another one would be stored under its id."""
    v = VideoSettings(
        frames=s.frames or own.frames, width=s.width or own.width, height=s.height or own.height,
        guidance_scale=decimal("sample.sampling.guidanceScale", s.guidance_scale) if s.guidance_scale else own.guidance_scale,
        negative_prompt=s.negative_prompt or own.negative_prompt,
    )  # fmt: skip
    if v.frames % 4 != 1 or v.frames > 1024:
        raise bad_spec(f"sample.sampling.frames is {v.frames}, want a multiple of 4 and one more, at most 1021")
    for name, value in (("width", v.width), ("height", v.height)):
        if value % 16 != 0 or value > 2048:
            raise bad_spec(f"sample.sampling.{name} is {value}, want a multiple of 16, at most 2048")
    return v


def check_revision(revision: str) -> None:
    if revision != NUMERICS_REVISION:
        raise mismatch(f"numericsRevision is {revision!r} in the spec, {NUMERICS_REVISION!r} in this image")


def on_gpu(environ: Mapping[str, str]) -> bool:
    """A CPU computes only where it is told to: it would be hours late, and its fp32 samples would lie under a GPU's keys."""
    return _one_of(environ, "WAN_DEVICE", "cuda", DEVICES) == "cuda"


def processes(environ: Mapping[str, str]) -> int | None:
    """Of a training; None is one for each GPU."""
    return _number(environ, "WAN_PROCESSES", 1, 1024)


def grace_seconds(environ: Mapping[str, str]) -> int:
    return _number(environ, "WAN_GRACE_SECONDS", 1, 1 << 20) or 120


def detector_batch(environ: Mapping[str, str]) -> int:
    """Frames that the detector looks at together; a video has no more than 81 that it looks at."""
    return _number(environ, "WAN_DETECTOR_BATCH", 1, 81) or 16


def _number(environ: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    text = environ.get(name)
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,7}", text) or not low <= int(text) <= high:
        raise bad_spec(f"environment variable {name} is {text!r}, want a number from {low} to {high}")
    return int(text)


def _one_of(environ: Mapping[str, str], name: str, fallback: str, values: tuple[str, ...]) -> str:
    value = environ.get(name) or fallback
    if value not in values:
        raise bad_spec(f"environment variable {name} is {value!r}, want one of {', '.join(values)}")
    return value


@dataclass(frozen=True)
class Speed:
    """How fast, never what: none of it may change a number beyond rounding."""

    attention: str
    compile: str
    checkpointing: str
    split_pairs: bool

    @property
    def backend(self) -> str:
        return "inductor" if self.compile == "yes" else "aot_eager"


DEVICES = ("cuda", "cpu")
ATTENTION = ("auto", "native", "_native_cudnn", "_native_flash", "_native_efficient", "_native_math")
COMPILE = ("yes", "no", "aot_eager")  # the last one traces and generates no code: for tests without a C++ compiler
CHECKPOINTING = ("selective", "full", "none")


def speed(environ: Mapping[str, str], cuda: bool) -> Speed:
    return Speed(
        attention=_one_of(environ, "WAN_ATTENTION", "auto", ATTENTION),
        # On a CPU compilation takes longer than the tiny models that run there.
        compile=_one_of(environ, "WAN_COMPILE", "yes" if cuda else "no", COMPILE),
        checkpointing=_one_of(environ, "WAN_CHECKPOINTING", "selective", CHECKPOINTING),
        split_pairs=_one_of(environ, "WAN_SPLIT_PAIRS", "no", ("yes", "no")) == "yes",
    )
