"""The benchmark runs, at a tiny size on the CPU, and would notice a worker that computes something else."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import measure, samplers, trainers
from bench.__main__ import main, sample_rows, verdict
from bench.sizes import REAL, TINY, network, pair
from spatialalign_wan.models.settings import Speed
from spatialalign_wan.training.objective import Side

FINE = measure.Agreement(0.0, 0.0, 0.0, 0.0, 1.0)


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


def test_a_file_that_cannot_be_written_is_told_first(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--size", "tiny", "--out", str(tmp_path / "nowhere" / "figures.json")])


def test_the_baseline_has_the_attention_of_pytorch() -> None:
    """A backend that is chosen for one network is every other's whose own is not."""
    network(TINY, CPU).set_attention_backend("_native_math")
    for net in (
        trainers.Published(TINY, CPU)._policy,
        trainers.Published(TINY, CPU)._reference,
        samplers.PublishedSampler(TINY, CPU, 1)._network,
    ):
        found = [block.attn1.processor._attention_backend for block in net.blocks]
        assert found == ["native"] * 2


SPEED = Speed("native", "no", "full", True)
CPU = torch.device("cpu")
DATA = pair(TINY, 0)


@pytest.fixture(scope="module")
def baseline() -> measure.Probe:
    return measure.probe(trainers.Published(TINY, CPU), DATA)


def test_a_moved_adapter_has_a_margin(baseline: measure.Probe) -> None:
    """Of a fresh one it is 0 whatever the network computes."""
    assert baseline.fresh_margin == 0
    assert abs(baseline.margin) > 4 * measure.MAX_MARGIN


def scaled_output(worker: trainers.Worker) -> None:
    with torch.no_grad():
        worker._network.proj_out.weight.mul_(1.1)


def reference_with_the_adapter(worker: trainers.Worker) -> None:
    worker._passes.reference = worker._passes.policy  # type: ignore[method-assign]


def swapped(worker: trainers.Worker) -> None:
    reference, policy = worker._passes.reference, worker._passes.policy
    worker._passes.reference = lambda x, *more: turned(reference(turned(x), *more))  # type: ignore[method-assign]
    worker._passes.policy = lambda x, *more: turned(policy(x, *more))  # type: ignore[method-assign]


def turned(side: Side) -> Side:
    return Side(side.loser, side.winner)


@pytest.mark.parametrize(
    ("break_it", "tells"),
    [(scaled_output, "velocity"), (reference_with_the_adapter, "margin"), (swapped, "fresh_margin")],
    ids=["scaled output", "reference with the adapter", "swapped"],
)
def test_another_computation_of_pairs_does_not_agree(baseline: measure.Probe, break_it: Any, tells: str) -> None:
    worker = trainers.Worker("x", TINY, CPU, SPEED)
    assert measure.agreement(baseline, measure.probe(worker, DATA)).fine
    worker = trainers.Worker("x", TINY, CPU, SPEED)
    break_it(worker)
    found = measure.agreement(baseline, measure.probe(worker, DATA))
    assert not found.fine
    assert not replace(FINE, **{tells: getattr(found, tells)}).fine  # that alone would tell


@pytest.mark.parametrize(
    ("agreement", "fine"),
    [
        (FINE, True), (replace(FINE, fresh_margin=2e-4), False), (replace(FINE, margin=2e-4), False),
        (replace(FINE, margin=2e-4, margin_of_baseline=-0.02), True), (replace(FINE, velocity=0.011), False),
        (replace(FINE, cosine=0.98), False), (replace(FINE, margin=math.nan), False), (replace(FINE, velocity=math.nan), False),
    ],
    ids=str,
)  # fmt: skip
def test_what_agrees(agreement: measure.Agreement, fine: bool) -> None:
    assert agreement.fine == fine


def no_text(sampler: samplers.WorkerSampler) -> None:
    with torch.no_grad():
        sampler._sampler._network.blocks[0].attn2.to_v.weight.zero_()


def no_number(sampler: samplers.WorkerSampler) -> None:
    with torch.no_grad():
        sampler._sampler._network.proj_out.weight.fill_(math.nan)


def scaled(sampler: samplers.WorkerSampler) -> None:
    with torch.no_grad():
        sampler._sampler._network.proj_out.weight.mul_(1.1)


@pytest.mark.parametrize("break_it", [None, no_text, no_number, scaled], ids=["as it is", "no text", "no number", "scaled"])
def test_a_sampler_that_computes_something_else_fails(monkeypatch: pytest.MonkeyPatch, break_it: Any) -> None:
    """This worker's, that is measured last."""
    make = samplers.WorkerSampler.__init__

    def broken(self: samplers.WorkerSampler, name: str, *more: Any) -> None:
        make(self, name, *more)
        if break_it is not None and name == "this worker":
            break_it(self)

    monkeypatch.setattr(samplers.WorkerSampler, "__init__", broken)
    drift = sample_rows(TINY, CPU, 8, "no")[1]
    assert verdict(row(1.6), row(1.3), FINE, drift, timed=True) == (0 if break_it is None else 1), drift


@pytest.mark.parametrize(
    ("pair_gain", "sample_gain", "agreement", "drift", "peak", "code"),
    [
        (1.6, 1.3, FINE, 0.05, 20.0, 0), (1.5, 1.3, FINE, 0.0, 20.0, 1), (1.6, 1.25, FINE, 0.0, 20.0, 1), (1.6, 1.3, FINE, 0.0, 75.0, 1),
        (1.6, 1.3, replace(FINE, margin=2e-4), 0.0, 20.0, 1), (1.6, 1.3, FINE, 0.051, 20.0, 1),
    ],
)  # fmt: skip
def test_the_verdict(pair_gain: float, sample_gain: float, agreement: measure.Agreement, drift: float, peak: float, code: int) -> None:
    assert verdict(row(pair_gain, peak), row(sample_gain), agreement, drift, timed=True) == code
