"""JSON that is read strictly: an instruction that is not understood must never be skipped."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from typing import Any, TypeVar

MAX_DEPTH = 32

T = TypeVar("T")


def decode(data: bytes) -> Any:
    """Decodes one JSON document; refuses duplicate keys, NaN, trailing data and nesting deeper than 32."""
    text = data.decode("utf-8")
    _check_depth(text)
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)


def parse(cls: type[T], data: bytes) -> T:
    """Decodes a document into a dataclass, whose fields have the JSON's names in snake case."""
    return build(cls, decode(data), "")


def build(cls: type[T], value: Any, path: str) -> T:
    result: T = _convert(cls, value, path)
    return result


def to_json(value: Any) -> Any:
    """Turns dataclasses into what JSON holds; fields that are None are left out, as are those at a default marked so."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out = {}
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if item is None or (field.metadata.get("omit_default") and item == field.default):
                continue
            out[field_name(field)] = to_json(item)
        return out
    if isinstance(value, dict):
        return {k: to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    return value


def dump(value: Any) -> bytes:
    return json.dumps(to_json(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def field_name(field: dataclasses.Field[Any]) -> str:
    """The field's name in JSON: its own in camel case, or what its metadata say."""
    name: str = field.metadata.get("json") or json_name(field.name)
    return name


@functools.cache
def json_name(name: str) -> str:
    """sample_id -> sampleID, pod_uid -> podUID, lora_rank -> loraRank."""
    first, *rest = name.split("_")
    return first + "".join(part.upper() if part in ("id", "uid") else part.capitalize() for part in rest)


def spans(text: str) -> dict[str, tuple[int, int]]:
    """Where the values of the top-level object's keys stand in the text, which must be valid JSON."""
    decoder, found = json.JSONDecoder(), {}
    at = _skip(text, 0) + 1
    while text[at := _skip(text, at)] != "}":
        key, at = decoder.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, at = decoder.raw_decode(text, start)
        found[key] = (start, at)
        at = _skip(text, at)
        if text[at] == ",":
            at += 1
    return found


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def _check_depth(text: str) -> None:
    depth, quoted, escaped = 0, False, False
    for at, c in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and c == "\\":
            escaped = True
        elif c == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif c in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"offset {at}: nested deeper than {MAX_DEPTH}")
        elif c in "}]":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise ValueError(f"duplicate field {key!r}")
        out[key] = value
    return out


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _convert(kind: Any, value: Any, path: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = [arg for arg in typing.get_args(kind) if arg is not type(None)]
        return None if value is None else _convert(inner, value, path)
    if origin is list:
        _expect(isinstance(value, list), value, path, "a list")
        return [_convert(typing.get_args(kind)[0], item, f"{path}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        _expect(isinstance(value, dict), value, path, "an object")
        return {key: _convert(typing.get_args(kind)[1], item, f"{path}.{key}") for key, item in value.items()}
    if origin is tuple:
        _expect(isinstance(value, list) and len(value) == len(typing.get_args(kind)), value, path, "a list of numbers")
        return tuple(_convert(arg, item, path) for arg, item in zip(typing.get_args(kind), value, strict=True))
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, path)
    if kind is float:
        _expect(isinstance(value, int | float) and not isinstance(value, bool), value, path, "a number")
        return float(value)
    if kind is int:
        _expect(isinstance(value, int) and not isinstance(value, bool), value, path, "a whole number")
        return value
    _expect(isinstance(value, kind), value, path, {str: "a string", bool: "true or false"}.get(kind, str(kind)))
    return value


def _record(kind: Any, value: Any, path: str) -> Any:
    _expect(isinstance(value, dict), value, path, "an object")
    hints, arguments, known = _hints(kind), {}, set()
    for field in dataclasses.fields(kind):
        name = field_name(field)
        known.add(name)
        if name in value:
            arguments[field.name] = _convert(hints[field.name], value[name], _join(path, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{_join(path, name)} is not set")
    for name in value:
        if name not in known:
            raise ValueError(f"unknown field {_join(path, name)!r}")
    return kind(**arguments)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _expect(fine: bool, value: Any, path: str, want: str) -> None:
    if not fine:
        raise ValueError(f"{path or 'the document'} is {str(value)[:80]!r}, want {want}")
