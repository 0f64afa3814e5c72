"""Worker processes that leave Ctrl-C to the command that started them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context


@contextmanager
def worker_pool(count: int | None = None) -> Iterator[Executor]:
    """Processes, one a core by default, with one thread each; on Ctrl-C what runs is finished first.

    A terminal sends Ctrl-C to every process it started. Workers are born deaf to it: else each would print
    a traceback and drop a run that is nearly done.
    """
    count = count or os.cpu_count() or 1
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"))
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # one process a core is faster than CAMB's own threads
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN) if _in_main_thread() else None
    try:
        for _ in range(count):
            pool.submit(os.getpid)  # a process is started with the first job for which none is idle
    finally:
        if heard is not None:
            signal.signal(signal.SIGINT, heard)
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
