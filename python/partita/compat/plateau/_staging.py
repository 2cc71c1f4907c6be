"""Frames written to files that nobody sees before a commit."""

from __future__ import annotations

from typing import Any

import pandas as pd

import partita
from partita.compat.plateau._engine import open_at, translated
from partita.compat.plateau._stores import changing

__all__ = ["label_of", "stage_frame", "write_arguments"]


def write_arguments(df_serializer: Any) -> dict[str, Any]:
    """How to write, as the engine takes it.

    Raises
    ------
    NotImplementedError
        If the files are not to be Parquet.
    """
    if df_serializer is None:
        return {}
    if not hasattr(df_serializer, "chunk_size"):
        raise NotImplementedError(
            f"datasets are stored as Parquet; {df_serializer!r} writes something else"
        )
    arguments: dict[str, Any] = {"row_group_rows": df_serializer.chunk_size}
    codec = df_serializer.compression
    if isinstance(codec, dict):
        arguments["compression"] = {name: each.lower() for name, each in codec.items()}
    else:
        arguments["compression"] = "none" if codec is None else str(codec).lower()
    return arguments


def label_of(key: str) -> str:
    """The label of the partition of a file: its key without dataset, table and suffix."""
    return key.split("/", 2)[2].removesuffix(".parquet")


def stage_frame(
    store: Any, uuid: str, frame: pd.DataFrame, partition_on: list[str], df_serializer: Any
) -> list[tuple[str, str, bytes]] | None:
    """Write a frame; return label, key and what a commit needs, of each file.

    None if the store has no dataset of this name, or one that is laid out in another way.
    """
    arguments = write_arguments(df_serializer)
    with changing(store, uuid) as place, translated(uuid):
        try:
            table = open_at(place, uuid)
        except KeyError:
            return None
        if table.partition_by != list(partition_on):
            return None
        staged: partita.Staged = table.stage(frame, **arguments)
        data = staged.to_bytes()
        return [(label_of(key), key, data) for key in staged.keys]
