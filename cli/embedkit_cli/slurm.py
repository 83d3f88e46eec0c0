"""embedkit slurm."""

from __future__ import annotations

import click

from embedkit_cli.help import Command


@click.command("slurm", cls=Command, first=("--minutes", "--gpu", "--partition", "--at-once", "--output"))
@click.argument("plan", type=click.Path())
@click.option("--minutes", type=click.FloatRange(min=1), default=30, show_default=True, help="Expected for each task.")
@click.option("--at-once", type=click.IntRange(min=1), default=64, show_default=True, help="Tasks that run together.")
@click.option("--cores", type=click.IntRange(min=1), default=8, show_default=True, help="Of each task.")
@click.option("--gpu/--no-gpu", default=None, help="Ask for a GPU; by default where the plan was made for one.")
@click.option("--partition", metavar="P")
@click.option("-o", "--output", metavar="FILE.h5", help="The feature file of the last line.  [default: beside PLAN]")
def command(
    plan: str,
    minutes: float,
    at_once: int,
    cores: int,
    gpu: bool | None,
    partition: str | None,
    output: str | None,
) -> int:
    """Print the script of a Slurm array that carries out PLAN, its tasks sized by the pace that the plan measured.

    \b
    embedkit extract photos/ --model resnet50.a1_in1k --store /shared/store --plan P.json
    embedkit slurm P.json > job.sh && sbatch job.sh
    """
    from embedkit import slurm_script

    script = slurm_script(
        plan, minutes=minutes, at_once=at_once, cores=cores, gpu=gpu, partition=partition, output=output
    )
    click.echo(script, nl=False)
    return 0
