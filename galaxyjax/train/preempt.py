"""Stopping when told to: every process saves at the same step, and the run goes on later."""

from __future__ import annotations

import os
import signal
import sys
import threading

import jax
from jax.experimental import multihost_utils

TOLD_TO_STOP = 143  # exit code, what a shell reports for SIGTERM


class Preemption:
    """Context manager that asks after each step whether the run has been told to stop.

    One process catches SIGTERM itself. With several, the signal may reach any one of them: JAX's coordinator
    then picks a step that none has passed yet, and all of them learn of it there. Ctrl-C counts as SIGTERM,
    for everybody; pressed twice it ends this process at once, without saving.
    """

    def __init__(self):
        self.several = jax.distributed.is_initialized()
        self.interrupted = False  # by Ctrl-C, here
        self._told = threading.Event()
        self._before: dict[int, object] = {}

    def __enter__(self) -> Preemption:
        # Python allows handlers in the main thread only; elsewhere the caller decides about signals.
        if threading.current_thread() is threading.main_thread():
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)
            if not self.several:  # else JAX's own handler must stay
                self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda *_: self._told.set())
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reached(self, step: int) -> bool:
        """Whether this is the step at which all save and stop; ask at every step, in every process."""
        if self.several:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._told.is_set()

    def _interrupt(self, number, frame) -> None:
        if self.interrupted:
            print("\ngalaxyjax: stopped at once", file=sys.stderr, flush=True)
            os._exit(130)
        self.interrupted = True
        print("\nsaving and stopping; Ctrl-C again stops at once", file=sys.stderr, flush=True)
        if self.several:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._told.set()
