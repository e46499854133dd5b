"""Sampling: the pipeline's numbers, resumption inside a sample, what the files hold."""

from __future__ import annotations

import ctypes
import json
import random
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import load

from spatialalign_wan.contract.keys import sample_file_key
from spatialalign_wan.contract.spec import Artifact
from spatialalign_wan.models import embeds, loading, video
from spatialalign_wan.models.sampler import Sampler, Stopped, decode, latent_shape
from spatialalign_wan.models.settings import Defaults, VideoSettings, video_settings
from spatialalign_wan.models.tensors import normal
from spatialalign_wan.stages import sample as stage
from support import PROMPTS, World

CPU = torch.device("cpu")
VIDEO = VideoSettings(9, 16, 16, 5.0, "blurred, static")


@pytest.fixture(scope="module")
def pipeline(model: Path) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler
    from transformers import AutoTokenizer, UMT5EncoderModel

    class Reference(FlowMatchEulerDiscreteScheduler):
        def set_timesteps(self, n: int, device: Any = None) -> None:
            super().set_timesteps(sigmas=torch.linspace(1, 0, n + 1)[:-1].tolist(), device=device)

    pipe = WanPipeline(
        tokenizer=AutoTokenizer.from_pretrained(model / "tokenizer"), text_encoder=UMT5EncoderModel.from_pretrained(model / "text_encoder"),
        vae=loading.vae(model, CPU), scheduler=Reference(shift=5.0), transformer=loading.transformer(model, CPU),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_sigmas_are_the_references() -> None:
    found = loading.sigmas(50)
    u = torch.linspace(1, 0, 51)
    assert torch.allclose(found, 5 * u / (1 + 4 * u), atol=1e-6)
    assert found[0] == 1
    assert found[-1] == 0


def test_embeddings_are_the_pipelines(model: Path, pipeline: Any) -> None:
    prompt = "  a cat &amp; a   dog\non the left"
    want, _ = pipeline.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=512)
    states = embeds.Encoder(model, CPU).encode(prompt)
    assert states.shape[0] < 60
    got = embeds.pad(states, CPU, torch.float32)
    assert torch.allclose(got, want, atol=1e-5)
    assert torch.equal(got == 0, want == 0)


def test_latents_and_pictures_are_the_pipelines(model: Path, pipeline: Any) -> None:
    """The real pipeline with the reference's scheduler and a CPU generator, bit by bit."""
    encoder = embeds.Encoder(model, CPU)
    text, other = encoder.encode(PROMPTS[0]["prompt"]), encoder.encode(VIDEO.negative_prompt)
    call = {
        "prompt_embeds": embeds.pad(text, CPU, torch.float32), "negative_prompt_embeds": embeds.pad(other, CPU, torch.float32),
        "num_frames": 9, "height": 16, "width": 16, "num_inference_steps": 4, "guidance_scale": 5.0,
    }  # fmt: skip
    want = pipeline(**call, generator=[torch.Generator().manual_seed(2**64 - 5)], output_type="latent").frames
    sampler = Sampler(pipeline.transformer, 4, 5.0)
    shape = latent_shape(pipeline.vae, VIDEO)
    got = sampler.run(sampler.start(2**64 - 5, shape), text, other, lambda: False, lambda: None).latents
    assert torch.equal(got, want)
    pictures = pipeline(**call, generator=[torch.Generator().manual_seed(2**64 - 5)], output_type="np").frames[0]
    assert abs(decode(pipeline.vae, got) / 255.0 - pictures).max() <= 0.5 / 255 + 1e-6


def test_noise_depends_on_the_seed_alone() -> None:
    assert torch.equal(normal((2, 3), 2**64 - 1), normal((2, 3), 2**64 - 1))
    assert not torch.equal(normal((2, 3), 1), normal((2, 3), 2))


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_sample_goes_on_where_it_stopped(pipeline: Any, stop_at: int) -> None:
    text = normal((5, 32), 1)
    sampler = Sampler(pipeline.transformer, 5, 5.0)
    start = sampler.start(1, (1, 16, 3, 2, 2))
    steps = []
    with pytest.raises(Stopped) as stopped:
        sampler.run(start, text, text * 0, lambda: len(steps) == stop_at, lambda: steps.append(1))
    assert stopped.value.state.step == stop_at
    whole = sampler.run(start, text, text * 0, lambda: False, lambda: None)
    rest = sampler.run(stopped.value.state, text, text * 0, lambda: False, lambda: None)
    assert torch.equal(rest.latents, whole.latents)


