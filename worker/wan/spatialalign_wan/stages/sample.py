"""sample: the videos of an index that the store lacks, and the latents of training samples.

Whatever it ends with, the samples committed so far stay, and the one in progress goes on from its last step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract import records, samples
from ..contract.exits import ExitCode, StageError, bad_input
from ..contract.keys import digest
from ..contract.spec import Artifact, SampleSpec, sample_key
from ..contract.store import StoreError
from ..contract.task import Item, Task
from ..models import settings, weights
from ..models.settings import VideoSettings

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

    from ..models.sampler import Sampler, State

MAX_STATE = 1 << 30


@dataclass(frozen=True)
class Missing:
    """A sample to make. Damaged ones have a sidecar whose files are not what it says."""

    item: Item
    damaged: bool


def sample(task: Task) -> None:
    spec = task.spec.sample
    assert spec is not None
    settings.check_revision(spec.sampling.numerics_revision)
    model = weights.folder(task.environ, "WAN_MODEL_PATH", weights.MODEL_FILES)
    video = settings.video_settings(spec.sampling, settings.defaults(model))
    weights.check_model(model, spec.sampling.model.name, spec.sampling.model.digest)
    adapter = _adapter(task, spec)
    items = task.read_items(spec.prompts, spec.index)
    task.progress.total(len(items), "samples")
    sidecars: dict[str, samples.Sidecar] = {}
    todo = _find_missing(task, spec, items, sidecars)
    states = UnfinishedSamples(task)
    for sample_id in sidecars:
        states.forget(sample_id)  # another pod has finished it
    if todo:
        _make(task, spec, model, video, adapter, todo, sidecars, states)
    task.write("samples.jsonl", records.to_lines(sidecars[item.line.sample_id] for item in items))
    task.count(total=len(items), generated=len(todo), reused=len(items) - len(todo))


def _adapter(task: Task, spec: SampleSpec) -> bytes | None:
    if spec.sampling.adapter is None:
        return None
    from ..models import lora

    return lora.read_adapter(task, spec.sampling.adapter, spec.sampling.model.digest)[1]


def _find_missing(task: Task, spec: SampleSpec, items: list[Item], sidecars: dict[str, samples.Sidecar]) -> list[Missing]:
    """Verifies what is there already, every byte of it."""
    todo = []
    for item in items:
        task.check_stop()
        want = sample_key(spec.sampling, item.prompt.prompt, item.line.seed)
        if item.line.sample_id != want:
            raise bad_input(
                f"{spec.index.key}: sample {item.line.sample_id} of prompt {item.line.prompt_id!r}, seed {item.line.seed} is not the"
                f" {want} that the spec's sampling makes"
            )
        damaged, found = False, None
        try:
            found = samples.complete(task.store, item.line, item.prompt.prompt, spec.keep_latents)
        except StoreError as e:
            if not (e.corrupt or e.missing):
                raise
            task.log.warning("sample %s is damaged and made again: %s", item.line.sample_id, e)
            damaged = True
        if found is None:
            todo.append(Missing(item, damaged))
        else:
            sidecars[item.line.sample_id] = found
            task.progress.skip()
    return todo


def _make(
    task: Task, spec: SampleSpec, model: Path, video: VideoSettings, adapter: bytes | None, todo: list[Missing],
    sidecars: dict[str, samples.Sidecar], states: UnfinishedSamples,
) -> None:  # fmt: skip
    """Loads the models only now: a shard whose samples are all there needs no GPU."""
    from ..models import embeds, loading, lora
    from ..models.sampler import Sampler

    where = loading.device()
    speed = settings.speed(task.environ, where.type == "cuda")
    negative = [video.negative_prompt] if video.guided else []
    texts = embeds.ensure(
        task, model, where, spec.sampling.model.digest, spec.sampling.numerics_revision,
        [m.item.prompt.prompt for m in todo] + negative,
    )  # fmt: skip
    network, vae = loading.transformer(model, where), loading.vae(model, where)
    if adapter is not None and spec.sampling.adapter is not None:
        lora.load_into(network, lora.read_about(adapter, spec.sampling.adapter.key), adapter, spec.sampling.adapter.key)
        network.requires_grad_(False)
    attention = loading.choose_attention(network, speed, where)
    loading.compile_blocks(network, speed)
    sampler = Sampler(network, spec.sampling.steps, video.guidance_scale)
    about = loading.provenance(where, attention, speed, task.environ.get("SPATIALALIGN_IMAGE", ""))
    maker = _Maker(task, spec, video, sampler, vae, about, states)
    for missing in todo:
        task.check_stop()
        prompt = texts[missing.item.prompt.prompt]
        sidecars[missing.item.line.sample_id] = maker.make(missing, prompt, texts[video.negative_prompt] if video.guided else None)
        task.progress.add()
        task.pace()


class _Maker:
    def __init__(
        self, task: Task, spec: SampleSpec, video: VideoSettings, sampler: Sampler, vae: AutoencoderKLWan, provenance: dict[str, str],
        states: UnfinishedSamples,
    ) -> None:  # fmt: skip
        self._task, self._spec, self._video, self._sampler = task, spec, video, sampler
        self._vae, self._provenance = vae, provenance
        self._states = states

    def make(self, missing: Missing, prompt: object, negative: object) -> samples.Sidecar:
        from ..models.sampler import Stopped, latent_shape

        task, line = self._task, missing.item.line
        state = self._states.find(line.sample_id) or self._sampler.start(line.seed, latent_shape(self._vae, self._video))
        try:
            done = self._sampler.run(state, prompt, negative, task.stop.is_set, task.progress.beat)  # type: ignore[arg-type]
        except Stopped as e:
            if e.state.step > 0:
                self._states.save(line.sample_id, e.state)
                task.progress.checkpoint()
            raise
        if not done.latents.isfinite().all():
            self._states.forget(line.sample_id)  # nobody shall go on from there
            raise diverged(f"sample {line.sample_id} of prompt {line.prompt_id!r}, seed {line.seed}: latents are no numbers")
        sidecar = self._store(missing, done)
        self._states.forget(line.sample_id)
        return sidecar

    def _store(self, missing: Missing, done: State) -> samples.Sidecar:
        """Writes the files of a sample, then its sidecar."""
        from ..models import video as mp4
        from ..models.sampler import decode

        task, line, sampling = self._task, missing.item.line, self._spec.sampling
        half = encode_latent(done.latents, f"the latent of sample {line.sample_id}") if self._spec.keep_latents else None
        frames = decode(self._vae, done.latents)
        adapter = sampling.adapter.digest if sampling.adapter else "none"
        comment = f"AI-generated; model {sampling.model.name} {sampling.model.digest}; adapter {adapter}; sample {line.sample_id}"

        video = samples.put_file(task.store, line.sample_id, task.pod_uid, "video.mp4", mp4.encode(frames, comment))
        latent = None
        if half is not None:
            latent = samples.put_file(task.store, line.sample_id, task.pod_uid, "latent.safetensors", half)
        sidecar = samples.Sidecar(
            sample_id=line.sample_id, prompt_id=line.prompt_id, seed=line.seed, sampling=sampling, video=video, latent=latent,
            width=self._video.width, height=self._video.height, frame_count=len(frames), provenance=self._provenance,
        )  # fmt: skip
        return samples.commit_sample(task.store, sidecar, replace=missing.damaged)


def diverged(what: str) -> StageError:
    return StageError(ExitCode.DIVERGED, f"sampling diverged: {what}: look at sampling.adapter and guidanceScale, and at the GPU")


def encode_latent(latents: object, name: str = "a latent") -> bytes:
    """In half precision: 4.2 MB at full size. Latents are of the order of one, where fp16 is eight times as fine as bf16."""
    import torch

    from ..models.tensors import save

    assert isinstance(latents, torch.Tensor)
    half = latents[0].to(torch.float16).cpu().contiguous()
    if not torch.isfinite(half).all():
        raise diverged(f"{name} is beyond what fp16 holds")
    return save({"latent": half}, {})


def decode_latent(data: bytes, name: str) -> object:
    """The latent in fp32, without a batch: [channels, frames, height, width]."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)["latent"].float()
    except (SafetensorError, KeyError) as e:
        raise bad_input(f"{name} holds no latent: {e}") from e


