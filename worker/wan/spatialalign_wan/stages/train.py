"""train: fine-tunes a LoRA adapter on preference pairs. It goes on from the newest checkpoint of the same spec, of
whatever attempt."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract import records, samples
from ..contract.exits import Interrupted, bad_input
from ..contract.spec import Artifact, TrainSpec
from ..contract.store import Store, StoreError
from ..contract.task import MAX_PAIRS, Task
from ..models import settings, weights

if TYPE_CHECKING:
    import torch

    from ..training.gang import Gang
    from ..training.group import Group, Seats
    from ..training.launch import Mailbox

CHECKPOINT_EVERY = 50
MAX_LATENT = 256 << 20

History = list[tuple[float, float, float, float]]


@dataclass(frozen=True)
class Plan:
    """A training, checked: all that a process of it needs beside the store. Picklable."""

    spec: TrainSpec
    spec_digest: str
    store: str
    model: Path
    pairs: list[records.PairLine]
    latents: dict[str, Artifact]
    prompts: dict[str, str]
    environ: dict[str, str]
    checkpoint: Artifact | None
    """Chosen once, by the first pod: processes that each looked for the newest could go on from different ones."""


@dataclass(frozen=True)
class Result:
    adapter: bytes
    history: History


def train(task: Task) -> None:
    from ..training.gang import joined

    with joined(task) as gang:
        _train(task, gang)


def _train(task: Task, gang: Gang | None) -> None:
    spec = task.spec.train
    assert spec is not None
    plan = _plan(task, spec)

    from ..models import embeds, loading
    from ..training import group, launch

    if task.place.first:
        embeds.ensure(task, plan.model, loading.device(), spec.model.digest, spec.numerics_revision, plan.prompts.values())
    task.check_stop()
    processes, seats = group.processes_per_node(task.environ), None
    if gang is not None:
        store = group.open_store() if task.place.first else None
        start = gang.meet(processes, store.port if store else 0, plan.checkpoint)
        plan = replace(plan, checkpoint=start.checkpoint)
        ranks = start.processes
        seats = group.Seats(gang.host, start.port, sum(ranks[: task.place.rank]), sum(ranks), task.heartbeat)
    task.progress.total(spec.training.steps, "steps")
    if processes == 1 and gang is None:
        result = run(plan, task, group.Group.alone(loading.device()), task.stop.is_set)
    else:
        result = launch.run_processes(task, processes, _process, (plan, _fields(task), seats), _read_result, gang)
    if task.place.first:
        assert result is not None
        _finish(task, result)


def _plan(task: Task, spec: TrainSpec) -> Plan:
    """Checks all inputs before a model is loaded."""
    from ..models import lora
    from ..training import checkpoints

    settings.processes(task.environ)
    settings.grace_seconds(task.environ)
    settings.check_revision(spec.numerics_revision)
    model = weights.folder(task.environ, "WAN_MODEL_PATH", weights.MODEL_FILES)
    weights.check_model(model, spec.model.name, spec.model.digest)
    t = spec.training
    if spec.start_adapter is not None:
        lora.read_adapter(task, spec.start_adapter, spec.model.digest, t.lora_rank, t.lora_alpha)
    if spec.reference_adapter is not None:
        lora.read_adapter(task, spec.reference_adapter, spec.model.digest)
    prompts = task.read_prompts(spec.prompts)
    try:
        pairs = records.read_pairs(task.read(spec.pairs, MAX_PAIRS), spec.pairs.key)
    except StoreError:
        raise
    except ValueError as e:
        raise bad_input(f"pairs {e}") from e
    latents: dict[str, Artifact] = {}
    for pair in pairs:
        if pair.prompt_id not in prompts:
            raise bad_input(f"pairs {spec.pairs.key}: prompt {pair.prompt_id!r} is not in the prompts")
        for sample_id in (pair.winner, pair.loser):
            if sample_id not in latents:
                task.check_stop()
                task.progress.beat()
                latents[sample_id] = _latent(task.store, sample_id, pair.prompt_id)
    used = {pair.prompt_id: prompts[pair.prompt_id].prompt for pair in pairs}
    return Plan(
        spec, task.spec_digest, task.environ["SPATIALALIGN_STORE"], model, pairs, latents, used,
        {name: value for name, value in task.environ.items() if name.startswith("WAN_")},
        checkpoints.newest(task) if task.place.first else None,
    )  # fmt: skip


def _latent(store: Store, sample_id: str, prompt_id: str) -> Artifact:
    """Where the latent of a sample is; its size is looked at now, its digest when it is read."""
    try:
        sidecar = samples.read_sidecar(store, sample_id)
    except StoreError as e:
        if e.missing or e.corrupt:
            raise bad_input(f"sample {sample_id} of the pairs: {e}") from e
        raise
    if sidecar.prompt_id != prompt_id:
        raise bad_input(f"sample {sample_id} is of prompt {sidecar.prompt_id!r}; the pairs say {prompt_id!r}")
    if sidecar.latent is None:
        raise bad_input(f"sample {sample_id} has no latent: only training samples keep theirs")
    samples.check_files(store, replace(sidecar, video=sidecar.latent))
    return sidecar.latent.artifact


def _fields(task: Task) -> dict[str, Any]:
    """What of a task a process can be told."""
    return {
        "spec": task.spec, "spec_digest": task.spec_digest, "attempt": task.attempt, "shard": task.shard, "shards": task.shards,
        "pod_uid": task.pod_uid, "pace_seconds": task.pace_seconds,
    }  # fmt: skip


def _process(told: tuple[Plan, dict[str, Any], Seats | None], mailbox: Mailbox, stop: threading.Event) -> None:
    """One of several processes."""
    import logging
    import os

    from ..training.group import Group
    from ..training.launch import RemoteProgress

    plan, fields, seats = told
    task = Task(
        store=Store.open(plan.store), progress=RemoteProgress(mailbox), log=logging.getLogger("spatialalign"), environ=os.environ,
        stop=stop, **fields,
    )  # fmt: skip
    group = Group.join(seats)
    try:
        result = run(plan, task, group, lambda: stop.is_set() or mailbox.path("stop").exists())
    finally:
        group.leave()
    if result is not None:
        mailbox.path("adapter").write_bytes(result.adapter)
        mailbox.put("history", {"steps": result.history})


def _read_result(mailbox: Mailbox) -> Result | None:
    """None where the first process is another pod's."""
    history = mailbox.get("history")
    if history is None:
        return None
    return Result(mailbox.path("adapter").read_bytes(), [(a, b, c, d) for a, b, c, d in history["steps"]])