def test_an_interrupted_sample_leaves_its_state_and_the_next_attempt_takes_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    document = world.sample_spec("out/stopped", seeds=1, steps=6)
    whole = World(world.root / "whole", world.model)
    undisturbed = whole.done(whole.sample_spec("out/stopped", seeds=1, steps=6))
    velocity, calls = Sampler._velocity, []

    def counted(self: Sampler, *arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 9:  # of the second sample's six steps, the third
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)
        return velocity(self, *arguments)

    monkeypatch.setattr(Sampler, "_velocity", counted)
    end = world.run(document)
    assert (end.code, end.word["class"]) == (75, "Interrupted")
    (state,) = [key for key in world.store.list("out/stopped/") if "/unfinished/" in key]
    assert "-00003-" in state
    m = world.done(document, attempt=1)
    assert m["counts"] == {"total": 2, "generated": 1, "reused": 1}
    assert len(calls) == 12  # no step was taken twice
    assert [key for key in world.store.list("out/stopped/") if "/unfinished/" in key] == []
    for a, b in zip(world.file(m, "samples.jsonl").splitlines(), whole.file(undisturbed, "samples.jsonl").splitlines(), strict=True):
        assert json.loads(a)["video"]["digest"] == json.loads(b)["video"]["digest"]
        assert json.loads(a)["latent"]["digest"] == json.loads(b)["latent"]["digest"]


def test_a_damaged_state_is_passed_over(world: World) -> None:
    document = world.sample_spec("out/damaged", seeds=1)
    sample_id = world.index(world.sampling(), 1)[0]["sampleID"]
    world.store.write(f"out/damaged/0-x/0/unfinished/{sample_id}-00001-{'0' * 64}.safetensors", b"rubbish")
    assert world.done(document, attempt=1)["counts"]["generated"] == 2


@pytest.mark.parametrize(("value", "keep"), [(float("nan"), True), (float("nan"), False), (1e6, True)])
def test_latents_that_are_no_numbers_are_divergence(world: World, monkeypatch: pytest.MonkeyPatch, value: float, keep: bool) -> None:
    monkeypatch.setattr(Sampler, "_velocity", lambda self, latents, *_: torch.full_like(latents, value))
    document = world.sample_spec("out/diverged", seeds=1)
    document["sample"]["keepLatents"] = keep
    end = world.run(document)
    assert (end.code, end.word["class"]) == (78, "Diverged"), end.message
    assert world.store.list("samples/") == []
    assert world.store.list("out/") == []


def test_a_latent_is_kept_to_half_precision() -> None:
    latent = torch.tensor([1 + 2**-10, -3.14159]).reshape(1, 1, 1, 1, 2)
    kept: Any = stage.decode_latent(stage.encode_latent(latent), "x")
    assert torch.equal(kept, latent[0].half().float())


def test_states_of_samples_that_another_pod_has_finished_are_forgotten(sampled: World) -> None:
    sample_id = sampled.index(sampled.sampling(), 1)[0]["sampleID"]
    sampled.store.write(f"out/finished/0-x/0/unfinished/{sample_id}-00001-{'0' * 64}.safetensors", b"a state")
    assert sampled.done(sampled.sample_spec("out/finished"), attempt=1)["counts"]["generated"] == 0
    assert [key for key in sampled.store.list("out/finished/") if "/unfinished/" in key] == []


def test_a_video_says_that_it_is_generated(sampled: World) -> None:
    m = sampled.done(sampled.sample_spec("out/again"))
    sidecar = json.loads(sampled.file(m, "samples.jsonl").splitlines()[0])
    data = sampled.read(sidecar["video"])
    about = video.metadata(data)
    assert about["title"] == "AI-generated video"
    assert about["comment"].startswith("AI-generated; model tiny sha256:")
    assert sidecar["sampleID"] in about["comment"]
    assert video.decode(data, "video", 99).shape == (9, 16, 16, 3)
    about = sidecar["provenance"]
    assert (about["torch"], about["device"], about["attention"], about["compile"]) == (torch.__version__, "cpu", "native", "no")
    assert "image" not in about  # nobody has said it
    latent = load(sampled.read(sidecar["latent"]))["latent"]
    assert (latent.dtype, latent.shape) == (torch.float16, (16, 3, 2, 2))


def test_an_mp4_has_the_frames_given() -> None:
    frames = box(20, 48, 64)
    data = video.encode(frames, "c")
    found = video.decode(data, "v", 81)
    assert found.shape == frames.shape
    assert abs(found[7, 15, 15].astype(int) - (200, 30, 60)).max() < 12
    assert len(video.decode(data, "v", 7)) == 7
    grey = np.full((1, 16, 16, 3), 128, np.uint8)
    assert (video.decode(video.encode(grey, "c"), "v", 1) == 128).all()


