"""The artifact store: a folder or an S3-compatible bucket, read by digest.

Files stand under keys below one root. What is read is checked against the digest that names it, so that a truncated or
tampered file is an error and never data.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from .exits import ExitCode, StageError
from .keys import check_key, digest, valid_digest, valid_key
from .spec import Artifact


@dataclass(frozen=True)
class File:
    """A file that a manifest or sidecar vouches for."""

    key: str
    size: int
    digest: str

    @property
    def artifact(self) -> Artifact:
        return Artifact(self.key, self.digest)


class Kind(Enum):
    """What a store's error means to a stage."""

    STORAGE = ExitCode.STORAGE  # the store or the network refused
    MISSING = ExitCode.BAD_INPUT  # there is no such file
    CORRUPT = "corrupt"  # it is not what its digest, size or format promises
    MISNAMED = ExitCode.BAD_SPEC  # the key or the store's URL is no valid one


class StoreError(StageError):
    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(ExitCode.BAD_INPUT if kind is Kind.CORRUPT else kind.value, message)
        self.kind = kind

    @property
    def missing(self) -> bool:
        return self.kind is Kind.MISSING

    @property
    def corrupt(self) -> bool:
        return self.kind is Kind.CORRUPT


def corrupt(op: str, key: str, why: str) -> StoreError:
    return StoreError(Kind.CORRUPT, f"{op} {key}: {why}")


class Backend(Protocol):
    """What a folder and a bucket have in common. Errors are OSErrors; a file that is not there is FileNotFoundError."""

    def read(self, key: str) -> bytes: ...
    def size(self, key: str) -> int: ...
    def write(self, key: str, data: bytes) -> None: ...
    def write_if_absent(self, key: str, data: bytes) -> bool: ...
    def delete(self, key: str) -> None: ...
    def list(self, prefix: str) -> list[str]: ...
    def sync(self) -> None: ...


class Store:
    """One artifact root. It is safe for use by several processes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @classmethod
    def open(cls, url: str) -> Store:
        """Opens file:///dir (made when absent) or s3://bucket/prefix?region=R&endpoint=URL&use_path_style=true."""
        try:
            parts = urlsplit(url)
            host, has_credentials = parts.netloc, "@" in parts.netloc
        except ValueError:
            raise StoreError(Kind.MISNAMED, "open store: not a URL: want file:///dir or s3://bucket/prefix") from None
        if has_credentials:
            raise StoreError(Kind.MISNAMED, "open store: credentials do not belong in the store's URL")
        if parts.scheme == "file":
            if host or parts.query or not parts.path.startswith("/"):
                raise StoreError(Kind.MISNAMED, f"open store: URL {url!r}: a folder is file:///absolute/path, without options")
            with _typed("open store", ""):
                return cls(Folder(Path(parts.path)))
        if parts.scheme == "s3":
            prefix = parts.path.strip("/")
            if not host or (prefix and not valid_key(prefix)):
                raise StoreError(Kind.MISNAMED, f"open store: URL {url!r}: want s3://bucket/prefix")
            options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            with _typed("open store", ""):
                from .bucket import Bucket

                return cls(Bucket(host, prefix, options))
        raise StoreError(Kind.MISNAMED, f"open store: URL {url!r}: scheme must be file or s3")

    def read(self, a: Artifact, limit: int) -> bytes:
        """Reads a whole file of at most limit bytes and checks its digest, if it is pinned."""
        _check("read", a.key)
        if a.digest and not valid_digest(a.digest):
            raise corrupt("read", a.key, f"{a.digest!r} is not a digest: want sha256: and 64 hex digits")
        with _typed("read", a.key):
            if (size := self._backend.size(a.key)) > limit:
                raise corrupt("read", a.key, f"{size} bytes, at most {limit} are allowed")
            data = self._backend.read(a.key)
        if len(data) > limit:
            raise corrupt("read", a.key, f"more than the {limit} bytes allowed")
        if a.digest and (got := digest(data)) != a.digest:
            raise corrupt("read", a.key, f"its digest is {got}, not {a.digest}: the file is truncated or was changed")
        return data

    def verify(self, f: File) -> None:
        """Reads a file to the end and checks size and digest."""
        if (size := self.size(f.key)) != f.size:
            raise corrupt("verify", f.key, f"{size} bytes, not {f.size}: the file is truncated or was changed")
        self.read(f.artifact, f.size)

    def size(self, key: str) -> int:
        _check("look up", key)
        with _typed("look up", key):
            return self._backend.size(key)

    def write(self, key: str, data: bytes) -> File:
        """Stores a file, whole or not at all; it replaces what was there."""
        _check("write", key)
        with _typed("write", key):
            self._backend.write(key, data)
        return File(key, len(data), digest(data))

    def write_if_absent(self, key: str, data: bytes) -> bool:
        """Stores a file under a key that has none yet: of several writers exactly one is told that it did."""
        _check("write", key)
        with _typed("write", key):
            return self._backend.write_if_absent(key, data)

    def delete(self, key: str) -> None:
        """Deletes a file; one that is gone already is no error."""
        _check("delete", key)
        with _typed("delete", key), suppress(FileNotFoundError):
            self._backend.delete(key)

    def list(self, prefix: str) -> list[str]:
        with _typed("list", prefix):
            return sorted(key for key in self._backend.list(prefix) if valid_key(key))

    def sync(self) -> None:
        """Makes what was written durable: a power cut after it loses none of it."""
        with _typed("flush store", ""):
            self._backend.sync()


