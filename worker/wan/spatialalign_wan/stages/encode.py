"""encode: prompt embeddings, made once per prompt and kept in the store.

The operator has no such stage of its own: sample and train make what they miss. An admin may run it on one GPU before
many of them start, so that not each of them loads the 11 GB of the text encoder.
"""

from __future__ import annotations

from ..contract.task import Task
from ..models import settings, weights


def encode(task: Task) -> None:
    spec = task.spec.encode
    assert spec is not None
    settings.check_revision(spec.numerics_revision)
    model = weights.folder(task.environ, "WAN_MODEL_PATH", weights.MODEL_FILES)
    weights.check_model(model, spec.model.name, spec.model.digest)
    lines = task.read_prompts(spec.prompts)
    # In the order of the file: item i of it belongs to shard i mod shards, like a sample of an index.
    mine = [line.prompt for i, line in enumerate(lines.values()) if i % task.shards == task.shard]
    if task.shard == 0:
        mine.append(spec.negative_prompt or settings.defaults(model).negative_prompt)
    task.progress.total(len(mine), "prompts")

    from ..models import embeds, loading

    before = {prompt for prompt in mine if _is_there(task, embeds.key_of(spec.model.digest, spec.numerics_revision, prompt))}
    embeds.ensure(task, model, loading.device(), spec.model.digest, spec.numerics_revision, mine)
    task.progress.add(len(mine))
    task.count(total=len(set(mine)), generated=len(set(mine) - before), reused=len(before))


def _is_there(task: Task, key: str) -> bool:
    from ..contract.store import StoreError
    from ..models import embeds

    try:
        embeds.read(task.store, key)
    except StoreError as e:
        if e.missing or e.corrupt:
            return False
        raise
    return True
