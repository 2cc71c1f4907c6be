"""Views: variables of one's own, laid over a collection that is not changed."""

from partita.compat.zcollection.collection.callable_objects import MapCallable, PartitionCallable
from partita.compat.zcollection.view.reference import ViewReference
from partita.compat.zcollection.view.view import View, ViewUpdateCallable

__all__ = ["MapCallable", "PartitionCallable", "View", "ViewReference", "ViewUpdateCallable"]
