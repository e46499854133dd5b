"""The benchmark runs, at a tiny size on the CPU, and would notice a worker that computes something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench import measure, trainers
from bench.__main__ import main, verdict
from bench.sizes import REAL, TINY, pair
from spatialalign_wan.models.settings import Speed

FINE = measure.Agreement(0.0, 0.0, 1.0)


def row(gain: float, peak: float | None = 20.0) -> measure.Row:
    return measure.Row("pair", "this worker", 1.0, peak, gain)


@pytest.mark.parametrize("compiled", ["no", "aot_eager"])
def test_it_runs_at_tiny_size(tmp_path: Path, capsys: pytest.CaptureFixture[str], compiled: str) -> None:
    out = tmp_path / "figures.json"
    code = main(["--size", "tiny", "--pairs", "1", "--sample-steps", "2", "--compile", compiled, "--out", str(out)])
    assert code == 0, capsys.readouterr().err
    figures = json.loads(out.read_text())
    assert [r["name"] for r in figures["rows"]].count("baseline: the published recipe") == 2
    assert len(figures["rows"]) == 7 + 4
    assert figures["agreement"]["cosine"] > 0.999
    assert figures["sampleDrift"] < 1e-5


def test_the_real_size_is_refused_without_a_gpu() -> None:
    with pytest.raises(SystemExit):
        main(["--size", "real"])
    assert REAL.latent == (16, 21, 60, 104)


def test_another_computation_does_not_agree() -> None:
    speed = Speed("native", "no", "full", True)
    cpu = torch.device("cpu")
    data = pair(TINY, 0)
    baseline = measure.probe(trainers.Published(TINY, cpu), data)
    same = trainers.Worker("x", TINY, cpu, speed)
    assert measure.agreement(baseline, measure.probe(same, data)).fine
    other = trainers.Worker("x", TINY, cpu, speed)
    with torch.no_grad():
        other._network.proj_out.weight.mul_(1.1)
    assert not measure.agreement(baseline, measure.probe(other, data)).fine


@pytest.mark.parametrize(
    ("pair_gain", "sample_gain", "agreement", "peak", "code"),
    [
        (1.6, 1.3, FINE, 20.0, 0), (1.5, 1.3, FINE, 20.0, 1), (1.6, 1.25, FINE, 20.0, 1), (1.6, 1.3, FINE, 75.0, 1),
        (1.6, 1.3, measure.Agreement(2e-4, 0.0, 1.0), 20.0, 1), (1.6, 1.3, measure.Agreement(0.0, 0.0, 0.98), 20.0, 1),
    ],
)  # fmt: skip
def test_the_verdict(pair_gain: float, sample_gain: float, agreement: measure.Agreement, peak: float, code: int) -> None:
    assert verdict(row(pair_gain, peak), row(sample_gain), agreement, timed=True) == code
