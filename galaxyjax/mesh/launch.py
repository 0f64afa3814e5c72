"""Several processes of one job on this machine, as a scheduler would start them on several."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import TextIO

from galaxyjax.core.errors import ConfigError

POLL = 0.1  # seconds


def launch(command: Sequence[str], processes: int, devices: int | None = None, grace: float = 30.0) -> int:
    """Run `command` once a process and return the exit code of the first that failed, else 0.

    Every process finds GALAXYJAX_COORDINATOR, GALAXYJAX_PROCESSES and GALAXYJAX_PROCESS_ID, which
    `mesh.topology.start` reads; its lines come out with its rank before them. All stay in this process group.
    SIGTERM and SIGINT are handed on to all as SIGTERM. When one fails the others are told to end, and killed
    after `grace` seconds: without it they would wait in a collective for ever.

    Args:
        devices: CPU devices of each process; None leaves the choice of platform and devices to JAX.

    Raises:
        ConfigError: processes or devices below 1.
    """
    for name, value in (("processes", processes), ("devices", 1 if devices is None else devices)):
        if value < 1:
            raise ConfigError(f"launch: {name} = {value} must be at least 1")
    coordinator = f"127.0.0.1:{free_port()}"
    children, pumps = [], []
    told: list[int] = []
    before = _forward(told) if threading.current_thread() is threading.main_thread() else {}
    try:
        for rank in range(processes):
            child = _start(command, _environment(rank, processes, coordinator, devices))
            children.append(child)
            for source, sink in ((child.stdout, sys.stdout), (child.stderr, sys.stderr)):
                pumps.append(threading.Thread(target=_pump, args=(source, sink, rank), daemon=True))
                pumps[-1].start()
        return _wait(children, told, grace)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.wait()
        for pump in pumps:
            pump.join(timeout=grace)
        for number, handler in before.items():
            signal.signal(number, handler)


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment(rank: int, processes: int, coordinator: str, devices: int | None) -> dict[str, str]:
    environment = os.environ | {
        "GALAXYJAX_COORDINATOR": coordinator,
        "GALAXYJAX_PROCESSES": str(processes),
        "GALAXYJAX_PROCESS_ID": str(rank),
        "PYTHONUNBUFFERED": "1",
    }
    if devices is not None:
        environment |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    return environment


def _start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
        errors="replace",
    )


def _forward(told: list[int]) -> dict[int, object]:
    """Collect signals in `told` instead of dying of them; returns the handlers there were."""
    note = lambda number, frame: told.append(number)  # noqa: E731
    return {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}


def _wait(children: list[subprocess.Popen], told: list[int], grace: float) -> int:
    """Exit code of the first child that failed, once all have ended."""
    passed_on, first, deadline = 0, None, math.inf
    while True:
        codes = [child.poll() for child in children]
        failed = [rank for rank, code in enumerate(codes) if code]
        if failed and first is None:
            first, deadline = codes[failed[0]], time.monotonic() + grace
            if not told:
                fate = f"rank {failed[0]} {_fate(first)}"
                print(f"galaxyjax: {fate}; ending the others", file=sys.stderr, flush=True)
            _signal(children, signal.SIGTERM)
        if None not in codes:
            return 0 if first is None else first if first > 0 else 128 - first
        if len(told) > passed_on:
            passed_on = len(told)
            _signal(children, signal.SIGTERM)
        if time.monotonic() > deadline:
            _signal(children, signal.SIGKILL)
        time.sleep(POLL)


def _signal(children: list[subprocess.Popen], number: int) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(number)


def _fate(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _pump(source: TextIO, sink: TextIO, rank: int) -> None:
    """Copy lines with the rank before each; one write a line, so that ranks do not mix within one."""
    for line in source:
        sink.write(f"[{rank}] {line}" if line.endswith("\n") else f"[{rank}] {line}\n")
        sink.flush()
