"""Samples and tracks in the store, addressed by their inputs."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import records
from .keys import check_key, digest, sample_file_key, sidecar_key, track_file_key, valid_digest
from .spec import Artifact, Sampling, check_sampling, sample_key
from .store import File, Store, StoreError, corrupt
from .strict import build, decode, dump, spans

MAX_SIDECAR = 64 << 10
MAX_KEPT = 4 << 20


@dataclass(frozen=True)
class Sidecar:
    """Written last and says what a sample is; its files stand at keys unique to the pod that wrote them."""

    sample_id: str
    prompt_id: str
    seed: int
    sampling: Sampling
    video: File
    width: int
    height: int
    frame_count: int
    latent: File | None = None
    provenance: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> list[File]:
        return [self.video] + ([self.latent] if self.latent else [])

    def check(self) -> None:
        if min(self.width, self.height, self.frame_count) < 1:
            raise ValueError(f"width {self.width}, height {self.height}, frameCount {self.frame_count}: want at least 1 each")
        for f in self.files:
            check_key(f.key)
            if f.size < 0 or not valid_digest(f.digest):
                raise ValueError(f"file {f.key}: size {f.size}, digest {f.digest!r} are not valid")
        check_sampling("sampling", self.sampling)


def read_sidecar(store: Store, sample_id: str) -> Sidecar:
    """Reads a sidecar; the error tells one that is missing, and one that is damaged and must be made again."""
    key = sidecar_key(sample_id)
    data = store.read(Artifact(key), MAX_SIDECAR)
    try:
        sidecar = build(Sidecar, decode(data), "")
        sidecar.check()
    except (ValueError, RecursionError) as e:
        raise corrupt("resolve sample", key, f"not a valid sidecar: {e}") from e
    if sidecar.sample_id != sample_id:
        raise corrupt("resolve sample", key, f"it is of sample {sidecar.sample_id}")
    return sidecar


def resolve_sample(store: Store, line: records.IndexLine) -> Sidecar:
    """Reads the sidecar of a line and checks that it has the line's prompt and seed and that its files are there."""
    sidecar, key = read_sidecar(store, line.sample_id), sidecar_key(line.sample_id)
    if (sidecar.prompt_id, sidecar.seed) != (line.prompt_id, line.seed):
        raise corrupt(
            "resolve sample", key,
            f"it is of prompt {sidecar.prompt_id} and seed {sidecar.seed}; the index says {line.prompt_id} and {line.seed}",
        )  # fmt: skip
    check_files(store, sidecar)
    return sidecar


def check_files(store: Store, sidecar: Sidecar) -> None:
    for f in sidecar.files:
        try:
            whole = store.size(f.key) == f.size
        except StoreError as e:
            if not e.missing:
                raise
            whole = False
        if not whole:
            raise corrupt("resolve sample", sidecar_key(sidecar.sample_id), f"its file {f.key} is not there with {f.size} bytes")


def resolve_video(store: Store, line: records.IndexLine) -> Artifact:
    """Where the video of a line is: in the line itself for videos that users bring, in the sidecar otherwise."""
    return line.video if line.video is not None else resolve_sample(store, line).video.artifact


def commit_sample(store: Store, sidecar: Sidecar, replace: bool) -> Sidecar:
    """Makes a sample official and gives the sidecar that counts, which may be another pod's: the first one wins.

    One that is damaged, or has no latent where this one does, is replaced."""
    sidecar.check()
    data, key = dump(sidecar), sidecar_key(sidecar.sample_id)
    if not replace and store.write_if_absent(key, data):
        return sidecar
    if not replace:
        try:
            winner = resolve_sample(store, records.IndexLine(sidecar.sample_id, sidecar.prompt_id, sidecar.seed))
            if winner.latent is not None or sidecar.latent is None:
                return winner
        except StoreError as e:
            if not e.corrupt:
                raise
    store.write(key, data)
    return sidecar


def complete(store: Store, line: records.IndexLine, prompt: str, keep_latents: bool) -> Sidecar | None:
    """The sidecar of a sample that is there with all that is wanted, every byte of it verified; None when there is none.

    The error tells one that is damaged."""
    try:
        sidecar = resolve_sample(store, line)
    except StoreError as e:
        if e.missing:
            return None
        raise
    if (made := sample_key(sidecar.sampling, prompt, sidecar.seed)) != line.sample_id:
        raise corrupt("verify", sidecar_key(line.sample_id), f"it describes sample {made}")
    if keep_latents and sidecar.latent is None:
        return None
    for f in sidecar.files:
        store.verify(f)
    return sidecar


def put_file(store: Store, sample_id: str, pod_uid: str, name: str, data: bytes) -> File:
    return store.write(sample_file_key(sample_id, pod_uid, name), data)


def read_kept_tracks(store: Store, track_key: str) -> records.TrackLine:
    """The tracks kept of a video; they carry no sample, as several may have the same video."""
    key = track_file_key(track_key)
    data = store.read(Artifact(key), MAX_KEPT)
    try:
        text = data.decode()
        document = decode(data)
        if not isinstance(document, dict) or set(document) != {"trackKey", "digest", "line"}:
            raise ValueError("want the fields trackKey, digest and line")
        if document["trackKey"] != track_key:
            raise ValueError(f"trackKey is {document['trackKey']!r}, not {track_key!r}")
        start, end = spans(text)["line"]
        if (got := digest(text[start:end].encode())) != document["digest"]:
            raise ValueError(f"line has digest {got}, not {document['digest']}")
        line = build(records.TrackLine, document["line"], "")
        line.check()
    except (ValueError, RecursionError) as e:
        raise corrupt("read kept tracks", key, str(e)) from e
    line.sample_id, line.prompt_id, line.seed = "", "", 0
    return line


def keep_tracks(store: Store, track_key: str, line: records.TrackLine, replace: bool) -> None:
    """Keeps the tracks of a video, unless another pod has done so; with replace in the place of damaged ones."""
    raw = records.track_json(line)
    data = b'{"trackKey":"%s","digest":"%s","line":%s}' % (track_key.encode(), digest(raw).encode(), raw)
    if replace:
        store.write(track_file_key(track_key), data)
    else:
        store.write_if_absent(track_file_key(track_key), data)
