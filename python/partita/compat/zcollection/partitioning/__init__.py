"""How datasets are partitioned."""

from partita.compat.zcollection.partitioning.abc import Partitioning
from partita.compat.zcollection.partitioning.date import Date
from partita.compat.zcollection.partitioning.registry import get_codecs, register_codec
from partita.compat.zcollection.partitioning.sequence import Sequence

register_codec(Date)
register_codec(Sequence)

__all__ = ["Date", "Partitioning", "Sequence", "get_codecs"]