@pytest.mark.parametrize(("height", "width"), [(48, 64), (50, 70)])
def test_the_same_frames_are_the_same_bytes(height: int, width: int) -> None:
    """Whatever lies in memory beside them, and whichever instructions the CPU has."""
    library = ctypes.CDLL(next((Path(av.__file__).parents[1] / "av.libs").glob("libavutil*")))
    own, frames, dice = library.av_get_cpu_flags(), box(20, height, width), random.Random(0)
    want = video.encode(frames, "c")
    pictures = video.decode(want, "v", 81)
    try:
        for flags in [0, *[own] * 20]:
            library.av_force_cpu_flags(flags)
            litter = [dice.randbytes(dice.randint(1, 1 << 17)) for _ in range(8)]
            del litter
            assert video.encode(frames.copy(), "c") == want
            assert np.array_equal(video.decode(want, "v", 81), pictures)
    finally:
        library.av_force_cpu_flags(own)


def test_x264_reads_no_memory_that_nobody_has_set() -> None:
    """What its AVX-512 code does otherwise shows on such a CPU alone, and not every time."""
    assert video.X264["x264-params"] == "cpu-independent=1"


def test_a_sample_tells_its_image(world: World) -> None:
    m = world.done(world.sample_spec("out/image", seeds=1), SPATIALALIGN_IMAGE="registry.example/wan@sha256:" + "1" * 64)
    sidecar = json.loads(world.file(m, "samples.jsonl").splitlines()[0])
    assert sidecar["provenance"]["image"] == "registry.example/wan@sha256:" + "1" * 64


def box(count: int, height: int, width: int) -> video.Frames:
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[:, 10:20, 5:25] = (200, 30, 60)
    return frames


def test_embeddings_are_made_once_and_damaged_ones_again(world: World) -> None:
    prompts = world.prompts
    document = world.spec("encode", "out/encode", {"prompts": prompts, "model": world.model_spec, "numericsRevision": "1"})
    assert world.done(document)["counts"] == {"total": 3, "generated": 3, "reused": 0}
    document["output"] = "out/encode-2"
    assert world.done(document)["counts"] == {"total": 3, "generated": 0, "reused": 3}
    key = world.store.list("embeds/")[0]
    whole = world.store.read(Artifact(key), 1 << 20)
    world.store.write(key, whole[:-4] + b"\1\1\1\1")
    document["output"] = "out/encode-3"
    assert world.done(document)["counts"] == {"total": 3, "generated": 1, "reused": 2}
    assert world.store.size(key) == len(whole)


def test_shards_that_work_at_once_share_out_the_embeddings(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One shard is in the middle of its work when the other one begins: what that one makes is not made again."""
    prompts = [{**PROMPTS[0], "promptID": f"p{i}", "prompt": f"prompt number {i}"} for i in range(12)]
    world.prompts = world.put_lines("in/many.jsonl", prompts)
    asked = world.sampling()
    index = world.put_lines("in/many-index.jsonl", world.index(asked, 2, prompts=prompts))
    document = world.spec("sample", "out/many", {"prompts": world.prompts, "index": index, "sampling": asked})
    made: list[str] = []
    encode = embeds.Encoder.encode

    def counted(self: embeds.Encoder, prompt: str) -> torch.Tensor:
        made.append(prompt)
        if len(made) == 3:
            world.done(document, shard=1, shards=2)
        return encode(self, prompt)

    monkeypatch.setattr(embeds.Encoder, "encode", counted)
    world.done(document, shard=0, shards=2)
    assert len(set(made)) == 13  # with the negative prompt
    assert len(made) <= 14  # one was in the making


def test_every_shard_takes_its_turn_at_every_key() -> None:
    names = [f"embeds/{i}" for i in range(100)]
    orders = [embeds.turns(names, shard, 4) for shard in range(4)]
    assert all(sorted(order) == sorted(names) for order in orders)
    assert len({order[0] for order in orders}) == 4
    assert embeds.turns(names, 0, 1) == sorted(names)


def test_settings_that_no_video_can_have_are_refused(world: World) -> None:
    for field, value in (("frames", 10), ("width", 20), ("height", 4096)):
        end = world.run(world.sample_spec("out/size", **{field: value}))
        assert (end.code, field in end.message) == (64, True)


def test_what_a_sampling_leaves_open_is_the_runtimes_own(model: Path) -> None:
    from spatialalign_wan.contract.spec import Model, Sampling

    v = video_settings(Sampling(Model("m", "d"), "1", None, 50), Defaults())
    assert (v.frames, v.width, v.height, v.guidance_scale) == (81, 832, 480, 5.0)
    assert not video_settings(Sampling(Model("m", "d"), "1", None, 50, guidance_scale="1"), Defaults()).guided


def test_a_lost_latent_is_sampled_again(world: World) -> None:
    m = world.done(world.sample_spec("out/first", seeds=1))
    sidecar = json.loads(world.file(m, "samples.jsonl").splitlines()[0])
    world.store.delete(sidecar["latent"]["key"])
    again = world.done(world.sample_spec("out/second", seeds=1))
    assert again["counts"] == {"total": 2, "generated": 1, "reused": 1}
    assert world.store.size(sample_file_key(sidecar["sampleID"], "uid-2", "latent.safetensors")) == sidecar["latent"]["size"]
