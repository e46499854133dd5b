"""Training as a stage: what changes the adapter and what must not, and interruptions."""

from __future__ import annotations

import json
import logging
import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load

from pods import FORKED
from spatialalign_wan.contract.keys import digest
from spatialalign_wan.contract.progress import Progress
from spatialalign_wan.contract.spec import Artifact
from spatialalign_wan.models import loading, tensors
from spatialalign_wan.models.embeds import key_of
from spatialalign_wan.stages import train as stage
from spatialalign_wan.training import checkpoints
from spatialalign_wan.training import trainer as trainer_module
from spatialalign_wan.training.trainer import Trainer
from support import PROMPTS, TRAINING, World


def adapter(world: World, manifest: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load(world.read(manifest["outputs"]["adapter"]))


def difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.fixture(scope="module")
def trained(sampled: World) -> dict[str, Any]:
    return sampled.done(sampled.train_spec("out/trained", sampled.pairs()))


def test_the_same_again_is_the_same(sampled: World, trained: dict[str, Any]) -> None:
    again = sampled.done(sampled.train_spec("out/again", sampled.pairs()))
    assert again["outputs"]["adapter"]["digest"] == trained["outputs"]["adapter"]["digest"]


def test_metrics_tell_every_step(sampled: World, trained: dict[str, Any]) -> None:
    lines = [json.loads(line) for line in sampled.file(trained, "metrics.jsonl").splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert [line["learningRate"] for line in lines] == pytest.approx([0, 0.01, 0.0075])
    assert lines[0]["loss"] == pytest.approx(0.693147, abs=1e-5)  # a fresh adapter: ln 2
    assert lines[0]["regularizer"] == 0
    assert lines[2]["loss"] != lines[0]["loss"]
    assert all(line["gradNorm"] > 0 for line in lines)
    assert trained["counts"] == {"steps": 3}
    assert set(trained["metrics"]) == {"loss", "margin", "regularizer"}


def test_a_step_is_adamws(sampled: World) -> None:
    """With betas 0.9 and 0.999, from the moments of the first step: its gradient g leaves 0.1 g and 0.001 g^2. Weights decay by 0.01."""
    settings = TRAINING | {"steps": 1, "scheduleSteps": 2, "warmupSteps": 0}
    fresh = adapter(sampled, sampled.done(sampled.train_spec("out/fresh-adapter", sampled.pairs(), TRAINING | {"steps": 1})))
    document = sampled.train_spec("out/adamw", sampled.pairs(), settings)
    sampled.done(document)
    (key,) = [key for key in sampled.store.list("out/adamw/") if "/checkpoints/" in key]
    after_one = checkpoints.decode(sampled.store.read(Artifact(key), 1 << 20), digest(json.dumps(document).encode()))
    for name, moment in after_one.first_moment.items():
        gradient = moment / 0.1
        torch.testing.assert_close(after_one.second_moment[name], 0.001 * gradient**2, rtol=1e-3, atol=1e-20)
        want = fresh["transformer." + name] * (1 - 0.01 * 0.01) - 0.01 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(after_one.adapter[name], want, rtol=1e-5, atol=1e-6)
    assert any(moment.any() for moment in after_one.first_moment.values())


def test_tensorboard_reads_the_events(sampled: World, trained: dict[str, Any], tmp_path: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (tmp_path / "events.out.tfevents.0.train").write_bytes(sampled.file(trained, "events.out.tfevents.0.train"))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    lines = [json.loads(line) for line in sampled.file(trained, "metrics.jsonl").splitlines()]
    assert [e.value for e in events.Scalars("train/loss")] == pytest.approx([line["loss"] for line in lines])
    assert "train/gradNorm" in events.Tags()["scalars"]


@pytest.mark.parametrize(
    "changes",
    [{"lambda": "0"}, {"lambda": "50"}, {"beta": "3"}, {"learningRate": "0.02"}, {"marginClip": "0"}, {"loraAlpha": 4}],
    ids=str,
)
def test_every_setting_counts(sampled: World, trained: dict[str, Any], changes: dict[str, Any]) -> None:
    other = sampled.done(
        sampled.train_spec(f"out/{next(iter(changes))}-{next(iter(changes.values()))}", sampled.pairs(), TRAINING | changes)
    )
    assert difference(adapter(sampled, trained), adapter(sampled, other)) > 1e-7


def test_swapped_pairs_pull_the_other_way(sampled: World) -> None:
    """Without the regularizer, a step from the same start goes exactly opposite: AdamW's first step is the gradient's sign."""
    one = TRAINING | {"steps": 1, "scheduleSteps": 2, "warmupSteps": 0, "lambda": "0", "checkpointEverySteps": 0, "pairsPerStep": 1}
    there = adapter(sampled, sampled.done(sampled.train_spec("out/there", sampled.pairs(), one)))
    # The draws are by role: swapped, the noise would be the other one's too, but its sign is what counts.
    import unittest.mock

    from spatialalign_wan.training.draws import Draws

    real = Draws.noise_seed
    with unittest.mock.patch.object(Draws, "noise_seed", lambda self, n, role: real(self, n, {"winner": "loser", "loser": "winner"}[role])):
        back = adapter(sampled, sampled.done(sampled.train_spec("out/back", sampled.pairs(swapped=True), one)))
    moved = [name for name in there if "lora_B" in name and bool((there[name] != 0).any())]
    assert moved
    for name in moved:
        assert torch.allclose(there[name], -back[name], atol=1e-4)


def test_shuffled_labels_learn_no_preference(world: World) -> None:
    """Latents that differ by a constant: with true labels the margin of training grows, with shuffled ones it does not."""
    import numpy as np

    from spatialalign_wan.contract.samples import Sidecar, commit_sample
    from spatialalign_wan.contract.spec import Sampling
    from spatialalign_wan.contract.strict import build
    from spatialalign_wan.models import video
    from spatialalign_wan.stages.sample import encode_latent

    sampling = build(Sampling, world.sampling(), "")
    clip = world.store.write("in/clip.mp4", video.encode(np.zeros((1, 16, 16, 3), np.uint8), "a test"))
    pairs: dict[str, list[dict[str, Any]]] = {"true": [], "shuffled": []}
    for i in range(8):
        ids = []
        for j, offset in enumerate((0.8, -0.8)):
            sample_id = f"{i}{j}" * 32
            latent = world.store.write(f"in/latent-{i}{j}", encode_latent(tensors.normal((1, 16, 3, 4, 4), 10 * i + j) * 0.3 + offset))
            commit_sample(world.store, Sidecar(sample_id, "p1", i, sampling, clip, 16, 16, 1, latent), replace=False)
            ids.append(sample_id)
        for kind, flipped in (("true", False), ("shuffled", i % 2 == 1)):
            winner, loser = ids[:: -1 if flipped else 1]
            pairs[kind].append({"promptID": "p1", "iteration": 1, "winner": winner, "loser": loser, "winnerScore": 1, "loserScore": 0})
    settings = TRAINING | {"steps": 14, "scheduleSteps": 30, "warmupSteps": 1, "pairsPerStep": 4, "beta": "20", "checkpointEverySteps": 0}
    margins = {}
    for kind, lines in pairs.items():
        m = world.done(world.train_spec(f"out/{kind}", lines, settings | {"learningRate": "0.02"}))
        margins[kind] = [json.loads(line)["margin"] for line in world.file(m, "metrics.jsonl").splitlines()]
    late = {kind: sum(values[-5:]) / 5 for kind, values in margins.items()}
    assert late["true"] > 0.1
    assert late["true"] > 3 * abs(late["shuffled"])


@pytest.mark.parametrize("pair", [1, 4, 6, 7])
def test_stopped_after_any_pair_it_goes_on_to_the_same_bits(sampled: World, monkeypatch: pytest.MonkeyPatch, pair: int) -> None:
    settings = TRAINING | {"steps": 4, "scheduleSteps": 5, "pairsPerStep": 3, "checkpointEverySteps": 0}
    want = sampled.done(sampled.train_spec("out/undisturbed", sampled.pairs(), settings))
    document, calls = sampled.train_spec(f"out/stopped-{pair}", sampled.pairs(), settings), []
    add = Trainer._add

    def counted(self: Trainer, n: int) -> None:
        calls.append(n)
        if len(calls) == pair:
            os.kill(os.getpid(), signal.SIGTERM)
        add(self, n)

    monkeypatch.setattr(Trainer, "_add", counted)
    end = sampled.run(document)
    assert (end.code, end.word["class"]) == (75, "Interrupted")
    m = sampled.done(document, attempt=1)
    assert m["outputs"]["adapter"]["digest"] == want["outputs"]["adapter"]["digest"]
    assert sampled.file(m, "metrics.jsonl") == sampled.file(want, "metrics.jsonl")
    assert calls == list(range(12))  # no pair was taken twice


def test_a_damaged_checkpoint_is_passed_over(sampled: World, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    document = sampled.train_spec("out/trained-2", sampled.pairs())
    save = trainer_module.Trainer.checkpoint
    saved = []

    def stop_after_two(self: Trainer) -> Any:
        saved.append(1)
        if len(saved) == 2:
            raise RuntimeError("the pod vanishes")
        return save(self)

    monkeypatch.setattr(trainer_module.Trainer, "checkpoint", stop_after_two)
    assert sampled.run(document).code == 70
    monkeypatch.undo()
    (key,) = [key for key in sampled.store.list("out/trained-2/") if "/checkpoints/" in key]
    sampled.store.write(key.replace("step-00000001", "step-00000009"), b"cut")
    m = sampled.done(document, attempt=1)
    assert m["outputs"]["adapter"]["digest"] == trained["outputs"]["adapter"]["digest"]


def test_the_newest_checkpoint_counts_whatever_attempt_left_it(world: World) -> None:
    saved = []
    for attempt, (step, pairs) in enumerate([(2, 0), (10, 3), (10, 1)]):
        task: Any = SimpleNamespace(
            store=world.store, spec=SimpleNamespace(output="out/x"), spec_digest="sha256:x", log=logging.getLogger(),
            progress=Progress("train", 300), key=f"out/x/{attempt}-uid/0/".__add__,
        )  # fmt: skip
        done = checkpoints.Progress(step, pairs, [], [(0.0, 0.0, 0.0, 0.0)] * step)
        saved.append(checkpoints.save_to(task, checkpoints.Checkpoint(done, {}, {}, {})))
    found = checkpoints.newest(task)
    assert found is not None
    assert found.key == saved[1]


def test_a_checkpoint_of_another_spec_is_passed_over(sampled: World, trained: dict[str, Any]) -> None:
    sampled.done(sampled.train_spec("out/shared", sampled.pairs(), seed=2))
    m = sampled.done(sampled.train_spec("out/shared", sampled.pairs()), attempt=1)
    assert m["outputs"]["adapter"]["digest"] == trained["outputs"]["adapter"]["digest"]


def test_it_keeps_its_newest_checkpoint_only(sampled: World) -> None:
    sampled.done(sampled.train_spec("out/many", sampled.pairs(), TRAINING | {"steps": 4, "checkpointEverySteps": 1}))
    assert [key.split("/")[-1][:13] for key in sampled.store.list("out/many/") if "/checkpoints/" in key] == ["step-00000004"]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_pod_that_fails_behind_the_last_step_repeats_none(
    sampled: World, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    document = sampled.train_spec(f"out/behind-{processes}", sampled.pairs(), TRAINING | {"checkpointEverySteps": 0})

    def fail(*_: Any) -> None:
        raise RuntimeError("the pod vanishes")

    monkeypatch.setattr(stage, "_finish", fail)
    assert sampled.run(document, WAN_PROCESSES=processes, **FORKED).code == 70
    monkeypatch.undo()
    monkeypatch.setattr(Trainer, "step", fail)
    m = sampled.done(document, attempt=1)
    assert m["counts"] == {"steps": 3}
    for name, tensor in adapter(sampled, trained).items():
        torch.testing.assert_close(adapter(sampled, m)[name], tensor, rtol=0, atol=1e-6)


def test_starts_and_references(sampled: World, trained: dict[str, Any]) -> None:
    """From a former adapter against the base, and against that adapter itself: there the first loss is ln 2 again."""
    former = trained["outputs"]["adapter"]
    best = sampled.done(sampled.train_spec("out/best", sampled.pairs(), startAdapter=former, iteration=2))
    previous = sampled.done(sampled.train_spec("out/previous", sampled.pairs(), startAdapter=former, referenceAdapter=former, iteration=2))
    fresh = sampled.done(sampled.train_spec("out/fresh", sampled.pairs(), referenceAdapter=former, iteration=2))
    first = {name: json.loads(sampled.file(m, "metrics.jsonl").splitlines()[0]) for name, m in (("b", best), ("p", previous), ("f", fresh))}
    assert first["p"]["loss"] == pytest.approx(0.693147, abs=1e-6)
    assert first["p"]["regularizer"] == pytest.approx(0, abs=1e-12)
    assert first["b"]["regularizer"] > 0
    assert first["f"]["regularizer"] == pytest.approx(first["b"]["regularizer"], rel=0.5)
    adapters = [adapter(sampled, m) for m in (best, previous, fresh)]
    assert all(difference(a, b) > 1e-6 for a, b in ((adapters[0], adapters[1]), (adapters[1], adapters[2])))


def test_an_adapter_of_another_rank_or_base_is_a_mismatch(sampled: World, trained: dict[str, Any]) -> None:
    former = trained["outputs"]["adapter"]
    end = sampled.run(sampled.train_spec("out/rank", sampled.pairs(), TRAINING | {"loraRank": 3}, startAdapter=former))
    assert (end.code, "rank 2" in end.message) == (66, True)
    from spatialalign_wan.models import lora

    data = sampled.read(former).replace(sampled.model_spec["digest"].encode(), b"sha256:" + b"0" * 64)
    assert lora.read_about(data, "x").base != sampled.model_spec["digest"]
    f = sampled.store.write("in/foreign.safetensors", data)
    for role in ("startAdapter", "referenceAdapter"):
        end = sampled.run(sampled.train_spec("out/base", sampled.pairs(), **{role: {"key": f.key, "digest": f.digest}}))
        assert (end.code, "adapter of the model" in end.message) == (66, True)
    end = sampled.run(sampled.sample_spec("out/foreign", adapter={"key": f.key, "digest": f.digest}))
    assert end.code == 66


def test_a_reference_of_another_rank_is_fine(sampled: World) -> None:
    other = sampled.done(sampled.train_spec("out/rank-3", sampled.pairs(), TRAINING | {"loraRank": 3, "loraAlpha": 3}))
    sampled.done(sampled.train_spec("out/on-rank-3", sampled.pairs(), referenceAdapter=other["outputs"]["adapter"]))


def test_the_checkpoint_is_chosen_once(sampled: World, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the plan: what processes find later in the store does not count."""
    document, save = sampled.train_spec("out/chosen", sampled.pairs()), trainer_module.Trainer.checkpoint
    saved: list[int] = []

    def stop_after_one(self: Trainer) -> Any:
        saved.append(1)
        if len(saved) == 2:
            raise RuntimeError("the pod vanishes")
        return save(self)

    monkeypatch.setattr(trainer_module.Trainer, "checkpoint", stop_after_one)
    assert sampled.run(document).code == 70
    monkeypatch.undo()
    (key,) = [key for key in sampled.store.list("out/chosen/") if "/checkpoints/" in key]
    real, plans = stage.run, []

    def run(plan: stage.Plan, *more: Any) -> Any:
        plans.append(plan)
        monkeypatch.setattr(checkpoints, "newest", lambda _: pytest.fail("chosen again"))
        return real(plan, *more)

    monkeypatch.setattr(stage, "run", run)
    m = sampled.done(document, attempt=1)
    assert plans[0].checkpoint is not None
    assert plans[0].checkpoint.key == key
    assert m["outputs"]["adapter"]["digest"] == trained["outputs"]["adapter"]["digest"]


def test_a_chosen_checkpoint_that_is_gone_wants_another_attempt(sampled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "newest", lambda _: Artifact("out/gone", "sha256:" + "0" * 64))
    end = sampled.run(sampled.train_spec("out/gone", sampled.pairs()))
    assert (end.code, "out/gone" in end.message) == (69, True), end.message


def test_told_to_stop_while_it_loads_it_takes_no_pair(sampled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    load_model, calls = loading.transformer, []

    def told(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return load_model(*arguments)

    monkeypatch.setattr(loading, "transformer", told)
    monkeypatch.setattr(Trainer, "_add", lambda self, n: calls.append(n))
    assert sampled.run(sampled.train_spec("out/early", sampled.pairs())).code == 75
    assert calls == []


def test_the_plan_beats_and_stops_between_samples(sampled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = stage._latent, []

    def latent(*arguments: Any) -> Any:
        calls.append("latent")
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(stage, "_latent", latent)
    monkeypatch.setattr(Progress, "beat", lambda _: calls.append("beat"))
    assert sampled.run(sampled.train_spec("out/planning", sampled.pairs())).code == 75
    assert calls == ["beat", "latent"]


def test_it_makes_the_embeddings_that_are_gone(world: World) -> None:
    world.done(world.sample_spec("out/samples"))
    key = key_of(world.model_spec["digest"], "1", PROMPTS[0]["prompt"])
    world.store.delete(key)
    world.done(world.train_spec("out/train", world.pairs()))
    assert world.store.size(key) > 0
