"""Collections whose methods are awaited."""

from __future__ import annotations

from partita._steps import steps_of
from partita.aio._waiting import awaited, waited
from partita.collection import Collection, State

__all__ = ["AsyncCollection"]


class AsyncCollection:
    """An open collection whose methods are awaited; made by `open_collection`.

    The parameters and results are those of `Collection`. Arrays of Dask are not read or inserted
    here, since Dask computes in threads of its own.
    """

    def __init__(self, collection: Collection) -> None:
        self.blocking = collection
        """The same collection, whose methods block."""

    @property
    def url(self) -> str:
        """The URL."""
        return self.blocking.url

    @property
    def axis(self) -> str:
        """The variable along which the collection grows."""
        return self.blocking.axis

    @property
    def variables(self) -> list[str]:
        """The paths of the variables."""
        return self.blocking.variables

    read = awaited(Collection.read)
    insert = awaited(Collection.insert)
    append = insert
    update = awaited(Collection.update)
    drop_partitions = awaited(Collection.drop_partitions)
    stage = awaited(Collection.stage)
    commit = awaited(Collection.commit)

    async def refresh(self) -> AsyncCollection:
        """Look at what the collection is by now; reads and changes do so by themselves."""
        await waited(steps_of(Collection.refresh)(self.blocking))
        return self

    async def at(self, state: State) -> AsyncCollection:
        """The collection as an earlier commit left it, for reading; as `Collection.at`."""
        return AsyncCollection(await waited(steps_of(Collection.at)(self.blocking, state)))

    def __repr__(self) -> str:
        return f"AsyncCollection({self.blocking.url})"
