"""An in-memory server of Google's XML API whose responses a test controls, as in `scripted_s3`.

It shows that requests have the form that Google documents, and not what Google's servers do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scripted_s3 import Handler, ScriptedS3, Stored, serving

__all__ = ["ScriptedGcs", "scripted_gcs"]


class ScriptedGcs(ScriptedS3):
    """The server; the bucket is ``test``."""

    def options(self, client: str = "partita") -> dict[str, str]:
        """The storage options of a client with this name."""
        return {
            "google_base_url": f"http://127.0.0.1:{self.port}",
            "bearer_token": client,
            "allow_http": "true",
        }


class _Handler(Handler):
    credential = "Bearer (.+)"
    copy_source = "x-goog-copy-source"

    def is_conditional(self) -> bool:
        return "x-goog-if-generation-match" in self.headers

    def refusal(self, current: Stored | None) -> int | None:
        expected = self.headers.get("x-goog-if-generation-match")
        found = current.generation if current else 0
        return 412 if expected is not None and int(expected) != found else None

    def version(self, stored: Stored) -> dict[str, str]:
        return {**super().version(stored), "x-goog-generation": str(stored.generation)}


@contextmanager
def scripted_gcs() -> Iterator[ScriptedGcs]:
    """Runs a server in threads of this process, on its own port."""
    with serving(ScriptedGcs, _Handler) as server:
        yield server
