"""`galaxyjax launch`: several processes of one verb on this machine."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, ClassVar

import tyro

from galaxyjax.core.errors import ConfigError


@dataclass(frozen=True)
class Launch:
    """Run a verb as several processes on this machine, which together hold one mesh.

    For laptops and tests, and for nodes whose devices are better off with a process each. Lines come out
    with the rank before them; when one process fails the others are ended and its exit code is returned;
    Ctrl-C and SIGTERM reach all, which save at the same step and stop (exit code 143); the same command
    goes on from there.

    One node, all its GPUs (one process sees them all, nothing to launch):

        galaxyjax train RECIPE --mesh data=2,x=2,y=2

    The blocks of the network's trunk as a pipeline over two stages, each with its share of the batch:

        galaxyjax train RECIPE --mesh stage=2,data=4

    This machine's CPU, two processes with four devices each:

        galaxyjax launch --processes 2 --devices 4 -- train RECIPE --mesh data=2,x=2,y=2

    Slurm, two nodes of four GPUs, one task a GPU; told to stop two minutes before its time is up, it saves
    and queues again:

        sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 --signal=TERM@120 --requeue
          --open-mode=append --wrap 'srun galaxyjax train RECIPE --mesh data=2,x=2,y=2
          --checkpoints /shared/runs/NAME; [ $? = 143 ] && scontrol requeue $SLURM_JOB_ID'

    TPU pod, the same command on every host (checkpoints where all hosts see them):

        gcloud compute tpus tpu-vm ssh POD --zone=ZONE --worker=all
          --command='galaxyjax train RECIPE --mesh data=8,x=8,y=8 --checkpoints /mnt/shared/runs/NAME'

    GKE: an indexed Job (completionMode: Indexed) with a headless service as its subdomain and the command
    galaxyjax train RECIPE ...; JAX finds the other pods (pip install 'jax[k8s]').

    Anywhere else, on every machine:

        GALAXYJAX_COORDINATOR=HOST0:1234 GALAXYJAX_PROCESSES=N GALAXYJAX_PROCESS_ID=i
          galaxyjax train RECIPE ...
    """

    words: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="-- VERB ...")]
    """The verb with its options, after two dashes."""
    processes: Annotated[int, tyro.conf.arg(metavar="N")] = 2
    """How many."""
    devices: Annotated[
        int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: what JAX finds)")
    ] = None
    """CPU devices of each process."""
    grace: Annotated[float, tyro.conf.arg(metavar="S")] = 30.0
    """Seconds that the others get to end when one has failed."""

    resume: ClassVar[str] = "all processes were told to stop"

    def run(self) -> None:
        from galaxyjax.mesh.launch import launch

        if not self.words:
            raise ConfigError("launch: the verb is missing; for example galaxyjax launch -- train RECIPE")
        if self.words[0] == "launch":
            raise ConfigError("launch: a launched command cannot launch; give another verb")
        command = [sys.executable, "-m", "galaxyjax", *self.words]
        code = launch(command, self.processes, self.devices, self.grace)
        if code:
            raise SystemExit(code)
