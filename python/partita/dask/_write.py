"""Writing a Dask DataFrame to a table."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dask import delayed

from partita._arguments import Compression
from partita.dask._frames import typed, types_of
from partita.dask._receipts import Receipts, merge_receipts
from partita.dask._shuffle import BUCKET, buckets_of, shuffled
from partita.dask._writer import Mode, Writer
from partita.dataset import PartitionBy
from partita.errors import CommitUnknown, InvalidArgument, PartitaError
from partita.expression import Where
from partita.records import Commit

if TYPE_CHECKING:
    from dask.dataframe import DataFrame
    from dask.delayed import Delayed

__all__ = ["write", "write_table"]

_FAN_IN = 32


def write_table(
    ddf: DataFrame,
    url: str | os.PathLike[str],
    *,
    mode: Mode = "create",
    partition_by: PartitionBy | None = None,
    index: str | Sequence[str] | None = None,
    where: Where | None = None,
    on: str | Sequence[str] | None = None,
    shuffle: bool = False,
    buckets: int | None = None,
    bucket_by: str | Sequence[str] | None = None,
    key: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    compression: Compression | None = None,
    sort_by: str | Sequence[str] | None = None,
    row_group_rows: int | None = None,
    target_file_bytes: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    single_writer: bool = False,
    compute: bool = True,
) -> Commit | Delayed:
    """Write a Dask DataFrame to a table, in one atomic commit.

    Workers stage files that nobody can see, and send back receipts; the client commits them. If the
    computation fails or is cancelled the table is as it was. Files of tasks that ran twice, and of
    workers that died, are garbage, which `Table.collect_garbage` removes.

    Parameters
    ----------
    ddf : dask.dataframe.DataFrame
        The rows. Its index is not stored.
    url : str or path-like
        Where the table is or is to be. The workers must reach it too.
    mode : str, default "create"
        ``"create"`` makes the table, and is `AlreadyExists` if there is one. ``"append"`` adds
        rows. ``"replace"`` takes out the rows that match `where` in the same commit; without
        `where` it makes the whole table anew. ``"upsert"`` takes out the rows that have the same
        key in the columns `on`.
    partition_by, index : optional
        As for `create_table`. Where the table exists they are taken from it.
    where : Expr, str, list or dict, optional
        What ``mode="replace"`` takes out.
    on : str or sequence of str, optional
        The key of ``mode="upsert"``.
    shuffle : bool, default False
        Bring the rows of each partition key and bucket together first, so that there is one file
        of each. Without it each partition of `ddf` writes a file for each key that it has rows of.
    buckets : int, optional
        With `shuffle`: the number of buckets of a partition key; 1 if left out.
    bucket_by : str or sequence of str, optional
        With `shuffle`: the columns that say which bucket a row goes to; all of them if left out.
    key : str, optional
        A name of your own for this write: of writes with the same key one is committed. Each write
        that is described has a name of its own if this is left out.
    metadata, compression, sort_by, row_group_rows, target_file_bytes
        As for `create_table`.
    storage_options : mapping, optional
        Options of the store; secrets are named, as for `read_table`.
    single_writer : bool, default False
        Promise that nobody else writes, for stores that cannot commit atomically.
    compute : bool, default True
        If False, return a `dask.delayed.Delayed` that writes and commits when it is computed. Done
        twice, it counts once.

    Returns
    -------
    Commit or dask.delayed.Delayed

    Examples
    --------
    >>> import pandas as pd
    >>> import dask.dataframe as dd
    >>> import partita as pt
    >>> import partita.dask as ptd
    >>> frame = pd.DataFrame({"y": [1, 2, 1, 2], "v": [1, 2, 3, 4]})
    >>> ddf = dd.from_pandas(frame, npartitions=2)
    >>> commit = ptd.write_table(ddf, "memory://dask-write/t", partition_by="y", shuffle=True)
    >>> commit.rows_added, commit.files_added
    (4, 2)
    >>> table = pt.open_table("memory://dask-write/t")
    >>> _ = ptd.write_table(ddf.assign(v=0), table.url, mode="replace", where="y == 1")
    >>> table.refresh().count(where="v == 0")
    4
    """
    if not shuffle and (buckets is not None or bucket_by is not None):
        raise InvalidArgument("buckets= and bucket_by= are of use with shuffle=True")
    writer = Writer.to(
        url,
        mode=mode,
        partition_by=partition_by,
        index=index,
        where=where,
        on=on,
        key=key,
        metadata=metadata,
        compression=compression,
        sort_by=sort_by,
        row_group_rows=row_group_rows,
        target_file_bytes=target_file_bytes,
        storage_options=storage_options,
        single_writer=single_writer,
    )
    types = types_of(ddf._meta)
    meta = ddf._meta
    if shuffle:
        ddf = shuffled(ddf, writer, 1 if buckets is None else buckets, bucket_by)
    return write(ddf.to_delayed(), writer, types, meta, compute)


def write(
    parts: Sequence[Delayed], writer: Writer, types: Any, meta: Any, compute: bool
) -> Commit | Delayed:
    """Stages every part, gathers the receipts, and commits."""
    # Two writes with the same key may run at the same time: for Dask they are different tasks.
    run = uuid.uuid4().hex
    stage = delayed(stage_part, pure=False, traverse=False)
    receipts = [
        stage(
            part,
            writer,
            types,
            f"{writer.key}-{place}",
            dask_key_name=f"partita-stage-{run}-{place}",
        )
        for place, part in enumerate(parts)
    ]
    root = _gathered(receipts, run)
    if not compute:
        commit = delayed(commit_receipts, pure=False)
        return commit(root, writer, meta, dask_key_name=f"partita-commit-{run}")
    gathered = root.compute()
    try:
        return commit_receipts(gathered, writer, meta)
    except CommitUnknown:
        raise
    except PartitaError:
        with suppress(PartitaError):
            writer.discard(gathered)
        raise


def stage_part(part: Any, writer: Writer, types: Any, task: str) -> Receipts:
    """What a worker does with one part."""
    pieces = part if isinstance(part, list) else [part]
    frames = []
    for piece in pieces:
        if piece is None:
            continue
        frames += buckets_of(piece) if BUCKET in getattr(piece, "columns", ()) else [piece]
    like = writer.schema
    rows = [typed(frame, types, like) for frame in frames if _has_rows(frame)]
    return writer.stage_all(rows, task)


def commit_receipts(receipts: Receipts, writer: Writer, meta: Any) -> Commit:
    """The commit, in one place. A table that is made of no rows has the columns of the frame."""
    if writer.makes and not receipts.staged:
        if meta is None:
            raise InvalidArgument("there is no data and so no schema: a table cannot be made of it")
        receipts = writer.stage(meta, "empty")
    return writer.commit(receipts)


def _gathered(receipts: list[Delayed], run: str) -> Delayed:
    """Receipts put together as a tree, so that no task takes all of them."""
    merge = delayed(merge_receipts, pure=False)
    level = 0
    while len(receipts) > 1 or level == 0:
        level += 1
        receipts = [
            merge(
                receipts[start : start + _FAN_IN],
                dask_key_name=f"partita-gather-{run}-{level}-{start // _FAN_IN}",
            )
            for start in range(0, max(len(receipts), 1), _FAN_IN)
        ]
    return receipts[0]


def _has_rows(frame: Any) -> bool:
    return not hasattr(frame, "__len__") or len(frame) > 0
