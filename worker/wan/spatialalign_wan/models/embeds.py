"""Prompt embeddings: made once per prompt, kept in the store without their padding."""

from __future__ import annotations

import gc
import html
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load

from ..contract.exits import mismatch
from ..contract.keys import embed_file_key, embed_key, hex_hash
from ..contract.spec import Artifact
from ..contract.store import Store, StoreError, corrupt
from .loading import base_dtype
from .settings import TEXT_TOKENS
from .tensors import fingerprint, header, save

if TYPE_CHECKING:
    from ..contract.task import Task

MAX_EMBED = 64 << 20


def key_of(model_digest: str, revision: str, prompt: str) -> str:
    return embed_file_key(embed_key(model_digest, revision, prompt))


def clean(prompt: str) -> str:
    """As the pipeline cleans a prompt before it is cut into tokens."""
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(prompt))).strip()
    return " ".join(text.split())


class Encoder:
    """The text encoder. It takes 11 GB at full size: load it, encode what is missing, and let it go."""

    def __init__(self, model: Path, where: torch.device) -> None:
        from transformers import AutoTokenizer, UMT5EncoderModel

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model / "tokenizer", local_files_only=True)
            self._network = UMT5EncoderModel.from_pretrained(
                model / "text_encoder", dtype=base_dtype(where), local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError) as e:
            raise mismatch(f"{model}/text_encoder or {model}/tokenizer cannot be loaded: {e}") from e
        self._network.to(where).eval()
        self._where = where

    @torch.no_grad()
    def encode(self, prompt: str) -> torch.Tensor:
        """The states of the prompt's own tokens, [tokens, width]."""
        tokens = self._tokenizer(
            [clean(prompt)], padding="max_length", max_length=TEXT_TOKENS, truncation=True, add_special_tokens=True,
            return_attention_mask=True, return_tensors="pt",
        )  # fmt: skip
        mask = tokens.attention_mask.to(self._where)
        states = self._network(tokens.input_ids.to(self._where), mask).last_hidden_state
        own: torch.Tensor = states[0, : int(mask.sum())].cpu()
        return own


def pad(states: torch.Tensor, where: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """The model sees as many tokens for every prompt, zeros behind its own: [1, 512, width]."""
    out = torch.zeros(1, TEXT_TOKENS, states.shape[1], dtype=dtype, device=where)
    out[0, : states.shape[0]] = states.to(where, dtype)
    return out


def read(store: Store, key: str) -> torch.Tensor:
    """An embedding vouches for itself: its header holds the digest of its numbers."""
    data = store.read(Artifact(key), MAX_EMBED)
    try:
        about = header(data).get("__metadata__", {})
        states = load(data)["states"]
    except Exception as e:
        raise corrupt("read", key, f"not an embedding: {e}") from e
    if about.get("key") != key or about.get("states") != fingerprint(states):
        raise corrupt("read", key, "it is of another prompt, or was changed")
    return states


def turns(keys: Iterable[str], shard: int, shards: int) -> list[str]:
    """The order in which a shard makes what is missing: its own part first, from the front, then those of the shards after it,
    from the back. Shards that work at once then meet once each, instead of all making the same."""
    parts: list[list[str]] = [[] for _ in range(shards)]
    for key in sorted(keys):
        parts[int(hex_hash("turn", key)[:8], 16) % shards].append(key)
    order = list(parts[shard])
    for other in range(1, shards):
        order += reversed(parts[(shard + other) % shards])
    return order


def ensure(task: Task, model: Path, where: torch.device, digest: str, revision: str, prompts: Iterable[str]) -> dict[str, torch.Tensor]:
    """The embeddings of prompts: those in the store, and the missing or damaged ones made and stored."""
    found: dict[str, torch.Tensor] = {}
    missing: dict[str, str] = {}

    def look(prompt: str, key: str) -> bool:
        """Is it there? Damaged ones are gone then: they are made again like missing ones."""
        try:
            found[prompt] = read(task.store, key)
        except StoreError as e:
            if not (e.missing or e.corrupt):
                raise
            if e.corrupt:
                task.log.warning("embedding is damaged and made again: %s", e)
                task.store.delete(key)
            return False
        return True

    for prompt in dict.fromkeys(prompts):
        key = key_of(digest, revision, prompt)
        if not look(prompt, key):
            missing[key] = prompt
    if missing:
        encoder = Encoder(model, where)
        for key in turns(missing, task.shard, task.shards):
            task.check_stop()
            task.progress.beat()
            if look(missing[key], key):
                continue  # another shard has made it meanwhile
            states = encoder.encode(missing[key]).contiguous()
            data = save({"states": states}, {"key": key, "states": fingerprint(states)})
            task.store.write_if_absent(key, data)
            found[missing[key]] = states
        del encoder
        gc.collect()  # whatever cycle may hold the 11 GB
        if where.type == "cuda":
            torch.cuda.empty_cache()
    return found
