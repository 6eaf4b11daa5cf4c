"""What is measured of a process: CPU, time, memory; and how busy the server was meanwhile.

What checking the images costs is taken off, so that it dilutes no ratio.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import socket
import time
from pathlib import Path
from typing import Final

from .answers import expect

_STATUS: Final = Path("/proc/self/status")
# Comparing less than this costs less than looking at the clocks.
_WORTH_TIMING: Final = 20_000
_MB: Final = 1e6


class Checker:
    """Compares images with what the server sent, byte for byte, and knows what that cost.

    Args:
        models: the answers that may come; what they hold is made now, not while something is measured.
    """

    def __init__(self, *models: str) -> None:
        self._expected: Final = {model: expect(model) for model in models}
        self.images = 0
        self.size_bytes = 0
        self.cpu = 0.0
        self.seconds = 0.0

    def check(self, model: str, content: bytes, number: int = 0) -> None:
        """Check one image.

        Raises:
            ValueError: it is another one.
        """
        expected = self._expected[model][number]
        if len(expected) < _WORTH_TIMING:
            is_same = content == expected
        else:
            began_at, cpu_at = time.perf_counter(), time.thread_time()
            is_same = content == expected
            self.seconds += time.perf_counter() - began_at
            self.cpu += time.thread_time() - cpu_at
        if not is_same:
            raise ValueError(f"{model}: image {number}, of {len(content)} bytes, is not what was sent")
        self.images += 1
        self.size_bytes += len(content)

    def expect_images(self, model: str, count: int) -> None:
        """Check that a stream had all its images.

        Raises:
            ValueError: it had not.
        """
        if count != len(self._expected[model]):
            raise ValueError(f"{model}: {count} images came, not {len(self._expected[model])}")


class PeakMemory:
    """The most memory a process has had since this was made, above what it had then."""

    def __init__(self) -> None:
        gc.collect()
        _give_back_freed_memory()
        # Not everywhere allowed: then an earlier peak hides smaller ones.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._before: Final = read_memory("VmRSS")

    def read_mb(self) -> float:
        """Give it in MB."""
        return (read_memory("VmHWM") - self._before) / _MB


def _give_back_freed_memory() -> None:
    """Have only what is in use counted: what a client's import has freed would hide as much of what comes later."""
    with contextlib.suppress(OSError, AttributeError):  # another libc than glibc
        ctypes.CDLL(None).malloc_trim(0)


def read_memory(name: str) -> int:
    """Give VmRSS or VmHWM in bytes; where there is no /proc, the peak of the process for both."""
    if not _STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} has no {name}")


class Server:
    """Asks the server about itself, on a connection of its own."""

    def __init__(self, port: int) -> None:
        self._socket: Final = socket.create_connection(("127.0.0.1", port))

    def read_cpu(self) -> float:
        """Give the seconds of CPU it has used so far."""
        return float(self._ask("/cpu"))

    def count_refused(self, model: str) -> int:
        """Give how many requests its limit refused."""
        return int(self._ask(f"/refused/{model}"))

    def _ask(self, path: str) -> bytes:
        self._socket.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        return self._socket.recv(1000).rpartition(b"\r\n\r\n")[2]


class Stopwatch:
    """CPU and time of what is between `start` and `stop`, without what the checks cost."""

    def __init__(self, checker: Checker, server: Server | None = None) -> None:
        self._checker: Final = checker
        self._server: Final = server
        self.cpu = 0.0
        self.seconds = 0.0
        self.server_busy = 0.0
        """The share of the time in which the server worked."""

    def start(self) -> None:
        """Start."""
        checker = self._checker
        checker.images = checker.size_bytes = 0
        checker.cpu = checker.seconds = 0.0
        self._server_cpu = 0.0 if self._server is None else self._server.read_cpu()
        self._began_at, self._cpu_at = time.perf_counter(), read_cpu()

    def stop(self) -> None:
        """Stop."""
        self.cpu = read_cpu() - self._cpu_at - self._checker.cpu
        self.seconds = time.perf_counter() - self._began_at - self._checker.seconds
        if self._server is not None:
            self.server_busy = (self._server.read_cpu() - self._server_cpu) / self.seconds


def read_cpu() -> float:
    """Give the seconds of CPU that all threads of this process have used, in user and kernel."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
