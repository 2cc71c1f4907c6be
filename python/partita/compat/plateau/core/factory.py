"""Datasets that are read when they are first asked for something."""

from __future__ import annotations

import copy
from typing import Any

from partita.compat.plateau.core.dataset import DatasetMetadata, DatasetMetadataBase
from partita.compat.plateau.core.utils import lazy_store

__all__ = ["DatasetFactory"]


class DatasetFactory(DatasetMetadataBase):
    """A dataset by name; its header is read once, when something of it is needed.

    It has all attributes of a `DatasetMetadata`, and may be pickled.

    Parameters
    ----------
    dataset_uuid : str
        The name of the dataset.
    store_factory
        The store.
    load_schema : bool, default True
        Read the schema with the header.
    load_all_indices : bool, default False
        Read all indices with the header.
    """

    def __init__(
        self,
        dataset_uuid: str,
        store_factory: Any,
        load_schema: bool = True,
        load_all_indices: bool = False,
    ) -> None:
        self._cache_metadata: DatasetMetadata | None = None
        self._cache_store: Any = None
        self.store_factory = lazy_store(store_factory)
        self.dataset_uuid = dataset_uuid
        self.load_schema = load_schema
        self.load_all_indices_flag = load_all_indices
        self.is_loaded = False

    def __repr__(self) -> str:
        return f"<DatasetFactory: uuid={self.dataset_uuid} is_loaded={self.is_loaded}>"

    @property
    def store(self) -> Any:
        """The store."""
        if self._cache_store is None:
            self._cache_store = self.store_factory()
        return self._cache_store

    @property
    def dataset_metadata(self) -> DatasetMetadata:
        """The dataset as its header described it when it was read."""
        if self._cache_metadata is None:
            self._cache_metadata = DatasetMetadata.load_from_store(
                self.dataset_uuid, self.store, self.load_schema, self.load_all_indices_flag
            )
        self.is_loaded = True
        return self._cache_metadata

    def invalidate(self) -> None:
        """Forget what was read."""
        self.is_loaded = False
        self._cache_metadata = None
        self._cache_store = None

    def load_index(self, column: str, store: Any = None) -> DatasetFactory:
        """Read an index."""
        self._cache_metadata = self.dataset_metadata.load_index(column, self.store)
        return self

    def load_all_indices(self, store: Any = None) -> DatasetFactory:
        """Read all indices."""
        self._cache_metadata = self.dataset_metadata.load_all_indices(self.store)
        return self

    def load_partition_indices(self) -> DatasetFactory:
        """Load the indices of the partition columns."""
        self._cache_metadata = self.dataset_metadata.load_partition_indices()
        return self

    def copy(self, **changed: Any) -> Any:
        """The dataset with some attributes changed."""
        return self.dataset_metadata.copy(**changed)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_cache"):
            raise AttributeError(name)
        return getattr(self.dataset_metadata, name)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "dataset_uuid": self.dataset_uuid,
            "store_factory": self.store_factory,
            "load_schema": self.load_schema,
            "load_all_indices": self.load_all_indices_flag,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __deepcopy__(self, memo: Any) -> DatasetFactory:
        made = DatasetFactory(**self.__getstate__())
        made._cache_metadata = copy.deepcopy(self._cache_metadata)
        return made


def ensure_factory(
    dataset_uuid: str | None, store: Any, factory: Any, load_schema: bool = True
) -> DatasetFactory:
    """The factory that was given, or one of a name and a store."""
    if factory is not None and store is None and dataset_uuid is None:
        given: DatasetFactory = factory
        return given
    if factory is None and store is not None and dataset_uuid is not None:
        return DatasetFactory(dataset_uuid, lazy_store(store), load_schema)
    raise ValueError("Need to supply either a `factory` or `dataset_uuid` and `store`")


_ensure_factory = ensure_factory
