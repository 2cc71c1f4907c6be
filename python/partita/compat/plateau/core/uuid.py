"""Unique names."""

from __future__ import annotations

import uuid

__all__ = ["gen_uuid", "gen_uuid_object"]


def gen_uuid_object() -> uuid.UUID:
    """A random UUID."""
    return uuid.uuid4()


def gen_uuid() -> str:
    """A random UUID as 32 hexadecimal digits."""
    return gen_uuid_object().hex
