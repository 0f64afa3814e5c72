"""Ctrl-C: the first stops in good order with exit code 130, the second at once; workers do not hear it."""

import os
import signal
import subprocess
import sys
import time

PROGRAM = """
import sys, time
from galaxyjax.cli import app

class Slow:
    resume = "run it again to go on"
    def run(self):
        print("started", flush=True)
        try:
            time.sleep(30)
        finally:
            if {stubborn}:
                time.sleep(30)

app.parse = lambda words: Slow()
sys.exit(app.main(["slow"]))
"""

WORKERS = """
import os, signal, sys, time
from galaxyjax.cli.pool import worker_pool

def main():
    with worker_pool(2) as pool:
        for _ in range(2):
            pool.submit(time.sleep, 1.5)
        time.sleep(0.3)
        os.killpg(0, signal.SIGINT)
        time.sleep(20)

if __name__ == "__main__":
    # Tests that run in the background of a shell inherit a SIGINT that is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted")
"""


def started(stubborn: bool) -> subprocess.Popen:
    program = PROGRAM.format(stubborn=stubborn)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "started\n"
    return process


def test_one_interrupt_ends_with_130_and_says_how_to_go_on():
    process = started(stubborn=False)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.splitlines() == [
        "",
        "stopping in good order; Ctrl-C again stops at once",
        "galaxyjax: interrupted; run it again to go on",
    ]


def test_a_second_interrupt_does_not_wait():
    process = started(stubborn=True)
    process.send_signal(signal.SIGINT)
    assert "stopping in good order" in process.stderr.readline() + process.stderr.readline()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "stopped at once" in err
    assert time.monotonic() - began < 10.0


def test_workers_finish_what_they_do_and_say_nothing(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(WORKERS)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    words = [sys.executable, str(script)]
    ended = subprocess.run(
        words, capture_output=True, text=True, timeout=60, start_new_session=True, env=environment
    )
    assert ended.stdout == "interrupted\n" and ended.stderr == ""


def test_the_callers_handler_is_put_back():
    from galaxyjax.cli.interrupt import patient_interrupts

    before = signal.getsignal(signal.SIGINT)
    with patient_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
