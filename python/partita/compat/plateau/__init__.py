"""The interface of plateau 4.6, over Partita.

A program written for plateau changes its imports: ``plateau`` becomes ``partita.compat.plateau``.
The datasets stay the same; docs/compat.md says what differs.
"""

__version__ = "4.6.2"
"""The version of plateau whose interface this is."""
