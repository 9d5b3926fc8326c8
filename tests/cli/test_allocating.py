"""The command's threads share few arenas, so that little memory is kept back; a caller's process is left alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_COUNTED = """
import ctypes, sys, threading
libc = ctypes.CDLL(None)
if not hasattr(libc, "malloc_info"):
    print("no arenas"); sys.exit()
{first}
libc.malloc.restype = ctypes.c_void_p
gate = threading.Barrier(8)
def use():
    gate.wait()
    for _ in range(2_000):
        libc.malloc(1_000)
threads = [threading.Thread(target=use) for _ in range(8)]
[one.start() for one in threads]; [one.join() for one in threads]
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
out = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, out); libc.fclose(out)
"""
_SHARE = "from holdfast.cli.allocating import share_arenas; share_arenas()"


def arenas(first: str, **environment: str) -> int:
    """How many arenas eight busy threads have."""
    kept = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    told = subprocess.run(
        [sys.executable, "-c", _COUNTED.format(first=first)],
        env=kept | environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    if "no arenas" in told:
        pytest.skip("this C library has no arenas")
    return told.count("<heap ")


def test_threads_of_a_command_share_two_arenas() -> None:
    assert arenas(_SHARE) <= 2


def test_what_the_environment_asks_for_comes_first() -> None:
    assert arenas(_SHARE, MALLOC_ARENA_MAX="1") == 1


def test_the_library_leaves_the_process_as_it_is() -> None:
    opened = "import holdfast; holdfast.memory().put('a', b'content')"
    assert arenas(opened) == arenas("") > 2
