"""pandas out of Arrow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from partita._arrow import optional, pyarrow
from partita.errors import NotFound

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["to_pandas"]


def to_pandas(
    table: pa.Table,
    categoricals: Sequence[str] | None = None,
    dates_as_object: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """The frame of a table, with the pandas types that its schema remembers.

    A stored table has no index: rows are numbered from zero, whatever index the frames had that
    went in.
    """
    pyarrow("reading into pandas")
    optional("pandas", "reading into pandas")
    plain = table.replace_schema_metadata(_without_index(table.schema))
    for name in categoricals or ():
        if name not in plain.column_names:
            raise NotFound(f"there is no column {name!r} to return as categories")
    frame: pd.DataFrame = plain.to_pandas(
        categories=list(categoricals or ()), date_as_object=dates_as_object, **options
    )
    return frame


def _without_index(schema: pa.Schema) -> dict[bytes, bytes]:
    metadata = dict(schema.metadata or {})
    try:
        remembered = json.loads(metadata[b"pandas"])
        names = set(schema.names)
        remembered["index_columns"] = []
        remembered["column_indexes"] = []
        remembered["columns"] = [c for c in remembered["columns"] if c.get("name") in names]
    except (KeyError, ValueError, TypeError, AttributeError):
        # Another writer's idea of this key must not make the data unreadable.
        metadata.pop(b"pandas", None)
        return metadata
    metadata[b"pandas"] = json.dumps(remembered).encode()
    return metadata
