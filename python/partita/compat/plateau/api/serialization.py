"""Predicates, and frames as single objects in a store."""

from partita.compat.plateau.serialization import *  # noqa: F403
from partita.compat.plateau.serialization import __all__ as __all__
