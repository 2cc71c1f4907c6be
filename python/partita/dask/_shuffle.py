"""Bringing the rows of each partition key and bucket together before they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from partita._arguments import names, whole
from partita.dask._writer import Writer
from partita.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    import pandas as pd
    from dask.dataframe import DataFrame

__all__ = ["buckets_of", "shuffled"]

BUCKET = "__partita_bucket"
_PLACE = "__partita_place"


def shuffled(
    ddf: DataFrame, writer: Writer, buckets: int, bucket_by: str | Sequence[str] | None
) -> DataFrame:
    """`ddf` with all rows of a partition key and bucket in one partition, and with the bucket."""
    if writer.bucket is not None:
        raise InvalidArgument(
            "shuffle=True does not know the buckets of pt.Bucket; write without it, and optimize"
        )
    by = names("bucket_by", bucket_by)
    for name in [*by, *_keys(writer)]:
        if name not in ddf.columns:
            raise NotFound(
                f"there is no column {name!r} in the data; if it is derived from a date, say so by "
                "partition_by=pt.Date(...)",
                context={"column": name},
            )
    whole("buckets", buckets, 1)
    if not _keys(writer) and buckets == 1:
        raise InvalidArgument(
            "shuffle=True needs partition_by= or buckets=: it makes one file of each partition key "
            "and bucket"
        )
    keys, date = _keys(writer), writer.date
    meta = placed(ddf._meta, keys, date, buckets, by)
    with_place = ddf.map_partitions(placed, keys, date, buckets, by, meta=meta)
    together = with_place.shuffle(on=_PLACE, ignore_index=True)
    return together.drop(columns=[_PLACE])


def placed(
    frame: pd.DataFrame,
    keys: list[str],
    date: tuple[str, str] | None,
    buckets: int,
    by: list[str],
) -> pd.DataFrame:
    """The frame with the bucket of each row, if there are several, and a number that rows of one
    file share."""
    import numpy as np

    place = _hashed(_key_values(frame, keys, date)) if keys else np.zeros(len(frame), "uint64")
    if buckets == 1:
        return frame.assign(**{_PLACE: place.view("int64")})
    hashes = _hashed(frame[by] if by else frame)
    bucket = (hashes % np.uint64(buckets)).astype("int64")
    place = place * np.uint64(buckets) + bucket.astype("uint64")
    return frame.assign(**{BUCKET: bucket, _PLACE: place.view("int64")})


def buckets_of(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """The frame of each bucket, in order of the buckets."""
    rows = frame.drop(columns=[BUCKET])
    # By place: after a shuffle the labels of rows are not unique.
    places = frame.groupby(BUCKET).indices
    return [rows.iloc[places[bucket]] for bucket in sorted(places)]


def _keys(writer: Writer) -> list[str]:
    """The columns of the data that partition keys are made of."""
    if writer.date is None:
        return writer.partition_by
    column, resolution = writer.date
    from partita.partitioning import date_parts

    derived = date_parts(resolution)
    return [*[name for name in writer.partition_by if name not in derived], column]


def _key_values(frame: pd.DataFrame, keys: list[str], date: tuple[str, str] | None) -> pd.DataFrame:
    """The values that keys are made of: of a date, the parts that count."""
    import pandas as pd

    from partita.partitioning import date_parts

    values = frame[keys]
    if date is None:
        return values
    column, resolution = date
    moments = pd.to_datetime(values[column], utc=True)
    parts = {name: getattr(moments.dt, name) for name in date_parts(resolution)}
    return values.drop(columns=[column]).assign(**parts)


def _hashed(frame: pd.DataFrame) -> Any:
    """plateau's hash of the rows, so that its buckets and ours are the same."""
    import pandas as pd

    return pd.util.hash_pandas_object(frame, index=False).to_numpy()
