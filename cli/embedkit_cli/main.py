"""The entry point: which commands there are, and what becomes of an error.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 usage, 3 finished with skipped images,
4 work is left (of `--status`), 130 interrupted (Ctrl-C), 143 terminated (SIGTERM).

Layer: the top. Imports public names of embedkit, inside the commands only, so that ``--help`` is quick.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
import sys
from types import FrameType

import click

from embedkit.errors import EmbedkitError
from embedkit.text import printable
from embedkit_cli.help import WITH_EXIT_CODES
from embedkit_cli.interrupts import leave
from embedkit_cli.log import FORMAT_VARIABLE, add_log_format, is_json, log_through, say

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

# A command -> the module that holds it; imported when the command is called.
_COMMANDS = {
    "demo": "embedkit_cli.demo",
    "extract": "embedkit_cli.extract",
    "probe": "embedkit_cli.probe",
    "compare": "embedkit_cli.compare",
    "select": "embedkit_cli.select",
    "layers": "embedkit_cli.layers",
    "fit": "embedkit_cli.fit",
    "predict": "embedkit_cli.predict",
    "stats": "embedkit_cli.stats",
    "gap": "embedkit_cli.gap",
    "audit": "embedkit_cli.audit",
    "label": "embedkit_cli.label",
    "search": "embedkit_cli.search",
    "explain": "embedkit_cli.explain",
    "finetune": "embedkit_cli.finetune",
    "distill": "embedkit_cli.distill",
    "report": "embedkit_cli.report",
    "info": "embedkit_cli.info",
    "store": "embedkit_cli.store",
    "export": "embedkit_cli.export",
    "diff": "embedkit_cli.diff",
    "models": "embedkit_cli.models",
    "slurm": "embedkit_cli.slurm",
}

# The network of these is named by a file, which is data: nothing is fetched for it if the user says so.
_OF_A_MODEL_FILE = frozenset({"predict", "explain", "export"})


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        add_log_format(command)
        return command


def _urls(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if "://" not in value or value.split() != [value]:
            raise click.BadParameter(f"{value!r} is no URL; write s3://bucket/, http://10.0.0.5/ or memory://")
    return values


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=WITH_EXIT_CODES,
)
@click.version_option(package_name="embedkit", prog_name="embedkit")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    envvar=FORMAT_VARIABLE,
    help="How notes, progress and errors on stderr are written.",
)
@click.option(
    "--no-data-urls",
    is_flag=True,
    help="Follow no URL that stands in data, as in a row of a manifest, and fetch no network that a model file names.",
)
@click.option(
    "--allow-url",
    "allowed",
    multiple=True,
    callback=_urls,
    metavar="URL",
    help="Follow URLs in data that begin so, though data may not name them by themselves; repeat.",
)
@click.pass_context
def cli(ctx: click.Context, no_data_urls: bool, allowed: tuple[str, ...], log_format: str | None) -> None:
    """Classical machine learning on image embeddings.

    Images become features with a frozen timm backbone, features are kept in HDF5, scikit-learn does the rest.

    \b
    embedkit demo
    embedkit probe photos/                                  how good simple classifiers are on your photos
    embedkit compare photos/ --model auto                   which backbone is best for them
    embedkit fit photos/ --estimator svm -o model.skops     a model file that takes photos
    embedkit predict model.skops new_photos/
    """
    if log_format is not None:
        os.environ[FORMAT_VARIABLE] = log_format
    if no_data_urls:
        if ctx.invoked_subcommand in _OF_A_MODEL_FILE:
            os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["EMBEDKIT_DATA_URLS"] = " ".join(("none", *allowed))
    elif allowed:
        os.environ["EMBEDKIT_DATA_URLS"] = " ".join((os.environ.get("EMBEDKIT_DATA_URLS", ""), *allowed))


def main() -> None:
    """Run the command line; the console script ``embedkit``."""
    # SciPy reads it at its import, and scikit-learn needs it to fit on a GPU.
    os.environ.setdefault("SCIPY_ARRAY_API", "1")
    log_through()
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        """Let the buffer be committed and the lease given back, for SIGTERM as for Ctrl-C."""
        received.append(number)
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, interrupt)
        if signal.getsignal(signal.SIGINT) in (leave, signal.default_int_handler):  # a shell may want it ignored
            signal.signal(signal.SIGINT, interrupt)
        code = cli.main(prog_name="embedkit", standalone_mode=False)
    except click.ClickException as error:
        _say_as_json(error, error.format_message())
        _show(error)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("error", "interrupted: features that were committed stay; run the same command again to go on")
        code = 128 + (received[0] if received else signal.SIGINT)
    except EmbedkitError as error:
        _say_as_json(error, str(error))
        say("error", str(error))
        code = 1
    except OSError as error:
        if error.filename is None and not isinstance(error, BrokenPipeError) and error.errno not in _NO_ROOM:
            raise
        if error.filename is not None:
            say("error", f"{os.fsdecode(error.filename)}: {error.strerror}; check its permissions and the disk")
        else:
            # The reader of a pipe has gone, or the disk is full where the output goes; what is still buffered must not
            # fail once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                say("error", f"cannot write the output: {error.strerror}; free some space, and run again")
        code = 1
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is interrupt:
            signal.signal(number, leave)  # what is left is the interpreter's own end
    sys.exit(code if isinstance(code, int) else 0)


def _say_as_json(error: Exception, message: str) -> None:
    """Where JSON was asked for, a program gets the error as one, too: on stdout, in place of the result."""
    if "--json" in sys.argv[1:]:
        said = {"type": type(error).__name__, "message": message}
        click.echo(json.dumps({"error": said}, indent=2))


def _show(error: click.ClickException) -> None:
    if is_json():
        say("error", " ".join(error.format_message().split()))
    else:
        vars(error)["message"] = "\n".join(map(printable, error.message.split("\n")))
        error.show()
