"""Compiled blocks, as every GPU runs them, with the backend that generates no code: the numbers stay, a block is one graph, and
the graph of one block and step is that of all."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load
from torch._dynamo.utils import counters

import tiny
from spatialalign_wan.models import loading, lora
from spatialalign_wan.models.sampler import Sampler
from spatialalign_wan.models.settings import Speed
from spatialalign_wan.models.tensors import normal
from spatialalign_wan.training.objective import Side
from spatialalign_wan.training.passes import Passes
from support import World

LAYERS = 10  # more than the versions of one function that are compiled before an error
TEXTS = normal((9, 32), 1), normal((5, 32), 2)


def network(dtype: torch.dtype, adapters: tuple[str, ...]) -> Any:
    """In the types it has once it is loaded: the base in the given one, but for what its class keeps in fp32, and adapters in fp32."""
    net: Any = tiny.transformer(LAYERS)
    for name, parameter in net.named_parameters():
        if not any(part in name for part in WanTransformer3DModel._keep_in_fp32_modules):
            parameter.data = parameter.data.to(dtype)
    net.requires_grad_(False).eval()
    for rank, name in enumerate(adapters, start=2):
        lora.attach(net, rank, rank, name)
        with torch.no_grad():
            for i, parameter in enumerate(lora.parameters(net, name).values()):
                parameter += normal(tuple(parameter.shape), i) * 0.1
    return net


def speed(compiled: bool, checkpointing: str = "none") -> Speed:
    return Speed("native", "aot_eager" if compiled else "no", checkpointing, split_pairs=False)


def graphs() -> int:
    return int(counters["stats"]["unique_graphs"])


@pytest.fixture(autouse=True)
def _nothing_is_compiled_yet() -> None:
    forget()


def forget() -> None:
    torch._dynamo.reset()
    counters.clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("adapters", [(), (lora.POLICY,)], ids=["base", "adapter"])
def test_a_compiled_sampler(dtype: torch.dtype, adapters: tuple[str, ...]) -> None:
    ends, seen = [], []
    for compiled in (False, True):
        net = network(dtype, adapters).requires_grad_(False)
        loading.compile_blocks(net, speed(compiled))
        sampler = Sampler(net, 4, 5.0)
        seen.clear()
        ends.append(sampler.run(sampler.start(1, (1, 16, 3, 4, 4)), *TEXTS, lambda: False, lambda: seen.append(graphs())).latents)
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-4, atol=1e-5)
    assert seen == [1] * 4
    assert not counters["graph_break"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("previous", [False, True], ids=["base", "previous"])
@pytest.mark.parametrize("checkpointing", ["full", "selective"])
def test_a_compiled_training(dtype: torch.dtype, previous: bool, checkpointing: str) -> None:
    """Its graphs: of the reference, and with gradients of the first block, whose input needs none, and of the others."""
    found, seen = [], []
    for compiled in (False, True):
        net = network(dtype, (lora.POLICY, lora.REFERENCE) if previous else (lora.POLICY,))
        passes = Passes(net, speed(compiled, checkpointing), previous)
        gradients = []
        for pair in range(3):
            x, sigma, text = Side(*(normal((1, 16, 3, 4, 4), 9 * pair + i) for i in range(2))), 0.2 + 0.3 * pair, TEXTS[pair % 2]
            reference, policy = passes.reference(x, sigma, text), passes.policy(x, sigma, text)
            loss = (policy.winner - reference.winner).square().mean() + policy.loser.square().mean()
            gradients += [g.reshape(-1) for g in torch.autograd.grad(loss, list(lora.parameters(net).values()))]
            seen.append(graphs())
        found.append(torch.cat(gradients).double())
    # A block that is compiled as a whole rounds to bf16 in other places.
    assert (found[1] - found[0]).norm() < (1e-5 if dtype is torch.float32 else 2e-2) * found[0].norm()
    assert seen == [0] * 3 + [3] * 3
    assert not counters["graph_break"]


def test_stages_with_compiled_blocks(sampled: World, world: World) -> None:
    """A training on samples that were not compiled, and samples with its adapter."""
    compiled = {"WAN_COMPILE": "aot_eager"}
    trained = [sampled.done(sampled.train_spec(f"out/{i}", sampled.pairs()), **more) for i, more in enumerate(({}, compiled))]
    plain, other = (load(sampled.read(m["outputs"]["adapter"])) for m in trained)
    for name, tensor in plain.items():
        torch.testing.assert_close(other[name], tensor, rtol=0, atol=1e-5)
    assert graphs() == 3
    adapter = trained[0]["outputs"]["adapter"]
    world.store.write(adapter["key"], sampled.read(adapter))
    for number, more in enumerate(({}, {"adapter": adapter})):
        plain_samples = sampled.done(sampled.sample_spec(f"out/plain-{number}", **more))
        forget()
        compiled_samples = world.done(world.sample_spec(f"out/compiled-{number}", **more), **compiled)
        assert graphs() == 1
        for a, b in zip(sidecars(sampled, plain_samples), sidecars(world, compiled_samples), strict=True):
            assert (a["provenance"]["compile"], b["provenance"]["compile"]) == ("no", "aot_eager")
            want, got = (load(w.read(sidecar["latent"]))["latent"] for w, sidecar in ((sampled, a), (world, b)))
            torch.testing.assert_close(got, want, rtol=0, atol=2e-3)  # they are kept in fp16


def sidecars(world: World, m: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in world.file(m, "samples.jsonl").splitlines()]
