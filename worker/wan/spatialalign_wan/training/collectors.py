"""Metrics of a training for the tool of a team: run where the network allows it, as stage pods reach only the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..contract.exits import ExitCode, StageError, bad_input


def send(to: str, file: Path, out: Path | None, project: str) -> None:
    lines = list(read(file))
    {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}[to](lines, file, out, project)


def read(file: Path) -> Iterator[dict[str, Any]]:
    try:
        for line in file.read_text().splitlines():
            if line.strip():
                record = json.loads(line)
                if not isinstance(record, dict) or not isinstance(record.get("step"), int):
                    raise ValueError("a line without a step")
                yield record
    except (OSError, ValueError) as e:
        raise bad_input(f"{file} is no metrics.jsonl: {e}") from e


def _tensorboard(lines: list[dict[str, Any]], file: Path, out: Path | None, project: str) -> None:
    from .metrics import events

    folder = out or file.parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.out.tfevents.0.train").write_bytes(events(lines))


def _missing(name: str) -> StageError:
    return StageError(ExitCode.BAD_SPEC, f"{name} is not installed here, and is no part of the image: pip install {name}")


def _wandb(lines: list[dict[str, Any]], file: Path, out: Path | None, project: str) -> None:
    try:
        import wandb
    except ImportError:
        raise _missing("wandb") from None
    with wandb.init(project=project, config={"file": file.name}) as run:
        for line in lines:
            run.log({name: value for name, value in line.items() if name != "step"}, step=line["step"])


def _mlflow(lines: list[dict[str, Any]], file: Path, out: Path | None, project: str) -> None:
    try:
        import mlflow
    except ImportError:
        raise _missing("mlflow") from None
    mlflow.set_experiment(project)
    with mlflow.start_run():
        for line in lines:
            mlflow.log_metrics({name: value for name, value in line.items() if name != "step"}, step=line["step"])
