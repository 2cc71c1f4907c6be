"""What notebooks show of datasets, reads and their history, as HTML.

Nothing comes from outside: style and pictures are part of what is shown. All text is escaped.
A store that cannot be reached is no error here. Only collections make a request, for the list of
their partitions.
"""

from partita._notebook.faces import (
    collection_html,
    explain_html,
    expression_html,
    history_html,
    index_html,
    scan_html,
    table_html,
)

__all__ = [
    "collection_html",
    "explain_html",
    "expression_html",
    "history_html",
    "index_html",
    "scan_html",
    "table_html",
]
