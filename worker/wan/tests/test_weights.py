"""Weights: known by their digest, checked before a GPU is used; the commands around the stages."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from spatialalign_wan.cli import main
from spatialalign_wan.contract.exits import StageError
from spatialalign_wan.models import lora, weights
from support import World, changed_environment


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


def test_the_digest_is_what_anybody_can_compute(copy: Path) -> None:
    command = "find . -type f ! -name weights.json | LC_ALL=C sort | sed 's|^./||' | xargs sha256sum | sha256sum"
    found = subprocess.run(["bash", "-c", command], cwd=copy, check=True, capture_output=True, text=True).stdout
    assert weights.identify(copy).digest == "sha256:" + found.split()[0]


def test_a_record_saves_the_hashing_and_tells_of_changes(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want = weights.hash_files(copy)
    weights.record(copy, want)
    monkeypatch.setattr(weights, "hash_files", lambda _: pytest.fail("hashed again"))
    assert weights.identify(copy) == want
    (copy / "transformer/extra.txt").write_text("x")
    with pytest.raises(StageError, match=r"extra.txt is not in weights.json"):
        weights.identify(copy)
    (copy / "transformer/extra.txt").unlink()
    file = next((copy / "vae").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StageError, match="truncated or was changed") as e:
        weights.identify(copy)
    assert e.value.code == 66


def command(model: Path, *arguments: str) -> int:
    with changed_environment({"WAN_MODEL_PATH": str(model)}):
        return main(arguments)


def test_check_verifies_records_and_runs(
    copy: Path, detector_weights: Path, guard_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector, guard = (shutil.copytree(folder, tmp_path / folder.name) for folder in (detector_weights, guard_weights))
    with changed_environment({"WAN_DETECTOR_PATH": str(detector), "WAN_GUARD_PATH": str(guard)}):
        assert command(copy, "check", "--record", "--load") == 0
    said = capsys.readouterr().out
    assert weights.identify(copy).digest in said
    assert "transformer: loaded" in said
    assert "detector: loaded, looks at a frame and follows into another" in said
    assert "guard metrics: loaded, and measure" in said
    assert (copy / "weights.json").exists()
    # A flipped bit has the right size: only reading it all tells.
    file = next((copy / "vae").glob("*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert command(copy, "check") == 66
    assert "a file was changed" in capsys.readouterr().err


def test_check_finds_what_is_cut_or_missing(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = next((copy / "transformer").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-10])
    assert command(copy, "check") == 66
    assert "truncated" in capsys.readouterr().err
    file.unlink()
    assert command(copy, "check") == 66
    assert "transformer/*.safetensors" in capsys.readouterr().err
    with changed_environment({"WAN_MODEL_PATH": ""}):
        assert main(["check"]) == 64


def test_weights_in_another_format_are_converted_as_the_readme_says(
    guard_weights: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a repository without safetensors has them; the command is the README's own, with other folders."""
    from transformers import CLIPModel

    download, guard = tmp_path / "download", Path(shutil.copytree(guard_weights, tmp_path / "guard"))
    shutil.move(guard / "clip", download)
    torch.save(CLIPModel.from_pretrained(download).state_dict(), download / "pytorch_model.bin")
    (download / "model.safetensors").unlink()
    shutil.copytree(download, guard / "clip")
    with changed_environment({"WAN_GUARD_PATH": str(guard)}):
        assert command(model, "check") == 66
    assert "holds no clip/*.safetensors: pytorch_model.bin is in another format" in capsys.readouterr().err
    shutil.rmtree(guard / "clip")
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    script = textwrap.dedent(readme.split("    python - <<'EOF'\n")[1].split("    EOF\n")[0])
    exec(script.replace("/download/clip", str(download)).replace("/weights/guard", str(guard)))
    with changed_environment({"WAN_GUARD_PATH": str(guard)}):
        assert command(model, "check", "--load") == 0
    assert "guard metrics: loaded" in capsys.readouterr().out
    assert not list(guard.rglob("*.bin"))


