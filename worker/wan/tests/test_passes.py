"""Whatever makes it fast, the numbers stay; what checkpointing keeps is measured."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from spatialalign_wan.models import lora
from spatialalign_wan.models.settings import Speed
from spatialalign_wan.models.tensors import normal
from spatialalign_wan.training.objective import Side
from spatialalign_wan.training.passes import Passes

PLAIN = {"attention": "native", "compile": "no", "checkpointing": "none", "split_pairs": True}
X = Side(normal((1, 16, 3, 8, 8), 1), normal((1, 16, 3, 8, 8), 2))
TEXT = normal((9, 32), 3)


def prepared(previous: bool = False, **speed: Any) -> tuple[Any, Passes]:
    net: Any = tiny.transformer()
    net.requires_grad_(False).eval()
    if previous:
        lora.attach(net, 3, 3, lora.REFERENCE)
        moved(net, lora.REFERENCE, 50)
    lora.attach(net, 2, 2)
    lora.initialize(net, 1)
    moved(net, lora.POLICY, 90)
    return net, Passes(net, Speed(**PLAIN | speed), previous)


def moved(net: Any, name: str, seed: int) -> None:
    with torch.no_grad():
        for i, parameter in enumerate(lora.parameters(net, name).values()):
            parameter += normal(tuple(parameter.shape), seed + i) * 0.05


def computed(net: Any, passes: Passes) -> tuple[Side, Side, torch.Tensor]:
    reference = passes.reference(X, 0.5, TEXT)
    policy = passes.policy(X, 0.5, TEXT)
    loss = (policy.winner - reference.winner).square().mean() + 2 * policy.loser.square().mean()
    gradients = torch.autograd.grad(loss, list(lora.parameters(net).values()))
    return reference, policy, torch.cat([g.reshape(-1) for g in gradients])


@pytest.fixture(scope="module")
def plain() -> tuple[Side, Side, torch.Tensor]:
    return computed(*prepared())


@pytest.mark.parametrize(
    "speed",
    [
        {"checkpointing": "full"}, {"checkpointing": "selective"}, {"split_pairs": False},
        {"compile": "aot_eager"}, {"compile": "aot_eager", "checkpointing": "full"},
        {"compile": "aot_eager", "checkpointing": "selective", "split_pairs": False},
    ],
    ids=str,
)  # fmt: skip
def test_the_numbers_stay(speed: dict[str, Any], plain: tuple[Side, Side, torch.Tensor]) -> None:
    torch._dynamo.reset()
    reference, policy, gradients = computed(*prepared(**speed))
    for got, want in ((reference, plain[0]), (policy, plain[1])):
        assert torch.allclose(got.winner, want.winner, atol=1e-5)
        assert torch.allclose(got.loser, want.loser, atol=1e-5)
    assert torch.nn.functional.cosine_similarity(gradients, plain[2], dim=0) > 0.99999
    assert torch.allclose(gradients, plain[2], rtol=1e-3, atol=1e-6)


def saved_bytes(**speed: Any) -> int:
    """What the forward pass of the policy keeps for the backward pass, outside of the weights."""
    net, passes = prepared(**speed)
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        keep = passes.policy(X, 0.5, TEXT)
    assert keep.winner.requires_grad
    return sum(seen.values())


def test_checkpointing_keeps_less() -> None:
    assert saved_bytes(checkpointing="full") < 0.5 * saved_bytes(checkpointing="none")


def test_compiled_checkpointing_keeps_less() -> None:
    """Compiled around the checkpoint; inside it, the graph would keep what the checkpoint gives up. A selective one keeps the
    outputs of attention beside what a full one does."""
    kept = {}
    for mode in ("none", "full", "selective"):
        torch._dynamo.reset()
        kept[mode] = saved_bytes(compile="aot_eager", checkpointing=mode)
    assert kept["full"] < kept["selective"] < 0.5 * kept["none"]


def test_selective_checkpointing_computes_no_attention_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention runs once for each of a block's two, full checkpointing runs it again in the backward pass."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = str(func)
            if "scaled_dot_product" in name and "backward" not in name:
                self.calls += 1
            return func(*args, **(kwargs or {}))

    counts = {}
    for mode in ("none", "selective", "full"):
        net, passes = prepared(checkpointing=mode, split_pairs=False)
        with Count() as count:
            loss = passes.policy(X, 0.5, TEXT).winner.square().mean()
            torch.autograd.grad(loss, list(lora.parameters(net).values()))
        counts[mode] = count.calls
    assert counts["selective"] == counts["none"] == 4
    assert counts["full"] == 8


@pytest.mark.parametrize("checkpointing", ["none", "selective"])
def test_the_reference_is_the_base_with_the_adapter_off(checkpointing: str) -> None:
    base: Any = tiny.transformer()
    with torch.no_grad():
        want = base.eval()(X.winner, torch.tensor([500.0]), torch.nn.functional.pad(TEXT, (0, 0, 0, 503))[None], return_dict=False)[0]
    net, passes = prepared(checkpointing=checkpointing)
    reference = passes.reference(X, 0.5, TEXT)
    assert torch.equal(reference.winner, want)
    assert not reference.winner.requires_grad
    policy = passes.policy(X, 0.5, TEXT)
    assert not torch.allclose(policy.winner, want, atol=1e-4)
    assert all(p.requires_grad for p in lora.parameters(net).values())


def test_the_previous_policy_as_the_reference() -> None:
    net, passes = prepared(previous=True)
    reference, policy = passes.reference(X, 0.5, TEXT), passes.policy(X, 0.5, TEXT)
    assert not torch.allclose(reference.winner, policy.winner, atol=1e-4)
    base = prepared()[1]
    assert not torch.allclose(reference.winner, base.reference(X, 0.5, TEXT).winner, atol=1e-4)
    assert torch.allclose(policy.winner, base.policy(X, 0.5, TEXT).winner, atol=1e-5)
    gradients = torch.autograd.grad(policy.winner.sum(), list(lora.parameters(net).values()))
    assert all(g.abs().sum() > 0 for g in gradients[:2])
    assert not any(p.requires_grad for p in lora.parameters(net, lora.REFERENCE).values())
