"""The options of an import, checked before anything is read or made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from partita._arguments import whole
from partita.collection import Collection
from partita.errors import InvalidArgument
from partita.importing._creation import Combine
from partita.partitioning import (
    Partitioning,
    date_parts,
    partitioning_arguments,
    partitioning_of,
)

__all__ = ["check_existing", "check_options", "partitioning"]

_STRATEGIES = (None, "replace", "concat", "time_series", "upsert")
_COMBINATIONS = ("override", "drop", "identical", "no_conflicts", "drop_conflicts")


def check_options(
    merge: Any,
    batch: Any,
    workers: Any,
    chunks: Mapping[str, Any] | None,
    zarr_format: Any,
    fill: Any,
    combine_attrs: Combine,
    on_error: Any,
) -> None:
    """Refuse values that an option does not take."""
    for name, value, known in (
        ("merge", merge, _STRATEGIES),
        ("combine_attrs", combine_attrs, _COMBINATIONS),
        ("on_error", on_error, ("raise", "skip")),
        ("zarr_format", zarr_format, (None, 2, 3)),
    ):
        if not (value in known or (name == "combine_attrs" and callable(value))):
            words = ", ".join(map(repr, known))
            raise InvalidArgument(f"{name}= takes one of {words}, not {value!r}")
    whole("batch", batch, 1)
    whole("workers", workers, 0)
    for name, given in (("chunks", chunks), ("fill", fill)):
        if not (given is None or isinstance(given, Mapping)):
            raise InvalidArgument(f"{name}= is a mapping of names to values, not {given!r}")
    for name, size in (chunks or {}).items():
        if size in ("whole", "auto"):
            continue
        if isinstance(size, str):
            raise InvalidArgument(
                f"the chunks of {name} are a number of items, 'whole' or 'auto', not {size!r}"
            )
        whole(f"the number of items in a chunk of {name}", size, 1)


def partitioning(partition_by: Any, axis: str) -> Partitioning | None:
    """How a new collection is partitioned; a resolution means the date of the axis."""
    if partition_by is None:
        return None
    if not isinstance(partition_by, str):
        return partitioning_of(partitioning_arguments(partition_by))
    try:
        resolution = date_parts(partition_by)[-1]
    except InvalidArgument:
        raise InvalidArgument(
            f"partition_by={partition_by!r} is no part of a date (year, month, day, hour, minute, "
            f"second); pt.Sequence([{partition_by!r}]) means the values of an integer variable"
        ) from None
    return partitioning_of({"kind": "date", "variables": [axis], "resolution": resolution})


def check_existing(
    collection: Collection,
    axis: str | None,
    by: Partitioning | None,
    chunks: Mapping[str, Any] | None,
    zarr_format: int | None,
) -> None:
    """Refuse options of a new collection that differ from what the existing one is."""
    for name, given, own in (
        ("axis", axis, collection.axis),
        ("partition_by", by, collection.partition_by),
        ("zarr_format", zarr_format, collection.zarr_format),
    ):
        if given is not None and given != own:
            raise _differs(f"{name}={given!r}", own)
    known = _chunks(collection._native.schema().to_dict())
    for name, size in (chunks or {}).items():
        if name not in known:
            raise InvalidArgument(
                f"chunks= names {name!r}, which is no dimension of the collection: it has "
                f"{', '.join(sorted(known))}"
            )
        if isinstance(size, int) and isinstance(known[name], int) and size != known[name]:
            raise _differs(f"chunks={{{name!r}: {size}}}", known[name])


def _differs(given: str, own: Any) -> InvalidArgument:
    return InvalidArgument(
        f"{given} is for a new collection, and this one has {own!r}: leave the option out"
    )


def _chunks(group: Mapping[str, Any]) -> dict[str, Any]:
    """How the dimensions of a schema are cut, those of its groups too."""
    found = {one["name"]: one["chunks"] for one in group["dimensions"]}
    for below in group["groups"].values():
        found = {**_chunks(below), **found}
    return found
