"""What importing a client costs, and a script that makes one request with it: each a whole process.

What a bare interpreter takes is in both figures: it is what a user's script takes too.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from typing import Final

from .answers import SMALL, make_image
from .clients import KINDS, Kind

_TIMES: Final = 2
# As short as they can be: what these scripts import themselves counts.
_BARE: Final = "pass"
_READY: Final = """
import {runner}, sys
from speed.clients.{module} import open_client

async def main():
    client = open_client(sys.argv[1], None)
    content = await client.generate(sys.argv[2])
    await client.aclose()
    return content

print({runner}.run(main()).hex())
"""
_TELL_PEAK: Final = """
with open("/proc/self/status") as file:
    print(next(line.split()[1] for line in file if line.startswith("VmHWM:")))
"""


def measure_start(client: str, base_url: str) -> dict[str, float]:
    """Measure both, and a bare interpreter; the median of a few runs each."""
    kind = KINDS[client]
    ready = _READY.format(runner="uvloop" if kind.is_on_uvloop else "asyncio", module=kind.module)
    measured: dict[str, float] = {}
    for name, script in (("bare", _BARE), ("import", kind.imports), ("ready", ready)):
        # The first writes bytecode where there is none. What takes seconds varies less.
        first, _ = _run(kind, script, base_url, is_asking=name == "ready")
        times = _TIMES if first < 1.0 else 1
        runs = [_run(kind, script, base_url, is_asking=name == "ready") for _ in range(times)]
        measured[f"{name}_cpu_ms"] = statistics.median(cpu for cpu, _ in runs) * 1e3
        measured[f"{name}_mb"] = statistics.median(peak for _, peak in runs) / 1e6
    return measured


def _run(kind: Kind, script: str, base_url: str, *, is_asking: bool) -> tuple[float, int]:
    """Run a script; give its CPU in seconds and its peak memory in bytes."""
    arguments = [sys.executable, "-c", script + _TELL_PEAK, base_url, SMALL]
    # Else litellm fetches a table of prices from the network when it is imported.
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said = process.stdout.read().split()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{kind.name}: a script ended with {process.returncode}")
    if is_asking and bytes.fromhex(said[0]) != make_image(1000):
        raise ValueError(f"{kind.name}: another image than the one that was sent")
    # Not ru_maxrss: a child's begins with what its parent had.
    return usage.ru_utime + usage.ru_stime, int(said[-1]) * 1024
