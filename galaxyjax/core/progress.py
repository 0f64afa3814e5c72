"""Progress with time left: a bar on a terminal, a plain line every few seconds in a log."""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator

_PATIENCE = 2.0  # seconds; what ends sooner needs no progress
_REFRESH = 0.25  # seconds between two looks at the clock on a terminal


class Progress:
    """Context manager that reports how far a job of `total` steps is and how long it will still take.

    total: number of steps, or None when unknown. unit: what one step is, e.g. "spectra". every: seconds
    between two lines when stderr is not a terminal. start: steps done before this run (a resumed job), left
    out of the rate. shown: False says nothing, where an outer job has its own. Everything goes to stderr, and
    only after 2 s; nothing at all with GALAXYJAX_QUIET=1.
    """

    def __init__(
        self, total: int | None, description: str, unit: str = "it", every: float = 10.0, start: int = 0,
        shown: bool = True,
    ):  # fmt: skip
        self.total, self.description, self.unit, self.every = total, description, unit, every
        self.done, self.metrics = start, {}
        self._start = start
        self._first: tuple[float, int] | None = None
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._shown, self._wanted = False, shown
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Progress":
        self._began = time.monotonic()
        if self._wanted and os.environ.get("GALAXYJAX_QUIET", "") in ("", "0"):
            # A thread, because the first step often compiles for longer than anyone waits in silence.
            self._thread = threading.Thread(target=self._watch, name="galaxyjax-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def advance(self, n: int = 1, **metrics: float | str) -> None:
        """Count `n` more steps and show `metrics` (name=value) beside them."""
        self.done += n
        self.metrics.update(metrics)
        if self._first is None:
            # The rate is counted from here, without the compilation before it.
            self._first = (time.monotonic(), self.done)

    def seconds_left(self) -> float | None:
        """Estimated seconds until `total`, or None while nothing is known."""
        if self.total is None or self._first is None:
            return None
        now, (then, first) = time.monotonic(), self._first
        if self.done > first:
            pace = (now - then) / (self.done - first)
        else:
            pace = (now - self._began) / max(self.done - self._start, 1)
        return max(self.total - self.done, 0) * pace

    def status(self) -> str:
        """Return e.g. "120/400 spectra, 1:10 so far, 2:30 left, loss 0.013"."""
        of = "" if self.total is None else f"/{self.total}"
        # A job of unknown length that counts nothing has only its clock.
        counted = self.total is not None or self.done > self._start
        parts = [f"{self.done}{of} {self.unit}"] if counted else []
        parts += [f"{_clock(time.monotonic() - self._began)} so far"]
        left = self.seconds_left()
        if left is not None:
            parts.append(f"{_clock(left)} left")
        parts += [f"{name} {_short(value)}" for name, value in dict(self.metrics).items()]
        return ", ".join(parts)

    def _watch(self) -> None:
        if self._ended.wait(_PATIENCE):
            return
        if sys.stderr.isatty():
            self._draw()
        else:
            self._log()

    def _log(self) -> None:
        while True:
            ended = self._ended.is_set()
            print(f"{self.description}: {self.status()}", file=sys.stderr, flush=True)
            if ended:
                return
            self._ended.wait(self.every)

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        words, status = TextColumn("{task.description}"), TextColumn("{task.fields[status]}")
        with Bar(
            words,
            BarColumn(bar_width=24),
            status,
            console=Console(stderr=True),
            refresh_per_second=1 / _REFRESH,
        ) as bar:
            task = bar.add_task(self.description, total=self.total, status=self.status())
            ended = False
            while not ended:
                ended = self._ended.wait(_REFRESH)
                bar.update(task, completed=self.done, status=self.status())


def track(iterable: Iterable, description: str, total: int | None = None, unit: str = "it") -> Iterator:
    """Yield the items of `iterable` and report progress; `total` defaults to its length when it has one."""
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)
    with Progress(total, description, unit=unit) as progress:
        for item in iterable:
            yield item
            progress.advance()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _short(value: object) -> str:
    try:
        return f"{float(value):.4g}"
    except (TypeError, ValueError):
        return str(value)
