"""Ctrl-C: once to stop in good order, twice to stop at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CODE = 130


@contextmanager
def patient_interrupts() -> Iterator[None]:
    """Within: the first Ctrl-C raises KeyboardInterrupt and says so, the second ends process and workers.

    Stopping in good order can take a while (a compilation, a CAMB run), and nobody should have to guess if
    the key was heard. Outside the main thread, where Python allows no handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = []

    def handle(number, frame):
        if pressed:
            for worker in multiprocessing.active_children():
                worker.terminate()
            print("\ngalaxyjax: stopped at once", file=sys.stderr, flush=True)
            os._exit(CODE)
        pressed.append(number)
        print("\nstopping in good order; Ctrl-C again stops at once", file=sys.stderr, flush=True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