def run(plan: Plan, task: Task, group: Group, stopping: Callable[[], bool]) -> Result | None:
    """Trains to the end in one process of the group; the first process gives the result."""
    import torch

    from ..models import loading, lora
    from ..training import checkpoints
    from ..training.draws import Draws
    from ..training.objective import Objective
    from ..training.passes import Passes
    from ..training.trainer import Data, Options, Trainer

    spec, t = plan.spec, plan.spec.training
    if group.where.type == "cpu":
        torch.use_deterministic_algorithms(True)
    speed = settings.speed(plan.environ, group.where.type == "cuda")
    network = loading.transformer(plan.model, group.where)
    about = lora.About(spec.model.digest, t.lora_rank, t.lora_alpha)
    if spec.reference_adapter is not None:
        key, data = spec.reference_adapter.key, task.store.read(spec.reference_adapter, lora.MAX_ADAPTER)
        lora.load_into(network, lora.read_about(data, key), data, key, lora.REFERENCE)
    lora.attach(network, t.lora_rank, t.lora_alpha)
    if spec.start_adapter is None:
        lora.initialize(network, spec.seed)
    else:
        key = spec.start_adapter.key
        lora.restore(network, lora.decode(task.store.read(spec.start_adapter, lora.MAX_ADAPTER), key), key)
    loading.choose_attention(network, speed, group.where)
    data_source = Data(plan.pairs, _latents(plan, task.store, network.config["in_channels"]), _texts(plan, task.store))
    options = Options(t.steps, t.schedule_steps, t.warmup_steps, t.pairs_per_step, float(t.learning_rate))
    trainer = Trainer(
        network, Passes(network, speed, spec.reference_adapter is not None), data_source, Draws(spec.seed, spec.iteration),
        Objective(float(t.beta), float(t.regularization), float(t.margin_clip)), options, group,
    )  # fmt: skip
    if plan.checkpoint is not None:
        trainer.restore(checkpoints.load_from(task, plan.checkpoint))
        if group.leads:
            task.progress.skip(trainer.progress.step)
    _steps(trainer, task, group, stopping, t.checkpoint_every_steps or CHECKPOINT_EVERY)
    return Result(lora.encode(network, about), trainer.progress.history) if group.rank == 0 else None


