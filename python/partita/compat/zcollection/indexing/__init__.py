"""Finding rows of a collection by what an index says of them."""

from partita.compat.zcollection.indexing.abc import Indexer, QueryDict, Scalar

__all__ = ["Indexer", "QueryDict", "Scalar"]
