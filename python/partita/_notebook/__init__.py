"""The HTML that notebooks show for datasets, reads, histories and results.

The HTML loads nothing from elsewhere: style and pictures are part of it. All text is escaped. A
store that cannot be reached is not an error here. Only collections make requests, to list their
partitions.
"""

from partita._notebook.faces import (
    collection_html,
    explain_html,
    expression_html,
    garbage_html,
    history_html,
    index_html,
    record_html,
    scan_html,
    table_html,
)

__all__ = [
    "collection_html",
    "explain_html",
    "expression_html",
    "garbage_html",
    "history_html",
    "index_html",
    "record_html",
    "scan_html",
    "table_html",
]
