"""How training fails: bad input, faults of a GPU, what is not a number."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from spatialalign_wan.contract.exits import ExitCode
from spatialalign_wan.contract.spec import Artifact
from spatialalign_wan.faults import classify
from spatialalign_wan.models import embeds, tensors
from spatialalign_wan.models.sampler import Sampler
from spatialalign_wan.tracking.blobs import ColourBlobs
from spatialalign_wan.training.trainer import Trainer
from support import World


def test_what_is_not_a_number_is_divergence(world: World) -> None:
    world.done(world.sample_spec("out/samples"))
    for line in world.index(world.sampling()):
        replace_latent(world, line["sampleID"], torch.full((16, 3, 2, 2), torch.nan))
    end = world.run(world.train_spec("out/nan", world.pairs()))
    assert (end.code, end.word["class"], "learningRate" in end.message) == (78, "Diverged", True)


def replace_latent(world: World, sample_id: str, latent: torch.Tensor) -> None:
    sidecar_key = f"samples/{sample_id[:2]}/{sample_id}/sample.json"
    sidecar = json.loads(world.store.read(Artifact(sidecar_key), 1 << 16))
    new = world.store.write(sidecar["latent"]["key"], tensors.save({"latent": latent.half()}, {}))
    sidecar["latent"] |= {"size": new.size, "digest": new.digest}
    world.store.write(sidecar_key, json.dumps(sidecar).encode())


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), ExitCode.OUT_OF_MEMORY, "WAN_CHECKPOINTING=full"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), ExitCode.GPU, "illegal memory access"),
        (torch.distributed.DistBackendError("NCCL error in: ..."), ExitCode.GPU, "NCCL"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), ExitCode.OUT_OF_MEMORY, "WAN_SPLIT_PAIRS=yes"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), ExitCode.OUT_OF_MEMORY, "CUBLAS"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), ExitCode.OUT_OF_MEMORY, "CUDNN"),
        (torch.distributed.DistBackendError("NCCL error: x\nCuda failure 2 'out of memory'"), ExitCode.OUT_OF_MEMORY, "NCCL"),
        (RuntimeError("something else"), ExitCode.BUG, "something else"),
    ],
)
def test_faults_of_a_gpu_have_their_codes(
    sampled: World, monkeypatch: pytest.MonkeyPatch, error: Exception, code: ExitCode, says: str
) -> None:
    def fail(self: Trainer, n: int) -> None:
        raise error

    monkeypatch.setattr(Trainer, "_add", fail)
    end = sampled.run(sampled.train_spec(f"out/fault-{code}", sampled.pairs()))
    assert (end.code, end.word["class"]) == (code, code.class_name)
    assert says in end.message


HELPS = {"encode": "WAN_DEVICE=cpu", "sample": "or smaller sampling.frames", "track": "WAN_DETECTOR_BATCH", "train": "WAN_SPLIT_PAIRS"}
NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize("name", HELPS)
def test_what_helps_against_too_little_memory_depends_on_the_stage(name: str) -> None:
    said = str(classify(NO_MEMORY, name))
    assert [helps for helps in HELPS.values() if helps in said] == [HELPS[name]]
    assert "a GPU with more memory" in said


@pytest.mark.parametrize(
    ("name", "where", "what"),
    [("encode", embeds.Encoder, "encode"), ("sample", Sampler, "_velocity"), ("track", ColourBlobs, "detect")],
)
def test_every_stage_is_told_what_helps_it(
    sampled: World, world: World, monkeypatch: pytest.MonkeyPatch, name: str, where: Any, what: str
) -> None:
    def fail(*_: Any) -> None:
        raise NO_MEMORY

    block: dict[str, Any] = {"prompts": world.prompts}
    if name == "sample":
        document = world.sample_spec("out/memory", seeds=1)
    elif name == "encode":
        document = world.spec("encode", "out/memory", block | {"model": world.model_spec, "numericsRevision": "1"})
    else:
        samples = sampled.sample_spec("out/memory")
        document = sampled.spec(
            "track", "out/tracks", block | {"index": samples["sample"]["index"], "detector": vars(ColourBlobs().identity)}
        )
    monkeypatch.setattr(where, what, fail)
    end = (sampled if name == "track" else world).run(document, WAN_DETECTOR="colour-blobs")
    assert (end.code, end.word["class"], HELPS[name] in end.message) == (77, "OutOfMemory", True), end.message


def test_latents_of_different_shapes_are_no_pair(world: World) -> None:
    world.done(world.sample_spec("out/samples"))
    pairs = world.pairs()
    for pair in pairs:
        replace_latent(world, pair["loser"], torch.zeros(16, 3, 4, 4))
    end = world.run(world.train_spec("out/shapes", pairs))
    assert end.code == 65, end.message
    assert any(pair["promptID"] in end.message and pair["winner"] in end.message and pair["loser"] in end.message for pair in pairs)


@pytest.mark.parametrize("name", ["WAN_PROCESSES", "WAN_GRACE_SECONDS"])
@pytest.mark.parametrize("value", ["two", "-1", "0", "1.5"])
def test_settings_that_are_no_numbers(sampled: World, name: str, value: str) -> None:
    end = sampled.run(sampled.train_spec("out/settings", sampled.pairs()), **{name: value})
    assert (end.code, name in end.message) == (64, True), end.message


def test_latents_that_are_missing_or_cut(world: World) -> None:
    world.done(world.sample_spec("out/samples"))
    (key, *_) = [key for key in world.store.list("samples/") if key.endswith("latent.safetensors")]
    whole = (world.folder / key).read_bytes()
    (world.folder / key).write_bytes(whole[:-1])
    end = world.run(world.train_spec("out/cut", world.pairs()))
    assert (end.code, key in end.message) == (65, True)
    (world.folder / key).write_bytes(whole[:-1] + b"\1")  # the right size: noticed when it is read
    end = world.run(world.train_spec("out/changed", world.pairs()))
    assert (end.code, key in end.message) == (65, True)
    world.store.delete(key)
    assert world.run(world.train_spec("out/lost", world.pairs())).code == 65


def test_pairs_that_do_not_fit(sampled: World) -> None:
    pairs = sampled.pairs()
    for name, line, code in (
        ("prompt", pairs[0] | {"promptID": "p9"}, 65), ("other", pairs[0] | {"promptID": "p2"}, 65), ("score", pairs[0] | {"winnerScore": 0}, 65),
        ("field", pairs[0] | {"magic": 1}, 65),
    ):  # fmt: skip
        end = sampled.run(sampled.train_spec(f"out/pairs-{name}", [line]))
        assert (end.code, "in/pairs" in end.message or "sample" in end.message) == (code, True)
    assert sampled.run(sampled.train_spec("out/no-pairs", [])).code == 65
