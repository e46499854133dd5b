"""The commands.

encode|sample|track|train --spec FILE --spec-digest DIGEST    a stage (docs/contract.md)
info                                                          what an AlignmentRuntime says about this image and its weights
check [--record] [--load]                                     every byte of the weights; --load on the CPU, no GPU is used
export --to comfyui ADAPTER OUT                               the adapter for ComfyUI (diffusers loads ADAPTER as it is)
metrics --to tensorboard|wandb|mlflow METRICS.JSONL [OUT]     the metrics of a training for another tool
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .contract import harness
from .contract.exits import ExitCode, StageError
from .contract.strict import to_json
from .contract.task import Task
from .faults import classify

COMMANDS = ("info", "check", "export", "metrics")


def _encode(task: Task) -> None:
    from .stages.encode import encode

    encode(task)


def _sample(task: Task) -> None:
    from .stages.sample import sample

    sample(task)


def _track(task: Task) -> None:
    from .stages.track import track

    track(task)


def _train(task: Task) -> None:
    from .stages.train import train

    train(task)


# Each stage is imported when it is called: to refuse a spec takes no PyTorch.
STAGES = {"encode": _encode, "sample": _sample, "track": _track, "train": _train}


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] not in COMMANDS:
        if arguments and arguments[0] in ("-h", "--help"):
            print(__doc__)
            return 0
        stage = arguments[0] if arguments else ""
        return harness.main(arguments, STAGES, lambda e: classify(e, stage))
    try:
        _command(arguments)
    except StageError as e:
        print(f"spatialalign_wan {arguments[0]}: {e}", file=sys.stderr)
        return int(e.code)
    return 0


def _command(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="spatialalign_wan")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info")
    check = commands.add_parser("check")
    check.add_argument("--record", action="store_true", help="write weights.json beside the files, so that stages need not hash them")
    check.add_argument("--load", action="store_true", help="load every model on the CPU as well")
    export = commands.add_parser("export")
    export.add_argument("--to", choices=["comfyui"], required=True)
    export.add_argument("adapter", type=Path)
    export.add_argument("out", type=Path)
    metrics = commands.add_parser("metrics")
    metrics.add_argument("--to", choices=["tensorboard", "wandb", "mlflow"], required=True)
    metrics.add_argument("--project", default="spatialalign", help="project of wandb, experiment of mlflow")
    metrics.add_argument("metrics", type=Path)
    metrics.add_argument("out", type=Path, nargs="?", help="folder for tensorboard")
    options = parser.parse_args(arguments)
    if options.command == "info":
        print(json.dumps(info(), indent=2))
    elif options.command == "check":
        from .check import check as run_check

        run_check(os.environ, options.record, options.load)
    elif options.command == "export":
        from .models.lora import to_comfyui

        options.out.write_bytes(to_comfyui(options.adapter.read_bytes(), str(options.adapter)))
    else:
        from .training.collectors import send

        send(options.to, options.metrics, options.out, options.project)


def info() -> dict[str, object]:
    """Read off the weights, so that nobody copies a digest by hand."""
    from .models import settings, weights
    from .stages.track import guard_folder, strictness
    from .tracking import identities

    about: dict[str, object] = {"numericsRevision": settings.NUMERICS_REVISION}
    if os.environ.get("WAN_MODEL_PATH"):
        root = weights.folder(os.environ, "WAN_MODEL_PATH", weights.MODEL_FILES)
        about["model"] = {"name": os.environ.get("WAN_MODEL_NAME", "Wan2.1-T2V-1.3B"), "digest": weights.identify(root).digest}
    detector = None
    if os.environ.get("WAN_DETECTOR") == "colour-blobs":
        from .tracking.blobs import ColourBlobs

        detector = ColourBlobs().identity
    elif os.environ.get("WAN_DETECTOR_PATH"):
        root = weights.folder(os.environ, "WAN_DETECTOR_PATH", weights.DETECTOR_FILES)
        strict = strictness(os.environ.get("WAN_LABELS", ""))
        detector = identities.grounded(weights.identify(root).digest, strict)
    if detector is not None:
        if (guards := guard_folder(os.environ)) is not None:
            detector = identities.with_guards(detector, weights.identify(guards).digest)
        about["detector"] = to_json(detector)
    if len(about) == 1:
        raise StageError(ExitCode.BAD_SPEC, "neither WAN_MODEL_PATH nor WAN_DETECTOR_PATH is set: there are no weights to look at")
    return about
