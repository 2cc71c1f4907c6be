"""Writing by many: what a worker does with its rows, and what becomes of the receipts."""

from __future__ import annotations

import functools
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from partita import _native
from partita._arguments import Compression, metadata_json, names, write_options
from partita._credentials import referenced, resolved
from partita._data import stream
from partita.dask._receipts import Receipts
from partita.dask._source import Options
from partita.dataset import PartitionBy, _partitioning, open_table
from partita.errors import InvalidArgument, NotFound, SchemaMismatch
from partita.expression import Expr, Where, predicate
from partita.records import Commit
from partita.staging import Staged
from partita.stores import connection
from partita.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Mode", "Writer"]

Mode = Literal["append", "create", "replace", "upsert"]
_MODES = get_args(Mode)


@dataclass(frozen=True)
class Writer:
    """One write by many: any number of processes stage, and one commits.

    It is pickled into every task, and holds no secret. Made by `Writer.to`.
    """

    url: str
    options: Options
    single_writer: bool
    mode: Mode
    key: str
    """What makes a commit that is sent twice one commit."""
    where: str | None
    on: tuple[str, ...]
    version: int | None
    """The version that the table had when the write was described."""
    create: tuple[tuple[str, Any], ...] = field(repr=False)
    write: tuple[tuple[str, Any], ...] = field(repr=False)

    @classmethod
    def to(
        cls,
        url: str | os.PathLike[str],
        *,
        mode: Mode = "create",
        partition_by: PartitionBy | None = None,
        index: str | Sequence[str] | None = None,
        where: Where | None = None,
        on: str | Sequence[str] | None = None,
        key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        compression: Compression | None = None,
        sort_by: str | Sequence[str] | None = None,
        row_group_rows: int | None = None,
        target_file_bytes: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        single_writer: bool = False,
    ) -> Writer:
        """A write to `url`, with the parameters of `write_table`.

        Examples
        --------
        >>> import partita.dask as ptd
        >>> writer = ptd.Writer.to("memory://writer/t", partition_by="y")
        >>> one = writer.stage({"y": [1, 2], "v": [1, 2]}, task="first")
        >>> two = writer.stage({"y": [2], "v": [3]}, task="second")
        >>> again = writer.stage({"y": [2], "v": [3]}, task="second")
        >>> writer.commit(ptd.merge_receipts([one, two, again])).rows_added
        3
        """
        if mode not in _MODES:
            raise InvalidArgument(f"mode= is one of {', '.join(_MODES)}, not {mode!r}")
        if where is not None and mode != "replace":
            raise InvalidArgument("where= says what mode='replace' takes out")
        if (mode == "upsert") != (on is not None):
            raise InvalidArgument("on= names the key of mode='upsert', which needs it")
        keys, date, bucket = _partitioning(partition_by)
        plain = write_options(None, compression, sort_by, row_group_rows, target_file_bytes)
        fresh = cls(
            url=_absolute(connection(url, None, None)[0]),
            options=referenced(storage_options),
            single_writer=bool(single_writer),
            mode=mode,
            key=key if key is not None else uuid.uuid4().hex,
            where=None if where is None else str(Expr(predicate(where))),
            on=tuple(names("on", on)),
            version=None,
            create=_frozen(
                {
                    "partition_by": keys,
                    "date": None if date is None else (date.column, date.resolution),
                    "bucket": None if bucket is None else (bucket.column, bucket.buckets),
                    "index": names("index", index),
                    "overwrite": mode == "replace",
                    "metadata": metadata_json(metadata),
                    "header": "json",
                }
            ),
            write=_frozen(plain),
        )
        return fresh._settled(partition_by is not None, index is not None)

    @property
    def partition_by(self) -> list[str]:
        """The partition columns of what is written."""
        return list(dict(self.create)["partition_by"])

    @property
    def date(self) -> tuple[str, str] | None:
        """The column and the resolution that partition columns are derived from."""
        return dict(self.create)["date"]

    @property
    def bucket(self) -> tuple[str, int] | None:
        """The column whose hash buckets partition, and their number."""
        return dict(self.create)["bucket"]

    @property
    def makes(self) -> bool:
        """True if the commit makes the table, or makes it anew."""
        return self.mode == "create" or (self.mode == "replace" and self.where is None)

    @property
    def schema(self) -> pa.Schema | None:
        """The schema of the table that takes the rows; None if the commit makes it."""
        return None if self.makes else self._table(fresh=False).schema

    def stage(self, data: Any, task: str) -> Receipts:
        """Write rows to files that nobody can see yet.

        Parameters
        ----------
        data : object
            Rows, in any form that `create_table` takes.
        task : str
            The name of the task. A task that runs again must have the same name again: one of its
            runs counts.
        """
        return Receipts.of(task, [self._stage(data)])

    def stage_all(self, parts: Sequence[Any], task: str) -> Receipts:
        """The same of several pieces, each to files of its own."""
        return Receipts.of(task, [self._stage(part) for part in parts])

    def commit(self, receipts: Receipts) -> Commit:
        """Make what was staged part of the table, once, whoever asks and how often."""
        staged = receipts.staged
        if self.makes:
            made = self._draft(self.key).create([one._native for one in staged])
            return Commit(**made[1])
        table = self._table(fresh=True)
        metadata = dict(self.create)["metadata"]
        return table.commit(
            staged,
            where=self.where,
            on=list(self.on) if self.on and staged else None,
            metadata=None if metadata is None else json.loads(metadata),
            key=self.key,
        )

    def discard(self, receipts: Receipts) -> None:
        """Delete what was staged, if it is not to be committed."""
        if self.makes:
            self._draft(None).discard([one._native for one in receipts.staged])
        else:
            self._table(fresh=True).discard(receipts.staged)

    def _stage(self, data: Any) -> Staged:
        if self.makes:
            with stream(data) as source:
                return Staged(self._draft(None).stage(source, _thawed(self.write)))
        table = self._table(fresh=False)
        with stream(data, table.schema) as source:
            return Staged(table._native.stage(source, _thawed(self.write)))

    def _draft(self, key: str | None) -> _native.Draft:
        return _native.Draft(
            self.url,
            _thawed(self.create),
            {**_thawed(self.write), "idempotency_key": key},
            resolved(self.options),
            self.single_writer,
        )

    def _table(self, fresh: bool) -> Table:
        if fresh:
            return open_table(
                self.url,
                storage_options=resolved(self.options),
                single_writer=self.single_writer,
            )
        return _writable(self.url, self.options, self.single_writer, self.version, os.getpid())

    def _settled(self, partition_by: bool, index: bool) -> Writer:
        """With what the table itself says, once it is known that the write can be."""
        if self.mode == "create":
            self._draft(None).check_absent()
            return self
        try:
            table = self._table(fresh=True)
        except NotFound:
            if self.makes:
                return self
            raise
        layout = dict(self.create)
        if self.makes:
            layout["partition_by"] = layout["partition_by"] if partition_by else table.partition_by
            layout["index"] = layout["index"] if index else table.index
            return replace(self, url=table.url, create=_frozen(layout))
        if partition_by and self.partition_by != table.partition_by:
            raise SchemaMismatch(
                f"the table is partitioned by {table.partition_by}, not by {self.partition_by}; "
                "leave partition_by= out"
            )
        unindexed = sorted(set(layout["index"]) - set(table.index))
        if unindexed:
            raise InvalidArgument(
                f"the table has no index on {', '.join(unindexed)}; build_index makes one"
            )
        if self.where is not None:
            table.scan(where=self.where)
        layout["partition_by"] = table.partition_by
        return replace(self, url=table.url, version=table.version, create=_frozen(layout))


@functools.lru_cache(maxsize=16)
def _writable(
    url: str, options: Options, single_writer: bool, version: int | None, process: int
) -> Table:
    """The table as a worker stages into it, opened once for each write."""
    return open_table(url, storage_options=resolved(options), single_writer=single_writer)


def _absolute(url: str) -> str:
    """A path that means the same in processes with another working directory."""
    return url if "://" in url else os.path.abspath(url)


def _frozen(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((n, tuple(v) if isinstance(v, list) else v) for n, v in options.items())


def _thawed(options: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    thawed = {n: list(v) if isinstance(v, tuple) else v for n, v in options}
    for derived in ("date", "bucket"):
        if thawed.get(derived) is not None:
            thawed[derived] = tuple(thawed[derived])
    return thawed
