"""The S3 side of the store, on fsspec's s3fs."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import s3fs
from aiohttp import ClientError as TransportError
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from .store import credentials


class Bucket:
    """Keys below a prefix of a bucket. S3 writes whole files or none, and nothing is cached: others write too."""

    def __init__(self, bucket: str, prefix: str, options: dict[str, str]) -> None:
        endpoint = options.get("endpoint") or None
        path_style = options.get("use_path_style", "").lower() in ("true", "1")
        # Our own digests cover every file; S3's newer checksums would only shut out older servers.
        config: dict[str, Any] = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
        if path_style:
            config["s3"] = {"addressing_style": "path"}
        self._fs = s3fs.S3FileSystem(
            **credentials(),
            endpoint_url=endpoint,
            client_kwargs={"region_name": options.get("region") or "us-east-1"},
            config_kwargs=config,
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self._root = f"{bucket}/{prefix}/" if prefix else f"{bucket}/"

    def _path(self, key: str) -> str:
        return self._root + key

    def read(self, key: str) -> bytes:
        with _refusals():
            data: bytes = self._fs.cat_file(self._path(key))
            return data

    def size(self, key: str) -> int:
        with _refusals():
            info = self._fs.info(self._path(key), refresh=True)
        if info["type"] != "file":
            raise FileNotFoundError(key)
        return int(info["size"])

    def write(self, key: str, data: bytes) -> None:
        with _refusals():
            self._fs.pipe_file(self._path(key), data)

    def write_if_absent(self, key: str, data: bytes) -> bool:
        bucket, _, name = self._path(key).partition("/")
        for _ in range(5):  # S3 answers 409 when two conditional writes meet: the loser asks again
            try:
                with _refusals():
                    self._fs.call_s3("put_object", Bucket=bucket, Key=name, Body=data, IfNoneMatch="*")
                return True
            except _Conflict as e:
                if e.exists:
                    return False
        return False

    def delete(self, key: str) -> None:
        with _refusals():
            self._fs.rm_file(self._path(key))

    def list(self, prefix: str) -> builtins.list[str]:
        folder = prefix.rpartition("/")[0]
        with _refusals():
            try:
                found = self._fs.find(self._path(folder), refresh=True)
            except FileNotFoundError:
                return []
        keys = (path[len(self._root) :] for path in found)
        return [key for key in keys if key.startswith(prefix)]

    def sync(self) -> None:
        """What S3 has answered for is durable."""


class _Conflict(OSError):
    def __init__(self, exists: bool) -> None:
        super().__init__("a conditional write met another one")
        self.exists = exists


@contextmanager
def _refusals() -> Iterator[None]:
    """Gives every refusal of S3 the type that a folder's would have."""
    try:
        yield
    except FileNotFoundError as e:
        # A bucket that is not there is a store that refuses, and no missing file.
        if "bucket" in str(e).lower():
            raise OSError(str(e)) from e
        raise
    except (BotoCoreError, ClientError, TransportError, HTTPError, OSError) as e:
        cause = e if isinstance(e, ClientError) else e.__cause__
        response = getattr(cause, "response", None) or {}
        code = response.get("Error", {}).get("Code", "")
        if code in ("PreconditionFailed", "412"):
            raise _Conflict(exists=True) from e
        if code in ("ConditionalRequestConflict", "409"):
            raise _Conflict(exists=False) from e
        if isinstance(e, OSError):
            raise
        raise OSError(str(e)) from e
