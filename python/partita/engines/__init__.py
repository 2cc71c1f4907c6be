"""Tables in other engines: Polars, DuckDB, and whatever reads pyarrow datasets.

An engine requests columns, and rows by a condition. The condition is translated into a predicate of
the scan as far as both select the same rows. If something is left, it is applied after the scan.
"""