def _check(op: str, key: str) -> None:
    try:
        check_key(key)
    except ValueError as e:
        raise StoreError(Kind.MISNAMED, f"{op}: {e}") from e


@contextmanager
def _typed(op: str, key: str) -> Iterator[None]:
    where = f"{op} {key}".strip()
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as e:
        kind = Kind.MISSING if key else Kind.STORAGE
        raise StoreError(kind, f"{where}: there is no such file" if key else f"{where}: {e}") from e
    except LinkError as e:
        raise StoreError(Kind.CORRUPT, f"{where}: {e}") from e
    except OSError as e:
        raise StoreError(Kind.STORAGE, f"{where}: {e}") from e


class LinkError(OSError):
    """A key names something that is no regular file of this store."""


class Folder:
    """A folder, in which pods of several nodes may write at once. No symbolic link in it leads out of it."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = Path(os.path.realpath(root))
        if not self._root.is_dir():
            raise NotADirectoryError(f"{root} is not a directory")
        self._dirty: set[Path] = set()

    def _path(self, key: str) -> Path:
        path = self._root / key
        if not Path(os.path.realpath(path)).is_relative_to(self._root):
            raise LinkError("a symbolic link leads out of the store")
        return path

    def read(self, key: str) -> bytes:
        # Without O_NONBLOCK, opening a named pipe that somebody put there would wait for ever.
        with os.fdopen(os.open(self._path(key), os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise LinkError("not a regular file")
            return file.read()

    def size(self, key: str) -> int:
        info = self._path(key).stat()
        if not stat.S_ISREG(info.st_mode):
            raise LinkError("not a regular file")
        return info.st_size

    @contextmanager
    def _temporary(self, key: str, data: bytes) -> Iterator[tuple[Path, Path]]:
        target = self._path(key)
        # The ~ keeps the name apart from every key.
        temporary = target.parent / f".{secrets.token_hex(10)}~"
        self._create(temporary, data)
        try:
            yield temporary, target
            self._dirty.add(target.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def _create(self, path: Path, data: bytes) -> None:
        for attempt in range(30):  # another process may remove a directory that is still empty
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileNotFoundError:
                if attempt == 29:
                    raise
                continue
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return

    def write(self, key: str, data: bytes) -> None:
        with self._temporary(key, data) as (temporary, target):
            temporary.rename(target)

    def write_if_absent(self, key: str, data: bytes) -> bool:
        with self._temporary(key, data) as (temporary, target):
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            return True

    def delete(self, key: str) -> None:
        path = self._path(key)
        path.unlink()
        with suppress(OSError):  # a store has keys and no directories: those left empty go too
            for parent in path.parents:
                if parent == self._root:
                    break
                parent.rmdir()

    def list(self, prefix: str) -> list[str]:
        top = self._root / prefix.rpartition("/")[0]
        found = []
        for folder, _, names in os.walk(top):
            for name in names:
                path = Path(folder, name)
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix) and path.is_file() and not path.is_symlink():
                    found.append(key)
        return found

    def sync(self) -> None:
        # Files are flushed as they are written; what is left are the directories that name them.
        for folder in {parent for path in self._dirty for parent in (path, *path.parents) if parent.is_relative_to(self._root)}:
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        self._dirty.clear()


def credentials(environ: Any = os.environ) -> dict[str, str | None]:
    return {"key": environ.get("AWS_ACCESS_KEY_ID"), "secret": environ.get("AWS_SECRET_ACCESS_KEY")}