def test_every_file_of_an_index_must_be_there(copy: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (part,) = (copy / "transformer").glob("*.safetensors")
    index = copy / "transformer" / (part.name + ".index.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"a": part.name, "b": part.name}}))
    assert command(copy, "check") == 0
    index.write_text(json.dumps({"weight_map": {"a": part.name, "b": "model-00002-of-00002.safetensors"}}))
    capsys.readouterr()
    assert command(copy, "check") == 66
    assert "names model-00002-of-00002.safetensors" in capsys.readouterr().err
    assert world.run(world.sample_spec("out/x"), WAN_MODEL_PATH=str(copy)).code == 66
    index.write_text('["rubbish"]')
    assert command(copy, "check") == 66


def test_info_says_what_a_runtime_needs(
    copy: Path, detector_weights: Path, guard_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with changed_environment({"WAN_DETECTOR_PATH": str(detector_weights)}):
        assert command(copy, "info") == 0
    about = json.loads(capsys.readouterr().out)
    assert about["model"]["digest"] == weights.identify(copy).digest
    assert about["detector"] == {
        "name": "grounding-dino-tiny+sam2.1-hiera-large", "digest": weights.identify(detector_weights).digest, "revision": "1",
    }  # fmt: skip
    assert about["numericsRevision"] == "1"
    with changed_environment({"WAN_DETECTOR_PATH": str(detector_weights), "WAN_GUARD_PATH": str(guard_weights)}):
        assert command(copy, "info") == 0
    revision = json.loads(capsys.readouterr().out)["detector"]["revision"]
    assert revision == "1+guards-" + weights.identify(guard_weights).digest.removeprefix("sha256:")[:12]


def test_stages_refuse_other_weights(world: World, copy: Path) -> None:
    (copy / "sampling.json").write_text('{"frames": 13}')
    end = world.run(world.sample_spec("out/x"), WAN_MODEL_PATH=str(copy))
    assert (end.code, world.model_spec["digest"] in end.message) == (66, True)
    assert world.run(world.sample_spec("out/x"), WAN_MODEL_PATH="").code == 64
    assert world.run(world.sample_spec("out/x"), WAN_MODEL_PATH="/nowhere").code == 66
    assert world.run(world.sample_spec("out/x", numericsRevision="0")).code == 66


def test_no_cpu_takes_the_place_of_a_gpu(world: World) -> None:
    """As PyTorch would have it where the driver is too old or no GPU was requested."""
    document = world.sample_spec("out/no-gpu", seeds=1, first=500)
    end = world.run(document, WAN_DEVICE="")
    assert (end.code, end.word["class"], "WAN_DEVICE=cpu" in end.message) == (76, "GPUFault", True), end.message
    assert world.store.list("samples/") == []


def test_settings_that_are_none(world: World) -> None:
    for name in ("WAN_DEVICE", "WAN_ATTENTION", "WAN_COMPILE", "WAN_CHECKPOINTING", "WAN_SPLIT_PAIRS"):
        end = world.run(world.sample_spec(f"out/{name}", seeds=1, first=hash(name) % 1000), **{name: "magic"})
        assert (end.code, name in end.message) == (64, True)


def test_export_and_metrics(sampled: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    m = sampled.done(sampled.train_spec("out/export", sampled.pairs()))
    adapter, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    adapter.write_bytes(sampled.file(m, "adapter.safetensors"))
    assert main(["export", "--to", "comfyui", str(adapter), str(out)]) == 0
    assert out.read_bytes() == lora.to_comfyui(adapter.read_bytes(), "x")
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_bytes(sampled.file(m, "metrics.jsonl"))
    assert main(["metrics", "--to", "tensorboard", str(metrics), str(tmp_path / "events")]) == 0
    assert next((tmp_path / "events").iterdir()).stat().st_size > 100
    assert main(["metrics", "--to", "wandb", str(metrics)]) == 64
    assert "pip install wandb" in capsys.readouterr().err
    metrics.write_text("rubbish")
    assert main(["metrics", "--to", "tensorboard", str(metrics)]) == 65


def test_a_bad_call_takes_no_pytorch(tmp_path: Path) -> None:
    """As a process of its own, as a pod starts it: refused within what an import of PyTorch takes."""
    script = "import sys; from spatialalign_wan.cli import main; code = main(['dream']); assert 'torch' not in sys.modules; sys.exit(code)"
    end = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert end.returncode == 64, end.stderr
    assert json.loads(end.stdout)["class"] == "BadSpec"
