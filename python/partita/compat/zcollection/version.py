"""The release of ZCollection whose interface this is."""

__version__ = "2026.6.0"
