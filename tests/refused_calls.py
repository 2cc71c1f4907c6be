"""System calls that fail in a process as they do on other file systems and disks.

A seccomp filter answers them with an error, so this takes neither a mount nor root. It stays until
the process ends, and its children have it too.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["BARE_FILES", "CAN_REFUSE", "refuse", "refusing"]

_NUMBERS = {
    "x86_64": {
        "link": 86,
        "linkat": 265,
        "renameat2": 316,
        "fsync": 74,
        "fdatasync": 75,
        "syncfs": 306,
    },
    "aarch64": {"linkat": 37, "renameat2": 276, "fsync": 82, "fdatasync": 83, "syncfs": 267},
}.get(platform.machine(), {})

CAN_REFUSE = sys.platform.startswith("linux") and bool(_NUMBERS)

BARE_FILES = {"link": errno.EPERM, "linkat": errno.EPERM, "renameat2": errno.EINVAL}
"""A file system without hard links, and without renames that exchange or keep what is there."""

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_LOAD_NUMBER, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


def refuse(calls: Mapping[str, int]) -> None:
    """Lets these system calls fail with these errors in threads that this one starts from now
    on."""
    lines = [(_LOAD_NUMBER, 0, 0, 0)]
    for name, error in calls.items():
        # Some architectures have fewer calls.
        if name in _NUMBERS:
            lines += [(_IF_EQUAL, 0, 1, _NUMBERS[name]), (_RETURN, 0, 0, _ERROR | error)]
    lines.append((_RETURN, 0, 0, _ALLOW))
    instructions = (_Instruction * len(lines))(*(_Instruction(*line) for line in lines))
    program = _Program(len(lines), instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_NO_NEW_PRIVILEGES, 1, 0, 0, 0),
        (_SECCOMP, _FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "the filter of system calls was refused")


def refusing(pipe: Connection, calls: Mapping[str, int], job: Any, *arguments: Any) -> None:
    """A job of a process in which system calls fail."""
    refuse(calls)
    job(pipe, *arguments)
