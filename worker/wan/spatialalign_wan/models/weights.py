"""Weights lie in folders that an admin provides; nothing is ever fetched. A folder is known by the digest of its files.

The digest is that of what `sha256sum` prints of the files in byte order of their names, so that anybody can compute it:

    find . -type f ! -name weights.json | LC_ALL=C sort | sed 's|^./||' | xargs sha256sum | sha256sum

Hashing 20 GB takes a while, so that the command `check --record` writes what it found into weights.json beside the
files. A stage goes by that list when it is there, after looking at every file's size.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..contract.exits import bad_spec, mismatch
from ..contract.strict import dump, parse

RECORD = "weights.json"

# What each stage loads, below its folder: at least one file of every pattern must be there.
MODEL_FILES = (
    "transformer/config.json", "transformer/*.safetensors", "vae/config.json", "vae/*.safetensors",
    "text_encoder/config.json", "text_encoder/*.safetensors", "tokenizer/tokenizer*.json",
)  # fmt: skip
DETECTOR_FILES = (
    "grounding-dino/config.json", "grounding-dino/*.safetensors", "grounding-dino/*processor_config.json", "grounding-dino/tokenizer*.json",
    "sam2/config.json", "sam2/*.safetensors", "sam2/*processor_config.json",
)  # fmt: skip


@dataclass(frozen=True)
class WeightFile:
    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Weights:
    files: list[WeightFile]

    @property
    def digest(self) -> str:
        listing = "".join(f"{f.sha256}  {f.path}\n" for f in self.files)
        return "sha256:" + hashlib.sha256(listing.encode()).hexdigest()


def folder(environ: Mapping[str, str], variable: str, patterns: Iterable[str]) -> Path:
    """The folder that an environment variable names, which must hold what is needed."""
    named = environ.get(variable, "")
    if not named:
        raise bad_spec(f"environment variable {variable} is not set: name the folder of the weights in the AlignmentRuntime's env")
    root = Path(named)
    for pattern in patterns:
        if not any(root.glob(pattern)):
            raise mismatch(f"{variable}={named} holds no {pattern}: {_what_to_do(root, pattern)}")
    for index in sorted(root.rglob("*.safetensors.index.json")):
        _check_parts(index)
    return root


def _what_to_do(root: Path, pattern: str) -> str:
    other = next(iter(sorted((root / pattern).parent.glob("*.bin"))), None) if pattern.endswith(".safetensors") else None
    if other is None:
        return "worker/wan/README.md says which files belong there"
    return f"{other.name} is in another format, which no stage reads: convert it as worker/wan/README.md says"


def _check_parts(index: Path) -> None:
    """A model in several files: the index beside them names each tensor's. Without one of them no pattern would tell."""
    try:
        parts = {str(part) for part in json.loads(index.read_bytes())["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise mismatch(f"{index} is no index of weights: {e}") from e
    if lost := sorted(part for part in parts if not (index.parent / part).is_file()):
        raise mismatch(f"{index} names {', '.join(lost[:5])}, {len(lost)} of {len(parts)} files that are not there: download them")


def hash_files(root: Path) -> Weights:
    """Reads every byte."""
    files = []
    for path in _paths(root):
        with open(root / path, "rb") as file:
            files.append(WeightFile(path, (root / path).stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()))
    return Weights(files)


def _paths(root: Path) -> list[str]:
    found = []
    for parent, _, names in os.walk(root):
        found += [Path(parent, name).relative_to(root).as_posix() for name in names]
    return sorted((path for path in found if path != RECORD), key=str.encode)


def identify(root: Path) -> Weights:
    """By the record when it agrees with the files' names and sizes, else by hashing them."""
    try:
        data = (root / RECORD).read_bytes()
    except FileNotFoundError:
        return hash_files(root)
    try:
        weights = parse(Weights, data)
    except ValueError as e:
        raise mismatch(f"{root / RECORD}: {e}: run the check command with --record again") from e
    recorded = {f.path: f.size for f in weights.files}
    for path in _paths(root):
        if path not in recorded:
            raise mismatch(f"{root}: {path} is not in {RECORD}: run the check command with --record again")
    for path, size in recorded.items():
        try:
            actual = (root / path).stat().st_size
        except OSError as e:
            raise mismatch(f"{root}: {path} of {RECORD} cannot be looked at: {e}") from e
        if actual != size:
            raise mismatch(f"{root}: {path} has {actual} bytes, {RECORD} says {size}: the file is truncated or was changed")
    return weights


def record(root: Path, weights: Weights) -> None:
    temporary = root / (RECORD + "~")
    temporary.write_bytes(dump(weights))
    temporary.rename(root / RECORD)


def check_model(root: Path, name: str, digest: str, what: str = "model") -> None:
    """Refuses weights other than those that the spec names."""
    own = identify(root).digest
    if own != digest:
        raise mismatch(
            f"{what} {name!r} has digest {digest} in the spec, {root} holds {own}: set {what}.digest of the AlignmentRuntime to"
            " what the command `info` prints, or mount the weights that it names"
        )
