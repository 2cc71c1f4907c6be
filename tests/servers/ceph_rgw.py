#!/usr/bin/env python3
"""Run a Ceph RADOS Gateway on loopback for tests: an S3 server that nobody here wrote.

    ceph_rgw.py [--install] [--state DIR] [--bucket NAME]

Starts one monitor, one object daemon that keeps everything in memory, and the gateway, on free
ports of 127.0.0.1. When the gateway answers, prints one line of JSON to standard output:

    {"endpoint": "http://127.0.0.1:…", "access_key": …, "secret_key": …, "bucket": …}

and serves until standard input closes; then ends its processes, by their process ids, and removes
the state directory if it made it. Nothing but Python's standard library is needed, and Debian's
packages ceph-mon, ceph-osd, ceph-base and radosgw, which `--install` installs if run as root.

Exit codes: 0 served and stopped; 3 the gateway is not installed (and could not be installed);
4 it is installed but did not start; 2 wrong arguments.
"""

import argparse
import hashlib
import hmac
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

ACCESS_KEY = "partitatest"
SECRET_KEY = "partitatestsecret"
PACKAGES = ["ceph-mon", "ceph-osd", "ceph-base", "radosgw"]
PROGRAMS = ["monmaptool", "ceph-mon", "ceph", "ceph-osd", "radosgw-admin", "radosgw"]
NOT_INSTALLED = 3
NOT_STARTED = 4
START_TIMEOUT = 180
ATTEMPTS = 3


class Unavailable(Exception):
    """The gateway cannot be had here; carries the exit code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def say(message):
    print(f"ceph_rgw: {message}", file=sys.stderr, flush=True)


def missing_programs():
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


def install():
    """Install the packages, or say why not."""
    if os.geteuid() != 0:
        raise Unavailable(NOT_INSTALLED, "installing Ceph needs root: " + " ".join(PACKAGES))
    if shutil.which("apt-get") is None:
        raise Unavailable(NOT_INSTALLED, "there is no apt-get here to install Ceph with")
    say("installing " + " ".join(PACKAGES) + " (390 MB, about a minute)")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES],
    ):
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
            raise Unavailable(NOT_INSTALLED, f"{' '.join(command[:2])} failed:\n{tail}")


def free_ports(count):
    """Distinct free ports below those that systems give to clients: another test's connection
    could take one of these before a daemon listens on it."""
    found = []
    for port in random.sample(range(15_000, 32_000), 1000):
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise Unavailable(NOT_STARTED, "no free port was found")


def configuration(state, fsid, monitor_port, gateway_port):
    # The gateway talks to the monitor in secure mode by default, which needs authentication. A
    # monitor ends by default where less than a twentieth of the disk is free.
    return f"""