class UnfinishedSamples:
    """States of samples in progress, below the pod's own prefix. A name tells step and digest, so that whoever finds a
    state can verify it; it is deleted when the sample is done."""

    def __init__(self, task: Task) -> None:
        self._task = task
        pattern = re.compile(r"/unfinished/([0-9a-f]{64})-(\d{5})-([0-9a-f]{64})\.safetensors$")
        self._found: dict[str, list[tuple[int, Artifact]]] = {}
        for key in task.store.list(task.spec.output + "/"):
            if match := pattern.search(key):
                self._found.setdefault(match[1], []).append((int(match[2]), Artifact(key, "sha256:" + match[3])))

    def find(self, sample_id: str) -> State | None:
        from safetensors.torch import load

        from ..models.sampler import State

        for step, a in sorted(self._found.get(sample_id, []), key=lambda found: -found[0]):
            try:
                latents = load(self._task.store.read(a, MAX_STATE))["latents"]
            except StoreError as e:
                if not (e.corrupt or e.missing):
                    raise
                self._task.log.warning("state of an unfinished sample is passed over: %s", e)
                continue
            self._task.log.info("sample %s goes on at step %d", sample_id, step)
            return State(step, latents)
        return None

    def save(self, sample_id: str, state: State) -> None:
        from ..models.tensors import save

        data = save({"latents": state.latents}, {})
        name = f"unfinished/{sample_id}-{state.step:05d}-{digest(data).removeprefix('sha256:')}.safetensors"
        self._task.store.write(self._task.key(name), data)

    def forget(self, sample_id: str) -> None:
        for _, a in self._found.pop(sample_id, []):
            self._task.store.delete(a.key)
