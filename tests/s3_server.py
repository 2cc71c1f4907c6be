"""The small S3 server of the tests, as a context manager."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PROGRAM", "s3_server"]

PROGRAM = Path(__file__).parents[1] / "target" / "debug" / "partita-s3-server"


@contextmanager
def s3_server(root: Path, *faults: str) -> Iterator[dict[str, str]]:
    """Runs a server that stores its objects below `root`; yields the storage options for it.

    The bucket is ``test``. `faults` are those of the program: ``busy:N``, ``lost:N``, …
    """
    command = [str(PROGRAM), "--root", str(root)]
    for fault in faults:
        command += ["--fault", fault]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        endpoint = server.stdout.readline().strip()
        assert endpoint.startswith("http://"), f"the server did not start: {endpoint!r}"
        yield {
            "endpoint_url": endpoint,
            "access_key_id": "partita",
            "secret_access_key": "partita-secret",
            "region": "us-east-1",
        }
    finally:
        # The server ends when its standard input does.
        server.stdin.close()
        server.wait(timeout=30)
        server.stdout.close()
