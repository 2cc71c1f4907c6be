"""Categories out of indices."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import pandas as pd

_MANY = 100_000


def categories_of_indices(dataset: Any, categoricals: Sequence[str] | None) -> dict[str, Any]:
    """For columns with an index, the categories that it knows."""
    kinds = {}
    for column in categoricals or ():
        if column not in dataset.index_columns or column not in dataset.indices:
            continue
        values = dataset.load_index(column).indices[column].observed_values()
        if len(values) > _MANY:
            warnings.warn(
                f"Column {column} has {len(values)} distinct values, reading as categorical may "
                "increase memory consumption.",
                stacklevel=3,
            )
        kinds[column] = pd.CategoricalDtype(values, ordered=False)
    return kinds


def with_categories(frame: pd.DataFrame, kinds: dict[str, Any]) -> pd.DataFrame:
    """A frame whose columns have these categories."""
    return frame.astype({name: kind for name, kind in kinds.items() if name in frame})
