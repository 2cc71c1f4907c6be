"""Where a path in a file system of fsspec is, as a URL of Partita."""

from __future__ import annotations

import os
from typing import Any

import fsspec

__all__ = ["file_system", "located", "normalized"]

# What s3fs is given, and what the engine calls it.
_S3_OPTIONS = {
    "key": "aws_access_key_id",
    "secret": "aws_secret_access_key",
    "token": "aws_session_token",
    "endpoint_url": "aws_endpoint",
    "region_name": "aws_region",
}
_S3_IGNORED = {"asynchronous", "loop", "skip_instance_cache", "use_listings_cache", "use_ssl"}


def file_system(given: fsspec.AbstractFileSystem | str | None) -> fsspec.AbstractFileSystem:
    """A file system, given as one, by its protocol, or not at all for local files."""
    if given is None or isinstance(given, str):
        return fsspec.filesystem(given or "file")
    return given


def normalized(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """A path as a file system names it, without its protocol."""
    path = fs._strip_protocol(str(path)) or "/"
    return os.path.normpath(path) if _protocols(fs) & {"file", "memory"} else path


def located(fs: fsspec.AbstractFileSystem, path: str) -> tuple[str, dict[str, str]]:
    """The URL of a path, and the options of its store.

    Raises
    ------
    NotImplementedError
        If Partita has no store that is the same place.
    """
    protocols = _protocols(fs)
    if protocols & {"file", "local"}:
        return os.path.abspath(path), {}
    if "memory" in protocols:
        return f"memory://{path.strip('/') or 'root'}", {}
    if "s3" in protocols:
        return f"s3://{path}", _s3_options(fs)
    raise NotImplementedError(
        f"collections are kept in local files, in memory:// and in s3://, not in a file system of "
        f"class {type(fs).__name__}"
    )


def _protocols(fs: fsspec.AbstractFileSystem) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


def _s3_options(fs: fsspec.AbstractFileSystem) -> dict[str, str]:
    given: dict[str, Any] = dict(fs.storage_options)
    for name in ("client_kwargs", "config_kwargs"):
        nested = given.pop(name, None) or {}
        given.update(nested)
    options: dict[str, str] = {}
    if given.pop("anon", False):
        options["aws_skip_signature"] = "true"
    for name, value in given.items():
        if name in _S3_OPTIONS and value is not None:
            options[_S3_OPTIONS[name]] = str(value)
        elif name not in _S3_IGNORED and value is not None:
            raise NotImplementedError(
                f"the option {name!r} of the S3 file system has no counterpart; open the "
                "collection with partita.open_collection and its storage_options"
            )
    return options
