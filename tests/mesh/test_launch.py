"""The launcher: real processes, their addresses, their output, their end."""

import os
import signal
import subprocess
import sys
import time

import pytest

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.launch import launch

LAUNCH = "from galaxyjax.mesh.launch import launch; import sys; sys.exit(launch(sys.argv[1:], 2, grace=1.0))"


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_each_process_knows_its_place_and_its_lines_say_which_it_is(capsys):
    names = ("COORDINATOR", "PROCESSES", "PROCESS_ID")
    names = [*(f"GALAXYJAX_{name}" for name in names), "JAX_NUM_CPU_DEVICES"]
    show = f"import os; print(*(os.environ[name] for name in {names}))"
    assert launch(python(show), 3, devices=4) == 0
    lines = sorted(capsys.readouterr().out.splitlines())
    addresses = {line.split()[1] for line in lines}
    assert len(addresses) == 1 and addresses.pop().startswith("127.0.0.1:")
    assert [line.split()[0] for line in lines] == ["[0]", "[1]", "[2]"]
    assert [line.split()[2:] for line in lines] == [["3", "0", "4"], ["3", "1", "4"], ["3", "2", "4"]]


def test_when_one_fails_all_end_with_its_code(capsys):
    """The other ignores SIGTERM, as one that waits in a collective does."""
    text = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "sys.exit(3) if os.environ['GALAXYJAX_PROCESS_ID'] == '1' else time.sleep(100)"
    )
    began = time.monotonic()
    assert launch(python(text), 2, grace=1.0) == 3
    assert time.monotonic() - began < 30
    assert "rank 1 ended with code 3; ending the others" in capsys.readouterr().err


def test_a_killed_rank_gives_the_code_of_its_signal(capsys):
    text = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert launch(python(text), 1) == 137
    assert "rank 0 was ended by SIGKILL" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_every_process_as_sigterm(number, tmp_path):
    text = (
        "import pathlib, os, signal, sys, time\n"
        f"here = pathlib.Path({str(tmp_path)!r}) / os.environ['GALAXYJAX_PROCESS_ID']\n"
        "def told(*_):\n    print('told', flush=True)\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, told)\n"
        "here.touch()\n"
        "time.sleep(100)"
    )
    job = subprocess.Popen([*python(LAUNCH), *python(text)], stdout=subprocess.PIPE, text=True)
    while len(list(tmp_path.iterdir())) < 2:
        assert job.poll() is None
        time.sleep(0.05)
    os.kill(job.pid, number)
    out, _ = job.communicate(timeout=60)
    assert job.returncode == 143
    assert sorted(out.split("\n")) == ["", "[0] told", "[1] told"]


def test_a_rank_that_hangs_is_ended_by_the_other_ones_watchdog(tmp_path):
    """One rank is stopped dead (SIGSTOP); the other waits for it, notices, and takes the job down."""
    text = (
        "import os, signal, time\n"
        "from galaxyjax.train.watchdog import Watchdog\n"
        "rank = int(os.environ['GALAXYJAX_PROCESS_ID'])\n"
        "with Watchdog(0.5 if rank == 0 else 50.0, rank, 2) as watchdog:\n"
        "    watchdog.beat('step 17')\n"
        "    os.kill(os.getpid(), signal.SIGSTOP) if rank == 1 else time.sleep(100)"
    )
    job = subprocess.run([*python(LAUNCH), *python(text)], stderr=subprocess.PIPE, text=True, timeout=100)
    assert job.returncode == 124
    assert "[0] galaxyjax: rank 0 of 2: step 17 has not ended after" in job.stderr
    assert "rank 0 ended with code 124; ending the others" in job.stderr


@pytest.mark.parametrize("bad", [{"processes": 0}, {"processes": 1, "devices": 0}])
def test_senseless_numbers_are_refused(bad):
    with pytest.raises(ConfigError, match="= 0 must be at least 1"):
        launch(python(""), **bad)