def _latents(plan: Plan, store: Store, channels: int) -> Callable[[str], torch.Tensor]:
    from .sample import decode_latent

    def read(sample_id: str) -> torch.Tensor:
        a = plan.latents[sample_id]
        latent: Any = decode_latent(store.read(a, MAX_LATENT), a.key)
        if latent.ndim != 4 or latent.shape[0] != channels:
            raise bad_input(f"{a.key}: a latent of shape {tuple(latent.shape)}, the model has {channels} channels")
        return latent  # type: ignore[no-any-return]

    return read


def _texts(plan: Plan, store: Store) -> Callable[[str], torch.Tensor]:
    from ..models import embeds

    known: dict[str, torch.Tensor] = {}

    def read(prompt_id: str) -> torch.Tensor:
        if prompt_id not in known:
            key = embeds.key_of(plan.spec.model.digest, plan.spec.numerics_revision, plan.prompts[prompt_id])
            known[prompt_id] = embeds.read(store, key)
        return known[prompt_id]

    return read


def _steps(trainer: Any, task: Task, group: Group, stopping: Callable[[], bool], every: int) -> None:
    """Takes the steps that are left; saves every so often, when it is to stop, and after the last one: processes that fail to
    leave each other, or a store that refuses the adapter, would otherwise cost hours of steps."""
    from ..training import checkpoints
    from ..training.group import GO, STOP

    def asked() -> bool:
        """Asked after every pair, of which a step may have minutes' worth: it is also the heartbeat."""
        if group.leads:
            task.progress.beat()
        return stopping()

    # A model takes minutes to load, and a pair may take one more.
    if not trainer.done and group.worst(STOP if stopping() else GO) == STOP:
        raise Interrupted("interrupted before the first pair: nothing was to be saved")
    last = ""
    while not trainer.done:
        try:
            loss, margin, regularizer, norm = trainer.step(asked)
        except Interrupted:
            _save_and_stop(trainer, task, group)
            raise
        if group.leads:
            for name, value in (("loss", loss), ("margin", margin), ("regularizer", regularizer), ("gradNorm", norm)):
                task.progress.metric(name, value)
            task.progress.add()
        task.pace()
        due = trainer.progress.step % every == 0 or trainer.done
        if not trainer.done and group.worst(STOP if stopping() else GO) == STOP:
            _save_and_stop(trainer, task, group)
            raise Interrupted(f"interrupted after step {trainer.progress.step} of {task.spec.train.training.steps}, progress is saved")  # type: ignore[union-attr]
        if due:
            checkpoint = trainer.checkpoint()
            if group.rank == 0:
                saved = checkpoints.save_to(task, checkpoint)
                if last:
                    task.store.delete(last)  # its own, and replaced
                last = saved


def _save_and_stop(trainer: Any, task: Task, group: Group) -> None:
    from ..training import checkpoints

    checkpoint = trainer.checkpoint()
    if group.rank == 0 and (checkpoint.progress.step or checkpoint.progress.pairs):
        checkpoints.save_to(task, checkpoint)
    group.barrier()  # nobody leaves before it is saved: the agent would end the others


def _finish(task: Task, result: Result) -> None:
    """Writes the adapter and the metrics of all steps. The stage's own are means over the last tenth."""
    from ..training.metrics import events, mean_of_last, to_jsonl

    assert task.spec.train is not None
    task.output("adapter", task.write("adapter.safetensors", result.adapter))
    lines = to_jsonl(result.history, task.spec.train.training)
    task.output("metrics", task.write("metrics.jsonl", lines))
    task.write("tensorboard/events.out.tfevents.0.train", events(json.loads(line) for line in lines.splitlines()))
    for name, value in mean_of_last(result.history).items():
        task.metric(name, value)
    task.count(steps=len(result.history))
