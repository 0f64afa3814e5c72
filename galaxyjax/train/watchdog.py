"""A rank that hangs takes the whole job with it, so somebody has to look at the clock."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time

HANGS = 124  # exit code, as of timeout(1)


class Watchdog:
    """Context manager that ends this process with a message when nothing has happened for too long.

    patience: seconds without a `beat`, enough for compilation, one validation or one checkpoint; 0 for no
    watchdog. rank, ranks: for the message.

    When one rank hangs, the others wait for it inside a collective, where no exception reaches them: each
    rank's own watchdog ends it (exit code 124), and the scheduler or launcher ends the rest.
    """

    def __init__(self, patience: float, rank: int = 0, ranks: int = 1):
        self.patience, self.rank, self.ranks = patience, rank, ranks
        self._last, self._doing = time.monotonic(), "starting"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="galaxyjax-watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self.beat("starting")
        if self.patience:
            self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._ended.set()
        if self.patience:
            faulthandler.cancel_dump_traceback_later()
            self._thread.join()

    def beat(self, doing: str) -> None:
        """Say that the run is alive, and what it does next, e.g. "step 17"."""
        self._last, self._doing = time.monotonic(), doing
        if self.patience and sys.__stderr__ is not None:
            # Should a call into XLA never give Python's lock back, this thread of C still ends the process.
            faulthandler.dump_traceback_later(1.5 * self.patience, exit=True, file=sys.__stderr__)

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self.patience / 10)):
            silent = time.monotonic() - self._last
            if silent > self.patience:
                print(
                    f"galaxyjax: rank {self.rank} of {self.ranks}: {self._doing} has not ended after "
                    f"{silent:.0f} s (limit {self.patience:g} s): a rank hangs or has gone; ending this one. "
                    "The same command goes on from the last checkpoint",
                    file=sys.stderr,
                    flush=True,
                )
                faulthandler.dump_traceback(file=sys.__stderr__)
                os._exit(HANGS)
