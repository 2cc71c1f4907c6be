"""Datasets as collections of dask, and dask's graphs that write them."""
