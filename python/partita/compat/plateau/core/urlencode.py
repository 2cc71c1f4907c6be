"""Partition values in keys."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable
from typing import Any

__all__ = ["decode_key", "quote", "quote_indices", "unquote", "unquote_indices"]


def quote(value: Any) -> str:
    """A value as it stands in a key; what is neither text nor bytes goes through ``str``."""
    return urllib.parse.quote(value if isinstance(value, (str, bytes)) else str(value))


def unquote(value: str) -> str:
    """The text that `quote` was given."""
    return urllib.parse.unquote(value)


def quote_indices(indices: Iterable[tuple[str, Any]]) -> list[str]:
    """Pairs of column and value as the folders of a key.

    Examples
    --------
    >>> quote_indices([("city", "São Paulo")])
    ['city=S%C3%A3o%20Paulo']
    """
    return [f"{quote(column)}={quote(value)}" for column, value in indices]


def unquote_indices(index_strings: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs that folders name; folders that are no pair are passed over."""
    pairs = (folder.split("=") for folder in index_strings)
    return [(unquote(pair[0]), unquote(pair[1])) for pair in pairs if len(pair) == 2]


def decode_key(key: str) -> tuple[str, str | None, list[tuple[str, str]], str | None]:
    """The parts of a key: dataset, table, pairs of column and value, file.

    Examples
    --------
    >>> decode_key("uuid/table/city=Oslo/file.parquet")
    ('uuid', 'table', [('city', 'Oslo')], 'file.parquet')
    """
    parts = key.split("/")
    if len(parts) < 3:
        return key, None, [], None
    return parts[0], parts[1], unquote_indices(parts[2:-1]), parts[-1]
