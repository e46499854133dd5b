"""The adapter: where it sits, its size at the real size, and its file in diffusers and in ComfyUI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline, WanTransformer3DModel
from safetensors.torch import load

import tiny
from spatialalign_wan.contract.exits import StageError
from spatialalign_wan.models import lora, tensors

BASE = "sha256:" + "a" * 64


def network() -> WanTransformer3DModel:
    return tiny.transformer().requires_grad_(False).eval()  # type: ignore[attr-defined, no-any-return]


def trained(rank: int = 2, alpha: int = 4) -> tuple[WanTransformer3DModel, bytes]:
    """An adapter whose B is not zero."""
    net = network()
    lora.attach(net, rank, alpha)
    lora.initialize(net, 1)
    with torch.no_grad():
        for i, parameter in enumerate(lora.parameters(net).values()):
            parameter += tensors.normal(tuple(parameter.shape), i) * 0.1
    return net, lora.encode(net, lora.About(BASE, rank, alpha))


def velocity(net: Any) -> torch.Tensor:
    with torch.no_grad():
        x, text = tensors.normal((1, 16, 3, 4, 4), 1), tensors.normal((1, 7, 32), 2)
        out: torch.Tensor = net(x, torch.tensor([500.0]), text, return_dict=False)[0]
        return out


def pipeline(net: Any) -> WanPipeline:
    return WanPipeline(tokenizer=None, text_encoder=None, vae=None, scheduler=None, transformer=net)


def test_at_the_real_size_it_has_3_million_parameters() -> None:
    with torch.device("meta"):
        real = WanTransformer3DModel(
            num_attention_heads=12, attention_head_dim=128, text_dim=4096, freq_dim=256, ffn_dim=8960, num_layers=30
        )
        lora.attach(real, 16, 16)
    own = lora.parameters(real)
    assert sum(p.numel() for p in own.values()) == 3_088_384
    assert len(own) == 2 * (2 * 30 + 2)
    assert {p.dtype for p in own.values()} == {torch.float32}


def test_a_fresh_adapter_changes_nothing_and_draws_by_seed() -> None:
    net = network()
    before = velocity(net)
    lora.attach(net, 2, 2)
    lora.initialize(net, 1)
    assert torch.equal(velocity(net), before)
    first = lora.encode(net, lora.About(BASE, 2, 2))
    lora.initialize(net, 1)
    assert lora.encode(net, lora.About(BASE, 2, 2)) == first
    lora.initialize(net, 2)
    assert lora.encode(net, lora.About(BASE, 2, 2)) != first


def test_fresh_matrices_are_kaimings_and_drawn_from_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    net, drawn = network(), []
    lora.attach(net, 8, 8)
    for high in (0, 1):
        monkeypatch.setattr(lora, "hash64", lambda *_, high=high: (high << 32) + 7)
        lora.initialize(net, 1)
        drawn.append({name: p.detach().clone() for name, p in lora.parameters(net).items() if name.endswith("lora_A.weight")})
    for name, matrix in drawn[0].items():
        assert not torch.equal(matrix, drawn[1][name])
        bound = matrix.shape[1] ** -0.5
        assert 0.9 * bound < matrix.abs().max() <= bound
        assert matrix.mean().item() == pytest.approx(0, abs=0.2 * bound)


def test_the_file_comes_back(tmp_path: Path) -> None:
    net, data = trained()
    other = network()
    lora.load_into(other, lora.read_about(data, "x"), data, "x")
    assert torch.equal(velocity(other), velocity(net))
    assert lora.encode(other, lora.About(BASE, 2, 4)) == data


@pytest.mark.parametrize(("rank", "alpha"), [(2, 2), (2, 4), (4, 1)])
@pytest.mark.parametrize("form", ["diffusers", "comfyui"])
def test_diffusers_loads_it_in_both_forms(tmp_path: Path, form: str, rank: int, alpha: int) -> None:
    net, data = trained(rank, alpha)
    (tmp_path / "adapter.safetensors").write_bytes(data if form == "diffusers" else lora.to_comfyui(data, "x"))
    pipe = pipeline(network())
    pipe.load_lora_weights(tmp_path, weight_name="adapter.safetensors")
    assert torch.allclose(velocity(pipe.transformer), velocity(net), atol=1e-5)
    assert not torch.allclose(velocity(network()), velocity(net), atol=1e-3)


def test_comfyui_names() -> None:
    found = load(lora.to_comfyui(trained()[1], "x"))
    sides = [f"lora_{side}.weight" for side in "AB"]
    want = {f"diffusion_model.blocks.{i}.cross_attn.{k}.{side}" for i in range(2) for k in "kv" for side in sides}
    assert set(found) == want | {f"diffusion_model.text_embedding.{i}.{side}" for i in (0, 2) for side in sides}


def test_what_diffusers_saves_has_the_same_tensors(tmp_path: Path) -> None:
    from peft import get_peft_model_state_dict

    net, data = trained()
    WanPipeline.save_lora_weights(tmp_path, transformer_lora_layers=get_peft_model_state_dict(net, adapter_name=lora.POLICY))
    theirs, ours = load((tmp_path / "pytorch_lora_weights.safetensors").read_bytes()), load(data)
    assert set(theirs) == set(ours)
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


@pytest.mark.parametrize("data", [b"", b"rubbish" * 9, tensors.save({"x": torch.zeros(2)}, {}), trained()[1][:-5]])
def test_what_is_no_adapter_is_a_mismatch(data: bytes) -> None:
    with pytest.raises(StageError) as e:
        lora.read_about(data, "the/key")
    assert e.value.code == 66
    assert "the/key" in str(e.value)


def test_the_same_tensors_give_the_same_bytes() -> None:
    state = {name: tensors.normal((3,), i) for i, name in enumerate("cab")} | {"half": torch.ones(3, dtype=torch.float16)}
    metadata = {str(i): "x" for i in range(20)}
    data = tensors.save(state, metadata)
    assert data == tensors.save(dict(reversed(state.items())), dict(reversed(metadata.items())))
    assert all(torch.equal(load(data)[name], tensor) for name, tensor in state.items())
    assert tensors.header(data)["__metadata__"] == metadata
