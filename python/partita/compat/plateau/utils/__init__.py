"""Copies between stores, and frames."""
