"""Reading and writing by ``dask.delayed`` and ``dask.bag``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dask import delayed

from partita._arguments import Version, columns_of, whole
from partita.dask._frames import Form, form_of
from partita.dask._pieces import Piece, by_of, plan
from partita.dask._read import read_piece
from partita.dask._source import Source
from partita.dask._write import write
from partita.dask._writer import Writer
from partita.expression import Expr, Where, predicate
from partita.records import Commit

if TYPE_CHECKING:
    from dask.bag import Bag
    from dask.delayed import Delayed

__all__ = ["read_bag", "read_delayed", "write_bag", "write_delayed"]


def read_delayed(
    url: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    where: Where | None = None,
    *,
    by: str | Sequence[str] | None = None,
    piece_bytes: int | None = None,
    categoricals: Sequence[str] | None = None,
    dates_as_object: bool = True,
    at: Version | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> list[Delayed]:
    """Read a table as delayed pandas DataFrames, one for each file, partition or value.

    The parameters are those of `read_table`.

    Examples
    --------
    >>> import dask
    >>> import partita as pt
    >>> import partita.dask as ptd
    >>> table = pt.create_table("memory://delayed/t", {"y": [1, 2], "v": [3, 4]}, partition_by="y")
    >>> frames = dask.compute(*ptd.read_delayed(table.url, columns=["v"]))
    >>> [frame["v"].tolist() for frame in frames]
    [[3], [4]]
    """
    source, names, text, form, pieces = _planned(
        url, columns, where, by, piece_bytes, categoricals, dates_as_object, at, storage_options
    )
    read = delayed(read_piece, pure=True)
    return [read(source, delayed(piece, traverse=False), names, text, form) for piece in pieces]


def read_bag(
    url: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    where: Where | None = None,
    *,
    by: str | Sequence[str] | None = None,
    piece_bytes: int | None = None,
    categoricals: Sequence[str] | None = None,
    dates_as_object: bool = True,
    at: Version | None = None,
    storage_options: Mapping[str, Any] | None = None,
    partition_size: int | None = None,
) -> Bag:
    """Read a table as a bag of pandas DataFrames, one for each file, partition or value.

    Parameters
    ----------
    url, columns, where, by, piece_bytes, categoricals, dates_as_object, at, storage_options
        As for `read_table`.
    partition_size : int, optional
        Frames in one partition of the bag; 1 if left out.

    Examples
    --------
    >>> import partita as pt
    >>> import partita.dask as ptd
    >>> data = {"y": [1, 2, 2], "v": [3, 4, 5]}
    >>> table = pt.create_table("memory://bag/t", data, partition_by="y")
    >>> ptd.read_bag(table.url, by="partition").map(len).compute(scheduler="threads")
    [1, 2]
    """
    import dask.bag

    source, names, text, form, pieces = _planned(
        url, columns, where, by, piece_bytes, categoricals, dates_as_object, at, storage_options
    )
    size = whole("partition_size", partition_size, 1) or 1
    return dask.bag.from_sequence(pieces, partition_size=size).map(
        read_in_bag, source=source, columns=names, where=text, form=form
    )


def read_in_bag(
    piece: Piece, source: Source, columns: Sequence[str] | None, where: str | None, form: Form
) -> Any:
    """One element of a bag."""
    return read_piece(source, piece, columns, where, form)


def write_delayed(
    frames: Sequence[Delayed],
    url: str | os.PathLike[str],
    *,
    compute: bool = True,
    **options: Any,
) -> Commit | Delayed:
    """Write what delayed objects give to a table, in one atomic commit.

    Parameters
    ----------
    frames : sequence of dask.delayed.Delayed
        Each gives rows in any form that `create_table` takes, a list of such, or None.
    url, compute, **options
        As for `write_table`, but for shuffling.

    Examples
    --------
    >>> import dask
    >>> import partita.dask as ptd
    >>> made = [dask.delayed(dict)(n=[n]) for n in range(3)]
    >>> ptd.write_delayed(made, "memory://delayed/written").rows_added
    3
    """
    return write(list(frames), Writer.to(url, **options), None, None, compute)


def write_bag(
    bag: Bag, url: str | os.PathLike[str], *, compute: bool = True, **options: Any
) -> Commit | Delayed:
    """Write a bag of frames to a table, in one atomic commit.

    The parameters are those of `write_delayed`.
    """
    gathered = [delayed(list)(part) for part in bag.to_delayed()]
    return write(gathered, Writer.to(url, **options), None, None, compute)


def _planned(
    url: str | os.PathLike[str],
    columns: Sequence[str] | None,
    where: Where | None,
    by: str | Sequence[str] | None,
    piece_bytes: int | None,
    categoricals: Sequence[str] | None,
    dates_as_object: bool,
    at: Version | None,
    storage_options: Mapping[str, Any] | None,
) -> tuple[Source, list[str] | None, str | None, Form, list[Piece]]:
    source, table = Source.find(url, at, storage_options)
    names = columns_of(columns)
    table.scan(names, where).schema  # noqa: B018
    text = None if where is None else str(Expr(predicate(where)))
    form = form_of(table, categoricals, dates_as_object, None)
    limit = whole("piece_bytes", piece_bytes, 1)
    return source, names, text, form, list(plan(source, text, by_of(by), None, limit).pieces)
