import io
import re
import sys

import pytest

from galaxyjax.core import progress as module
from galaxyjax.core.progress import Progress, track


@pytest.fixture
def loud(monkeypatch):
    """Show progress at once, into a stderr that is no terminal."""
    monkeypatch.setenv("GALAXYJAX_QUIET", "0")
    monkeypatch.setattr(module, "_PATIENCE", 0.0)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_time_left_leaves_out_the_compilation(clock):
    progress = Progress(101, "training")
    clock[0] += 60.0  # the first step compiles for a minute
    progress.advance()
    for _ in range(50):
        clock[0] += 0.5
        progress.advance()
    assert progress.seconds_left() == pytest.approx(25.0)
    assert progress.status() == "51/101 it, 1:25 so far, 0:25 left"


def test_a_resumed_job_counts_only_its_own_steps(clock):
    progress = Progress(1000, "truth", unit="runs", start=900)
    clock[0] += 10.0
    progress.advance(10)
    assert progress.seconds_left() == pytest.approx(90.0)
    assert progress.status().startswith("910/1000 runs")


def test_an_unknown_total_has_no_time_left(clock):
    progress = Progress(None, "reading")
    clock[0] += 3.0
    progress.advance(5, loss=0.0131313, state="warm")
    assert progress.seconds_left() is None
    assert progress.status() == "5 it, 0:03 so far, loss 0.01313, state warm"


def test_a_log_gets_plain_lines_with_the_end(loud, capsys):
    with Progress(3, "sampling", unit="draws", every=0.01) as progress:
        for _ in range(3):
            progress.advance(rhat=1.5)
    lines = capsys.readouterr().err.splitlines()
    pattern = r"sampling: \d/3 draws, 0:00 so far(, 0:00 left)?(, rhat 1.5)?"
    assert lines and all(re.fullmatch(pattern, line) for line in lines)
    assert lines[-1].startswith("sampling: 3/3 draws")


def test_a_terminal_gets_a_bar_that_ends_full(loud, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    with Progress(3, "sampling", unit="draws") as progress:
        for _ in range(3):
            progress.advance(rhat=1.5)
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()).strip().splitlines()[-1]
    assert re.fullmatch(r"sampling \S{24} 3/3 draws, 0:00 so far, 0:00 left, rhat 1.5\s*", last)


def test_what_is_quick_or_quiet_says_nothing(monkeypatch, capsys):
    monkeypatch.setenv("GALAXYJAX_QUIET", "0")
    assert list(track(range(5), "quick")) == [0, 1, 2, 3, 4]
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    monkeypatch.setenv("GALAXYJAX_QUIET", "1")
    assert sum(track(iter([1, 2]), "quiet")) == 3
    assert capsys.readouterr().err == ""


def test_an_error_inside_is_not_swallowed(loud, capsys):
    with pytest.raises(RuntimeError, match="inside"), Progress(3, "failing") as progress:
        progress.advance()
        raise RuntimeError("inside")
    assert progress._thread is not None and not progress._thread.is_alive()
    assert capsys.readouterr().err.splitlines()[-1].startswith("failing: 1/3 it")
