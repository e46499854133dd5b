"""Digests, keys and the counter-based hash behind every random draw."""

from __future__ import annotations

import hashlib
import re

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_KEY = re.compile(r"[A-Za-z0-9._/-]{1,512}")


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def valid_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def check_key(key: str) -> None:
    """Refuses keys that could leave the store's root."""
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"artifact key {key!r} is not 1 to 512 characters of A-Z a-z 0-9 . _ / -")
    if any(part.strip(".") == "" for part in key.split("/")):
        raise ValueError(f"artifact key {key!r}: an element of dots alone, or an empty one, is no path element")


def valid_key(key: str) -> bool:
    try:
        check_key(key)
    except ValueError:
        return False
    return True


def _hash(parts: tuple[str, ...]) -> bytes:
    """Parts are separated by length, so that ("ab","c") and ("a","bc") differ."""
    h = hashlib.sha256()
    for part in parts:
        data = part.encode()
        h.update(len(data).to_bytes(8, "big") + data)
    return h.digest()


def hex_hash(*parts: str) -> str:
    return _hash(parts).hex()


def hash64(*parts: str) -> int:
    """Holds no state, so that neither the world size nor a restart changes a draw."""
    return int.from_bytes(_hash(parts)[:8], "big")


def choose(choices: int, *parts: str) -> int:
    """One of 0 to choices - 1, uniformly."""
    return (hash64(*parts) * choices) >> 64


def track_key(video_digest: str, detector: tuple[str, str, str], subject: str, obj: str) -> str:
    """Addresses the tracks of a video by its digest, the detector (name, digest, revision) and what it looks for."""
    return hex_hash("track", video_digest, *detector, subject, obj)


def embed_key(model_digest: str, numerics_revision: str, prompt: str) -> str:
    """Addresses the embedding of a prompt by the text encoder's inputs."""
    return hex_hash("embed", model_digest, numerics_revision, prompt)


def sidecar_key(sample_id: str) -> str:
    return f"samples/{sample_id[:2]}/{sample_id}/sample.json"


def sample_file_key(sample_id: str, pod_uid: str, name: str) -> str:
    return f"samples/{sample_id[:2]}/{sample_id}/{pod_uid}/{name}"


def track_file_key(key: str) -> str:
    return f"tracks/{key[:2]}/{key}.json"


def embed_file_key(key: str) -> str:
    return f"embeds/{key[:2]}/{key}.safetensors"


def track_part(shard: int) -> str:
    return f"tracks/part-{shard}.jsonl"
