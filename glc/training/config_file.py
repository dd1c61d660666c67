# SPDX-License-Identifier: Apache-2.0
"""A stage's configuration as YAML: read, overridden key by key, checked, written back."""

from __future__ import annotations

import contextlib
import dataclasses
import reprlib
import typing
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

import yaml

from glc.errors import InvalidArgumentError
from glc.training.config import StageConfig
from glc.training.config_rules import check_ranges

# YAML's anchors make much of a few lines: of a value that is refused, this much is shown
_limits = reprlib.Repr()
_limits.maxlevel, _limits.maxstring, _limits.maxother = 2, 80, 80
_shown = _limits.repr
_CONSTRUCTOR_ERRORS = (ValueError, KeyError, AttributeError, RecursionError)


def load_config(path: Path, overrides: Sequence[str]) -> StageConfig:
    """Read a stage configuration.

    Args:
        path: YAML file with the fields of `StageConfig`.
        overrides: "a.b=value" strings, the value in YAML.

    Raises:
        InvalidArgumentError: no such file, not YAML, an unknown or missing key, a wrong type, a
            value out of range.
    """
    try:
        plain = _load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidArgumentError(f"config: {path}: expected a YAML file, got {error}") from error
    if not isinstance(plain, dict):
        raise InvalidArgumentError(f"config: {path}: expected a mapping, got {_shown(plain)}")
    return _checked(plain, overrides)


def override_config(config: StageConfig, overrides: Sequence[str]) -> StageConfig:
    """Set single values of a configuration.

    Args:
        config: it stays as it is.
        overrides: as for `load_config`.

    Raises:
        InvalidArgumentError: as `load_config`.
    """
    return _checked(_plain(dataclasses.asdict(config)), overrides)


def dump_config(config: StageConfig) -> str:
    """YAML text of a resolved configuration; `load_config` reads it back."""
    text: str = yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False)
    return text


def _load_yaml(text: str) -> Any:
    """Read YAML; dates and numbers that are none, and lists in lists without end, are errors too.

    Raises:
        yaml.YAMLError: it is not YAML, or has values that cannot be.
    """
    try:
        return yaml.safe_load(text)
    except _CONSTRUCTOR_ERRORS as error:
        raise yaml.YAMLError(f"a value that cannot be read: {error}") from error


def _checked(plain: dict[str, Any], overrides: Sequence[str]) -> StageConfig:
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise InvalidArgumentError(f"config: override: expected key=value, got {override!r}")
        *parents, leaf = key.split(".")
        node = plain
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise InvalidArgumentError(
                    f"config: {parent}: expected a mapping, got {_shown(node)}"
                )
        try:
            node[leaf] = _load_yaml(text)
        except yaml.YAMLError as error:
            raise InvalidArgumentError(
                f"config: {key}: expected a value in YAML, got {text!r}"
            ) from error
    config = _build(StageConfig, plain, "")
    check_ranges(config)
    return config


_Config = TypeVar("_Config")


def _build(cls: type[_Config], plain: Any, where: str) -> _Config:
    hints = typing.get_type_hints(cls)
    if not isinstance(plain, dict):
        raise InvalidArgumentError(
            f"config: {where or '.'}: expected a mapping, got {_shown(plain)}"
        )
    unknown = sorted(set(plain) - set(hints), key=str)  # YAML's keys may be numbers too
    required = {
        f.name
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(plain))
    if unknown or missing:
        raise InvalidArgumentError(
            f"config: {where or '.'}: expected keys among {sorted(hints)}, got unknown {unknown}, "
            f"missing {missing}"
        )
    values = {
        key: _convert(hints[key], value, f"{where}.{key}".lstrip("."))
        for key, value in plain.items()
    }
    return cls(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise InvalidArgumentError(f"config: {where}: expected a list, got {_shown(value)}")
        item, *others = typing.get_args(hint)
        if others != [...] and len(value) != 1 + len(others):
            raise InvalidArgumentError(
                f"config: {where}: expected {1 + len(others)} values, got {_shown(value)}"
            )
        return tuple(_convert(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint):
            raise InvalidArgumentError(
                f"config: {where}: expected one of {list(typing.get_args(hint))}, "
                f"got {_shown(value)}"
            )
        return value
    kinds = typing.get_args(hint) or (hint,)
    if float in kinds and isinstance(value, str):  # YAML reads 6e-4, without a point, as text
        with contextlib.suppress(ValueError):
            return float(value)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # else it is refused as what it is
            return float(value)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join("none" if kind is NoneType else kind.__name__ for kind in kinds)
        raise InvalidArgumentError(f"config: {where}: expected {expected}, got {_shown(value)}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value