[global]
fsid = {fsid}
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
mon host = 127.0.0.1:{monitor_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = {state}
admin socket = {state}/$name.asok
pid file = {state}/$name.pid
log file = {state}/$name.log
mon cluster log file = {state}/cluster.log
crash dir = {state}/crash
keyring = {state}/keyring
osd objectstore = memstore
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail crit = 0
mon data avail warn = 0
osd pool default pg num = 4
osd pool default pg autoscale mode = off
mon max pg per osd = 1000
osd crush chooseleaf type = 0

[mon.a]
mon data = {state}/mon

[osd.0]
osd data = {state}/osd

[client.rgw.a]
rgw data = {state}/rgw
rgw frontends = beast endpoint=127.0.0.1:{gateway_port} tcp_nodelay=1
rgw run sync thread = false
rgw override bucket index max shards = 1
""".lstrip()


class Cluster:
    """One monitor, one object daemon and one gateway below a state directory."""

    def __init__(self, state):
        self.state = state
        self.daemons = []
        self.environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
        self.environment["CEPH_CONF"] = str(state / "ceph.conf")
        self.monitor_port, self.gateway_port = free_ports(2)

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.gateway_port}"

    def run(self, *command, timeout=60):
        """Run a program of Ceph to its end, if the daemons that it may wait for live."""
        until = time.monotonic() + timeout
        with subprocess.Popen(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                while True:
                    try:
                        _, errors = process.communicate(timeout=0.5)
                        break
                    except subprocess.TimeoutExpired:
                        self.check_alive()
                    if time.monotonic() > until:
                        message = f"{' '.join(command)} did not end in {timeout} s"
                        raise Unavailable(NOT_STARTED, message)
            finally:
                process.kill()
        if process.returncode != 0:
            tail = "\n".join(errors.strip().splitlines()[-8:])
            raise Unavailable(NOT_STARTED, f"{' '.join(command)} failed:\n{tail}")

    def spawn(self, *command):
        """Start a daemon in the foreground, so that it is a child whose process id is known."""
        with open(self.state / f"{command[0]}.out", "wb") as output:
            daemon = subprocess.Popen(
                [*command, "-f"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.daemons.append(daemon)

    def start(self):
        state, fsid, osd = self.state, str(uuid.uuid4()), str(uuid.uuid4())
        for name in ("mon", "osd", "rgw", "crash"):
            (state / name).mkdir(parents=True, exist_ok=True)
        (state / "keyring").touch()
        (state / "ceph.conf").write_text(
            configuration(state, fsid, self.monitor_port, self.gateway_port)
        )
        monmap = str(state / "monmap")
        address = f"127.0.0.1:{self.monitor_port}"
        self.run("monmaptool", "--create", "--add", "a", address, "--fsid", fsid, monmap)
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self.spawn("ceph-mon", "-i", "a")
        self.run("ceph", "osd", "new", osd, "0", timeout=60)
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.spawn("ceph-osd", "-i", "0")
        self.run(
            "radosgw-admin",
            "user",
            "create",
            "--uid=test",
            "--display-name=test",
            f"--access-key={ACCESS_KEY}",
            f"--secret-key={SECRET_KEY}",
            timeout=120,
        )
        self.spawn("radosgw", "-n", "client.rgw.a")
        self.wait_for_gateway()

    def wait_for_gateway(self):
        until = time.monotonic() + START_TIMEOUT
        while time.monotonic() < until:
            self.check_alive()
            try:
                urllib.request.urlopen(self.endpoint, timeout=5).close()
                return
            except urllib.error.HTTPError:
                return  # It answers.
            except OSError:
                time.sleep(0.1)
        raise Unavailable(NOT_STARTED, f"the gateway did not answer in {START_TIMEOUT} s")

    def check_alive(self):
        for daemon in self.daemons:
            if daemon.poll() is not None:
                name = Path(daemon.args[0]).name
                output = (self.state / f"{name}.out").read_text(errors="replace")
                tail = "\n".join(output.strip().splitlines()[-8:])
                raise Unavailable(NOT_STARTED, f"{name} ended with {daemon.returncode}:\n{tail}")

    def create_bucket(self, bucket):
        """Make a bucket by a signed PUT; the first requests create pools and may fail."""
        until = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(signed_put(self.endpoint, bucket), timeout=60).close()
                return
            except OSError as error:
                if time.monotonic() > until:
                    raise Unavailable(NOT_STARTED, f"no bucket can be made: {error}") from None
                time.sleep(0.3)

    def stop(self):
        """End the daemons that were started here, the last first."""
        for daemon in reversed(self.daemons):
            if daemon.poll() is None:
                daemon.terminate()
        for daemon in reversed(self.daemons):
            try:
                daemon.wait(timeout=5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def signed_put(endpoint, bucket):
    """A PUT of a bucket, signed with AWS Signature Version 4."""
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    day, region = now[:8], "us-east-1"
    host = endpoint.removeprefix("http://")
    empty = hashlib.sha256(b"").hexdigest()
    headers = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": now}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"PUT\n/{bucket}\n\n{lines}\n{names}\n{empty}"
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    return urllib.request.Request(f"{endpoint}/{bucket}", method="PUT", headers=headers)


def serve(cluster):
    """Wait until standard input closes or a daemon dies."""
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], 1.0)
        if ready and not os.read(sys.stdin.fileno(), 4096):
            return
        cluster.check_alive()


@contextmanager
def started(options):
    """A cluster that answers. A daemon may lose its port to another process before it listens, so
    a start that fails is tried again, from nothing and on other ports."""
    for attempt in range(1, ATTEMPTS + 1):
        # Sockets below the state have paths of at most 107 bytes.
        state = options.state or Path(tempfile.mkdtemp(prefix="rgw-", dir="/tmp"))
        cluster = Cluster((state / f"attempt-{attempt}").absolute())
        try:
            try:
                cluster.start()
                cluster.create_bucket(options.bucket)
            except Unavailable as error:
                if attempt == ATTEMPTS:
                    raise
                say(f"{error}; starting again")
                continue
            yield cluster
            return
        finally:
            cluster.stop()
            if options.state is None:
                shutil.rmtree(state, ignore_errors=True)


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--install", action="store_true", help="install Ceph if it is missing")
    parser.add_argument("--state", type=Path, help="where state is kept (default: temporary)")
    parser.add_argument("--bucket", default="test", help="the bucket to make (default: test)")
    return parser.parse_args()


def main():
    options = arguments()
    # A signal ends the daemons, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        if missing_programs() and options.install:
            install()
        if missing := missing_programs():
            raise Unavailable(
                NOT_INSTALLED,
                f"the Ceph gateway is not installed (missing: {', '.join(missing)}); "
                "run as root with --install",
            )
        with started(options) as cluster:
            ready = {
                "endpoint": cluster.endpoint,
                "access_key": ACCESS_KEY,
                "secret_key": SECRET_KEY,
                "bucket": options.bucket,
            }
            print(json.dumps(ready), flush=True)
            serve(cluster)
    except Unavailable as error:
        say(str(error))
        return error.code
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
