from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from spatialalign_wan.contract.exits import StageError
from spatialalign_wan.models.loading import device

from . import measure, samplers, trainers
from .sizes import SIZES, Size, pair


def train_rows(size: Size, where: torch.device, pairs: int, compiled: str) -> tuple[list[measure.Row], measure.Agreement]:
    data = pair(size, 0)
    rows: list[measure.Row] = []

    def row(trainer: trainers.PairTrainer) -> measure.Probe:
        seconds, peak = measure.timed(lambda n: trainer.gradient(data, n), 2, pairs, where)
        base = rows[0].seconds if rows else seconds
        rows.append(measure.Row("pair", trainer.name, seconds, peak, base / seconds))
        print(rows[-1].markdown(), file=sys.stderr)
        return measure.probe(trainer, data)

    baseline = row(trainers.Published(size, where))
    found = None
    for name, speed in trainers.variants(compiled).items():
        measure.release()
        found = row(trainers.Worker(name, size, where, speed))
    measure.release()
    assert found is not None
    return rows, measure.agreement(baseline, found)


def sample_rows(size: Size, where: torch.device, steps: int, compiled: str) -> tuple[list[measure.Row], float]:
    data = pair(size, 0)
    rows: list[measure.Row] = []
    ends = []
    makers: list[Callable[[], samplers.VideoSampler]] = [lambda: samplers.PublishedSampler(size, where, steps)]
    for name, speed in samplers.variants(compiled).items():
        makers.append(partial(samplers.WorkerSampler, name, size, where, steps, speed))
    for make in makers:
        sampler = make()
        seconds, peak = measure.timed(partial(sampler.run, data), 1, 1, where)
        base = rows[0].seconds if rows else seconds
        rows.append(measure.Row("sample", sampler.name, seconds, peak, base / seconds))
        print(rows[-1].markdown(), file=sys.stderr)
        ends.append(sampler.run(data, 0).double().cpu())
        del sampler
        measure.release()
    return rows, measure.drift(samplers.noise(data, 0).double(), ends[0], ends[-1])


def versions(where: torch.device) -> dict[str, str]:
    import diffusers
    import peft

    about = {"python": platform.python_version(), "torch": torch.__version__, "diffusers": diffusers.__version__, "peft": peft.__version__}
    if where.type == "cuda":
        about |= {
            "gpu": torch.cuda.get_device_name(where),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        }
    return about


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--size", choices=sorted(SIZES), default="real")
    parser.add_argument("--pairs", type=int, default=4, help="that are timed, after two")
    parser.add_argument("--sample-steps", type=int, default=50)
    parser.add_argument("--compile", choices=["yes", "no", "aot_eager"], default="yes")
    parser.add_argument("--out", type=Path, help="JSON file for the figures; in the image below /tmp")
    options = parser.parse_args(arguments)
    if options.out:
        try:
            options.out.touch()  # before hours of a GPU are spent, not after
        except OSError as e:
            parser.error(f"--out: {e}")
    try:
        where, size = device(), SIZES[options.size]
    except StageError as e:
        parser.error(str(e))
    if options.size == "real" and where.type != "cuda":
        parser.error("the real size needs a GPU; --size tiny shows with WAN_DEVICE=cpu that the benchmark runs")
    train, agreement = train_rows(size, where, options.pairs, options.compile)
    sample, drift = sample_rows(size, where, options.sample_steps, options.compile)
    result: dict[str, Any] = {
        "size": size.name, "versions": versions(where), "agreement": agreement.as_dict(), "sampleDrift": drift,
        "rows": [vars(row) for row in train + sample],
    }  # fmt: skip
    print(f"{size.name}: {result['versions']}\n")
    print("| of a | by | seconds | gain | peak GiB |\n| --- | --- | --- | --- | --- |")
    print("\n".join(row.markdown() for row in train + sample))
    print(f"\nagreement with the baseline: {result['agreement']}, drift of a sample {drift:.2e}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return verdict(train[-1], sample[-1], agreement, drift, timed=where.type == "cuda")


def verdict(pair_row: measure.Row, sample_row: measure.Row, agreement: measure.Agreement, drift: float, timed: bool) -> int:
    failures = []
    if not agreement.fine:
        failures.append("pairs: the worker does not compute what the baseline does")
    if not drift <= measure.MAX_DRIFT:  # nor is it, where it is no number
        failures.append(f"samples: they drift by {drift:.2e} from the baseline's, at most {measure.MAX_DRIFT:.0e}")
    if timed and pair_row.gain <= measure.MUST_PAIRS:
        failures.append(f"pairs: gain {pair_row.gain:.2f}, must exceed {measure.MUST_PAIRS}")
    if timed and sample_row.gain <= measure.MUST_SAMPLES:
        failures.append(f"samples: gain {sample_row.gain:.2f}, must exceed {measure.MUST_SAMPLES}")
    if pair_row.peak_gib is not None and pair_row.peak_gib > measure.MUST_GIB:
        failures.append(f"peak memory {pair_row.peak_gib:.1f} GiB, at most {measure.MUST_GIB:.1f}")
    for failure in failures:
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
