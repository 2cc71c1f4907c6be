"""Partitionings by the names that they have in the configurations of collections."""

from __future__ import annotations

from typing import Any

from partita.compat.zcollection.partitioning.abc import Partitioning

__all__ = ["CODEC_REGISTRY", "get_codecs", "register_codec"]

CODEC_REGISTRY: dict[str, type[Partitioning]] = {}


def get_codecs(config: dict[str, Any]) -> Partitioning:
    """The partitioning of a configuration; its ``id`` is taken out of it."""
    name = config.pop("id", None)
    found = CODEC_REGISTRY.get(name) if name is not None else None
    if found is None:
        raise ValueError(f"codec not available: {name!r}")
    return found.from_config(config)


def register_codec(cls: type[Partitioning], *, codec_id: str | None = None) -> None:
    """Register a class of partitionings, by the name that it gives itself or another one."""
    name = cls.ID if codec_id is None else codec_id
    if name is None:
        raise ValueError("codec identifier not defined")
    if name in CODEC_REGISTRY:
        raise ValueError(f"codec already registered: {name!r}")
    CODEC_REGISTRY[name] = cls
