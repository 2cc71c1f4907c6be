"""Where the engine finds a path in a file system of fsspec.

Local files and S3 have a URL that the engine opens itself. All others are asked through Python,
with the promise that nobody else writes, which ZCollection makes as well.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import fsspec

from partita.stores import connection

__all__ = ["Location", "file_system", "located", "normalized"]

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


@dataclass(frozen=True)
class Location:
    """Where a collection is, as the engine opens it."""

    path: str
    arguments: dict[str, Any]
    """How to open it, beside its path."""

    @property
    def single_writer(self) -> bool:
        """Whether the store knows of one writer alone."""
        return "filesystem" in self.arguments

    def connected(self) -> tuple[str, dict[str, Any]]:
        """The URL and the options, in the engine's form."""
        given = self.arguments
        return connection(self.path, given.get("storage_options"), given.get("filesystem"))


def located(fs: fsspec.AbstractFileSystem, path: str) -> Location:
    """Where a path in a file system is."""
    protocols = _protocols(fs)
    if protocols & {"file", "local"}:
        return Location(os.path.abspath(path), {})
    options = _s3_options(fs) if "s3" in protocols else None
    if options is not None:
        return Location(f"s3://{path}", {"storage_options": options})
    return Location(path, {"filesystem": fs, "single_writer": True})


def _protocols(fs: fsspec.AbstractFileSystem) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


def _s3_options(fs: fsspec.AbstractFileSystem) -> dict[str, str] | None:
    """The engine's form of the options of s3fs; None if one of them has none."""
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
            return None
    return options
