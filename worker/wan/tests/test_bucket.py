"""The store on S3, against a server that answers as S3 does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import aiohttp
import pytest
import urllib3

from spatialalign_wan.contract.exits import ExitCode
from spatialalign_wan.contract.spec import Artifact
from spatialalign_wan.contract.store import Store, StoreError
from support import World, changed_environment

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="secret").create_bucket(
        Bucket="videos"
    )
    with changed_environment(KEYS):
        yield url
    server.stop()


def open_store(endpoint: str, bucket: str = "videos", prefix: str = "team/a") -> Store:
    return Store.open(f"s3://{bucket}/{prefix}?region=us-east-1&endpoint={endpoint}&use_path_style=true")


def test_files_stand_under_the_prefix(endpoint: str) -> None:
    store = open_store(endpoint)
    f = store.write("x/one", b"1")
    store.write("x/two", b"22")
    assert store.read(f.artifact, 9) == b"1"
    assert store.size("x/two") == 2
    assert store.list("x/") == ["x/one", "x/two"]
    assert open_store(endpoint, prefix="team").list("a/x/o") == ["a/x/one"]
    assert store.list("nowhere/") == []
    store.delete("x/one")
    store.delete("x/one")
    with pytest.raises(StoreError) as e:
        store.read(Artifact("x/one"), 9)
    assert e.value.missing


def test_the_first_writer_wins(endpoint: str) -> None:
    store = open_store(endpoint)
    assert store.write_if_absent("once", b"1")
    assert not store.write_if_absent("once", b"2")
    assert store.read(Artifact("once"), 9) == b"1"


def test_others_writes_are_seen_at_once(endpoint: str) -> None:
    ours, theirs = open_store(endpoint), open_store(endpoint)
    assert ours.list("shared/") == []
    theirs.write("shared/x", b"1")
    assert ours.list("shared/") == ["shared/x"]
    theirs.write("shared/x", b"longer")
    assert ours.size("shared/x") == 6


def test_a_store_that_refuses_is_no_missing_file(endpoint: str) -> None:
    for store in (open_store(endpoint, bucket="nobodys"), open_store("http://127.0.0.1:9")):
        with pytest.raises(StoreError) as e:
            store.read(Artifact("x"), 9)
        assert e.value.code is ExitCode.STORAGE


@pytest.mark.parametrize("error", [aiohttp.ClientPayloadError("cut"), urllib3.exceptions.ProtocolError("cut"), TimeoutError("cut")])
def test_a_connection_that_breaks_is_a_storage_error(endpoint: str, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    store = open_store(endpoint)
    store.write("broken", b"1")

    def fail(_: str) -> bytes:
        raise error

    monkeypatch.setattr(store._backend._fs, "cat_file", fail)  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="cut") as e:
        store.read(Artifact("broken"), 9)
    assert e.value.code is ExitCode.STORAGE


def test_a_stage_runs_on_a_bucket(endpoint: str, world: World) -> None:
    """Sampling, from the spec to the manifest, with nothing in a folder."""
    url = f"s3://videos/run?region=us-east-1&endpoint={endpoint}&use_path_style=true"
    document = world.sample_spec("out/s3", seeds=1)
    world.store = Store.open(url)
    for key in ("in/prompts.jsonl", document["sample"]["index"]["key"]):
        world.store.write(key, (world.folder / key).read_bytes())
    first = world.done(document, SPATIALALIGN_STORE=url)
    assert first["counts"] == {"total": 2, "generated": 2, "reused": 0}
    assert len(world.file(first, "samples.jsonl").splitlines()) == 2
    adopted = world.run(document, attempt=1, SPATIALALIGN_STORE=url)
    assert adopted.word["counts"]["adopted"] == 1
    assert json.loads(world.file(first, "samples.jsonl").splitlines()[0])["video"]["key"].startswith("samples/")
