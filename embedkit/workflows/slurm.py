"""slurm_script: an array job for a plan, its units as large as they are worth.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import math
import os
import shlex

from embedkit.errors import UsageError
from embedkit.extraction import PlanFile
from embedkit.render import duration

_MOST_TASKS = 1000
"""Of an array, by Slurm's own default (MaxArraySize 1001)."""

_LEAST_MEMORY = 4
"""Gigabytes."""


def slurm_script(
    plan: str | os.PathLike[str],
    *,
    minutes: float = 30.0,
    at_once: int = 64,
    cores: int = 8,
    gpu: bool | None = None,
    partition: str | None = None,
    output: str | None = None,
) -> str:
    """Write the Slurm array script of a plan.

    The array has as many tasks as keep each at about `minutes` by the pace that was measured when the plan was made;
    where that is unknown, as many as the plan proposes. Time and memory that are asked for leave room: three times what
    is expected and ten minutes; half as much again as a process took.

    Parameters
    ----------
    plan : path
    minutes : float
        Expected for each task.
    at_once : int
        Tasks that may run at the same time.
    cores : int
        Of each task.
    gpu : bool, optional
        Ask for a GPU; by default where the plan's device or precision says so.
    partition : str, optional
    output : str, optional
        The feature file that the last line writes; by default beside the plan.

    Returns
    -------
    str
        For ``sbatch``; it ends with the command that writes the feature file.

    Raises
    ------
    PlanError
    UsageError
        A name with control characters in it.
    """
    path = os.path.abspath(plan)
    named = {"the path of the plan": path, "output": output or "", "partition": partition or ""}
    for what, text in named.items():
        if not text.isprintable():  # the line of a comment that ends in it would go on as a command
            raise UsageError(f"{what} is {text!r}, expected a name without control characters in a script: rename it")
    opened = PlanFile(path=path).read()
    images = len(opened.source)
    tasks = opened.units
    if opened.pace:
        tasks = math.ceil(opened.pace * images / (60 * minutes))
    tasks = max(1, min(tasks, _MOST_TASKS, images))
    each = math.ceil(images / tasks)
    expected = (opened.pace or 0.0) * each
    memory = max(_LEAST_MEMORY, math.ceil(1.5 * opened.memory / 2**30))
    on_gpu = gpu if gpu is not None else _on_gpu(opened.request.device, opened.resolution.spec.backbone.precision)
    options = [
        "--job-name=embedkit",
        f"--array=1-{tasks}%{min(at_once, tasks)}",
        f"--cpus-per-task={cores}",
        f"--mem={memory}G",
        f"--time={_time(3 * expected + 600) if expected else '04:00:00'}",
        *(["--gres=gpu:1"] if on_gpu else []),
        *([f"--partition={partition}"] if partition else []),
        "--requeue",
    ]
    about = f", about {duration(expected)} each where the plan was made" if expected else ""
    quoted = shlex.quote(path)
    table = shlex.quote(os.path.abspath(output) if output else os.path.splitext(path)[0] + ".h5")
    return "\n".join(
        [
            "#!/bin/sh",
            *(f"#SBATCH {option}" for option in options),
            f"# {images:,} images in {tasks} task{'s' if tasks != 1 else ''} of {each:,}{about}.",
            "# Exit code 3 says that some images could not be read; they are listed in the table.",
            f'embedkit extract --plan {quoted} --unit "$SLURM_ARRAY_TASK_ID/{tasks}" || [ $? -eq 3 ]',
            "",
            "# When all are done (JOB is the number that sbatch prints):",
            f"# sbatch --dependency=afterok:JOB --wrap {shlex.quote(f'embedkit extract --plan {quoted} -o {table}')}",
            "",
        ]
    )


def _on_gpu(device: str, precision: str) -> bool:
    return device.startswith("cuda") or precision == "fp16"


def _time(seconds: float) -> str:
    """Write a time as Slurm reads it, in whole minutes."""
    days, minutes = divmod(math.ceil(seconds / 60), 24 * 60)
    return f"{f'{days}-' if days else ''}{minutes // 60:02d}:{minutes % 60:02d}:00"
