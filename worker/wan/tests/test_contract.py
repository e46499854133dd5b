"""The contract as the Go side speaks it."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from pathlib import Path

import pytest

from spatialalign_wan.contract import harness, keys, records, samples, strict
from spatialalign_wan.contract.exits import ExitCode, Interrupted, StageError
from spatialalign_wan.contract.manifest import Manifest, commit, find
from spatialalign_wan.contract.progress import Progress
from spatialalign_wan.contract.spec import Artifact, Model, Sampling, decode_spec, sample_key
from spatialalign_wan.contract.store import File, Kind, Store, StoreError

BASE = Sampling(Model("m", "sha256:aa"), "1", steps=12)


def test_keys_are_those_of_the_go_side() -> None:
    """The same values stand in internal/contract/keys_test.go."""
    adapted = Sampling(BASE.model, "1", Artifact("runs/x/adapter", "sha256:bb"), 12)
    assert sample_key(BASE, "a cat left of a box", 7) == "92ca7d934a4c0496fc2e27534311ea3c27b53e6c06ca39cb055e3dcad3da0dd3"
    assert sample_key(adapted, "a cat left of a box", 7) == "809d90104c891d89fea91223a0b020ec6fd594ba83baa932af42e0be371c04dd"
    on_device = Sampling(BASE.model, "1", None, 12, device="NVIDIA H100 80GB HBM3")
    assert sample_key(on_device, "a cat left of a box", 7) == "00fa47e4035e79c16a6eec9d63a1e288ab173bdb48b9872197de1384c2f387ed"
    assert (
        keys.track_key("sha256:dd", ("d", "sha256:cc", "2"), "cat", "box")
        == "13d918fe559eb8a85d6b3fb623e570b151958650713f0e07bc986b7f4447de14"
    )
    assert keys.hash64("seed", "1", "2", "0", "p-1", "3") == 4786754682627392752
    assert keys.hash64() == 16406829232824261652


@pytest.mark.parametrize(
    "more", [{"guidance_scale": "6"}, {"negative_prompt": "x"}, {"frames": 33}, {"width": 64}, {"height": 64}, {"device": "A100"}]
)
def test_a_sample_key_separates_every_setting(more: dict[str, object]) -> None:
    assert sample_key(Sampling(BASE.model, "1", None, 12, **more), "p", 1) != sample_key(BASE, "p", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", "k" * 513, ".", "..", "a/../b", "/etc", "a//b", "a/", "a b", "ä", "~x", "a\nb"])
def test_invalid_keys(key: str) -> None:
    assert not keys.valid_key(key)


@pytest.mark.parametrize("key", ["prompts.jsonl", "a..b", "..a", "-", "k" * 512])
def test_valid_keys(key: str) -> None:
    assert keys.valid_key(key)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a":1,"a":2}', "duplicate"), ('{"a":NaN}', "NaN"), ("[" * 33 + "]" * 33, "deeper"), ('{"a":1} x', "Extra data"), ('{"a":', "Expecting"),
    ],
)  # fmt: skip
def test_strict_json_refuses(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        strict.decode(text.encode())


def test_brackets_in_strings_are_no_depth() -> None:
    assert strict.decode(json.dumps({"a": "[" * 99 + '\\"{'}).encode()) == {"a": "[" * 99 + '\\"{'}


def test_spans_tell_where_values_stand() -> None:
    text = '{ "a" : {"x": [1, "}"]} , "line":  [2] }'
    assert {name: text[a:b] for name, (a, b) in strict.spans(text).items()} == {"a": '{"x": [1, "}"]}', "line": "[2]"}


SAMPLE = {
    "contractVersion": "v1", "stage": "sample", "output": "out",
    "sample": {
        "prompts": {"key": "p", "digest": "sha256:" + "0" * 64}, "index": {"key": "i", "digest": "sha256:" + "0" * 64},
        "sampling": {"model": {"name": "m", "digest": "sha256:" + "0" * 64}, "numericsRevision": "1", "steps": 2}, "keepLatents": True,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("contractVersion", "v9", "v9"), ("stage", "track", "called as"), ("output", "../x", "output"), ("magic", 1, "magic"),
        ("sample.magic", 1, "sample.magic"), ("sample.sampling.steps", 0, "steps"), ("sample.sampling.steps", "2", "steps"),
        ("sample.sampling.steps", True, "steps"), ("sample.sampling.guidanceScale", "five", "guidanceScale"),
        ("sample.sampling.device", " A100", "device"), ("sample.sampling.device", "A" * 65, "device"),
        ("sample.sampling.model.digest", "sha256:1", "model"), ("sample.index.digest", "", "digest"), ("sample.prompts.key", "/p", "prompts"),
        ("track", {"prompts": {"key": "p"}, "index": {"key": "i"}, "detector": {"name": "d", "digest": "", "revision": ""}}, "exactly"),
    ],
)  # fmt: skip
def test_specs_are_refused_by_the_field(path: str, value: object, says: str) -> None:
    document = json.loads(json.dumps(SAMPLE))
    *parents, name = path.split(".")
    at = document
    for parent in parents:
        at = at[parent]
    at[name] = value
    with pytest.raises(ValueError, match=says):
        decode_spec(json.dumps(document).encode(), "sample")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(f"file://{tmp_path}/store")


def test_what_is_read_is_what_its_digest_says(store: Store) -> None:
    f = store.write("a/b", b"hello")
    assert store.read(f.artifact, 5) == b"hello"
    with pytest.raises(StoreError, match="truncated or was changed") as e:
        store.read(Artifact("a/b", keys.digest(b"other")), 5)
    assert e.value.code is ExitCode.BAD_INPUT
    with pytest.raises(StoreError, match="at most 4"):
        store.read(f.artifact, 4)
    with pytest.raises(StoreError) as missing:
        store.read(Artifact("a/c"), 5)
    assert missing.value.missing
    with pytest.raises(StoreError):
        store.verify(File("a/b", 6, f.digest))


def test_the_first_of_several_writers_wins(store: Store) -> None:
    won: list[int] = []

    def write(n: int) -> None:
        if store.write_if_absent("x/y", b"%d" % n):
            won.append(n)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read(Artifact("x/y"), 9) == b"%d" % won[0]
    assert store.list("") == ["x/y"]  # and no temporary file is left


def test_no_link_leads_out_of_the_store(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "store/link").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "store/pipe")
    for key in ("link/secret", "pipe"):
        with pytest.raises(StoreError) as e:
            store.read(Artifact(key), 99)
        assert e.value.corrupt
    with pytest.raises(StoreError):
        store.write("link/new", b"")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("url", ["http://x/y", "file://host/x", "file:relative", "s3://", "s3://u:p@bucket", "file:///x?y=1"])
def test_stores_that_are_none(url: str) -> None:
    with pytest.raises(StoreError) as e:
        Store.open(url)
    assert e.value.kind is Kind.MISNAMED


def _manifest(attempt: int, pod: str, files: list[File]) -> Manifest:
    return Manifest("v1", "sample", "sha256:" + "1" * 64, attempt, pod, 0, 1, files=files, counts={"total": 1})


def test_the_newest_whole_manifest_is_adopted(store: Store) -> None:
    file = store.write("out/0-a/0/x", b"1")
    old = commit(store, "out", _manifest(0, "a", [file]))
    lost = store.write("out/1-b/0/x", b"2")
    commit(store, "out", _manifest(1, "b", [lost]))
    store.delete("out/1-b/0/x")
    commit(store, "out", _manifest(2, "c", []))
    store.write("out/2-c/0/manifest.json", b"{}")
    rejected: list[str] = []
    found = find(store, "out", _manifest(3, "d", []), lambda key, _: rejected.append(key))
    assert found is not None
    assert found[0] == old
    assert rejected == ["out/2-c/0/manifest.json", "out/1-b/0/manifest.json"]
    # A later attempt's, another spec's or another stage's is none of ours.
    commit(store, "out", _manifest(9, "e", []))
    commit(store, "out", dataclasses.replace(_manifest(3, "f", []), spec_digest="sha256:" + "2" * 64))
    commit(store, "out", dataclasses.replace(_manifest(3, "g", []), stage="track"))
    again = find(store, "out", _manifest(3, "d", []), lambda *_: None)
    assert again is not None
    assert again[0] == old


def test_a_manifest_is_the_last_file_and_comes_after_its_checksum(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written, write = [], Store.write

    def spy(self: Store, key: str, data: bytes) -> File:
        written.append(key)
        return write(self, key, data)

    monkeypatch.setattr(Store, "write", spy)
    commit(store, "out", _manifest(0, "a", [store.write("out/0-a/0/x", b"1")]))
    assert written == ["out/0-a/0/x", "out/0-a/0/manifest.json.sha256", "out/0-a/0/manifest.json"]


def test_the_first_sidecar_of_a_sample_counts(store: Store) -> None:
    def sidecar(pod: str) -> samples.Sidecar:
        video = samples.put_file(store, "ab" * 32, pod, "video.mp4", pod.encode())
        return samples.Sidecar("ab" * 32, "p", 1, Sampling(Model("m", "sha256:" + "0" * 64), "1", steps=2), video, 8, 8, 3)

    first = samples.commit_sample(store, sidecar("a"), replace=False)
    assert samples.commit_sample(store, sidecar("b"), replace=False) == first
    assert samples.read_sidecar(store, "ab" * 32) == first
    damaged = samples.commit_sample(store, sidecar("c"), replace=True)
    assert samples.read_sidecar(store, "ab" * 32) == damaged != first


def test_kept_tracks_are_verified(store: Store) -> None:
    line = records.TrackLine(width=8, height=8, frame_count=3, frames=[records.TrackFrame(1, (0.0, 1.0, 2.5, 3.0), None)])
    key = "ab" * 32
    samples.keep_tracks(store, key, line, replace=False)
    assert samples.read_kept_tracks(store, key) == line
    whole = store.read(Artifact(keys.track_file_key(key)), 1 << 20)
    for damaged in (whole[:-9], whole.replace(b"2.5", b"2.6"), whole.replace(b"abab", b"abac", 1), whole + whole):
        store.write(keys.track_file_key(key), damaged)
        with pytest.raises(StoreError) as e:
            samples.read_kept_tracks(store, key)
        assert e.value.corrupt


@pytest.mark.parametrize("message", ["x" * 9000, "ä" * 5000, '"\\\n' * 3000, "short"])
def test_a_termination_message_fits(message: str) -> None:
    data = harness.encode_termination({"class": "Bug", "message": message})
    assert len(data) <= harness.MAX_TERMINATION
    said = json.loads(data)["message"].removesuffix(" ... (the rest is in the log)")
    assert said
    assert message.startswith(said)


def test_progress_estimates_from_what_it_did_itself() -> None:
    clock = [100.0]
    progress = Progress("sample", 60, lambda: clock[0])
    progress.total(10, "samples")
    progress.skip(5)
    clock[0] += 20
    progress.add(2)
    progress.metric("loss", float("nan"))
    told = progress.snapshot()
    assert (told["done"], told["progressPercentage"], told["estimatedRemainingSeconds"], told["metrics"]) == (7, 70, 30, [])
    assert progress.stalled() is None
    clock[0] += 61
    assert progress.stalled() == 61
    progress.checkpoint()
    assert progress.stalled() is None
    assert 'spatialalign_stage_done{stage="sample",unit="samples"} 7' in progress.prometheus()


def test_errors_survive_a_process_boundary() -> None:
    import pickle

    for error in (StageError(ExitCode.GPU, "x"), Interrupted()):
        again = pickle.loads(pickle.dumps(error))
        assert (again.code, str(again)) == (error.code, str(error))
