"""The interface that plateau promises to keep."""
