"""The entry point: which commands there are, and what becomes of an error.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 usage, 3 finished with skipped images,
130 interrupted (Ctrl-C), 143 terminated (SIGTERM).

Layer: the top. Imports public names of embedkit, inside the commands only, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_STARTS = os.path.basename(sys.argv[0]) in ("embedkit", "embedkit.exe") if sys.argv else False


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: there is nothing yet, or nothing any more, that had to be put in order."""
    os._exit(128 + number)


if _STARTS and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Importing takes a moment, in which Ctrl-C would end in a traceback; `main` puts its own handlers.
    signal.signal(signal.SIGINT, _leave)

import importlib  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402

import click  # noqa: E402

from embedkit.errors import EmbedkitError  # noqa: E402
from embedkit.text import printable  # noqa: E402

# A command -> the module that holds it; imported when the command is called.
_COMMANDS = {
    "demo": "embedkit_cli.demo",
    "extract": "embedkit_cli.extract",
    "probe": "embedkit_cli.probe",
    "compare": "embedkit_cli.compare",
    "fit": "embedkit_cli.fit",
    "predict": "embedkit_cli.predict",
    "report": "embedkit_cli.report",
    "info": "embedkit_cli.info",
    "store": "embedkit_cli.store",
    "export": "embedkit_cli.export",
    "models": "embedkit_cli.models",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        return importlib.import_module(module).command if module else None


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="embedkit", prog_name="embedkit")
@click.option("--no-data-urls", is_flag=True, help="Follow no URL that stands in data, such as a row of a manifest.")
def cli(no_data_urls: bool) -> None:
    """Classical machine learning on image embeddings.

    Images become features with a frozen timm backbone, features are kept in HDF5, scikit-learn does the rest.

    \b
    embedkit demo
    embedkit extract photos/ --model resnet50.a1_in1k -o photos.h5
    embedkit probe photos.h5
    embedkit fit photos.h5 --estimator svm -o model.skops
    embedkit predict model.skops new_photos/
    """
    if no_data_urls:
        os.environ["EMBEDKIT_DATA_URLS"] = "none"


def main() -> None:
    """Run the command line; the console script ``embedkit``."""
    # SciPy reads it at its import, and scikit-learn needs it to fit on a GPU.
    os.environ.setdefault("SCIPY_ARRAY_API", "1")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.root.handlers[0].setFormatter(_Printable("embedkit: %(message)s"))
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        """Let the buffer be committed and the lease given back, for SIGTERM as for Ctrl-C."""
        received.append(number)
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, interrupt)
        if signal.getsignal(signal.SIGINT) in (_leave, signal.default_int_handler):  # a shell may want it ignored
            signal.signal(signal.SIGINT, interrupt)
        code = cli.main(prog_name="embedkit", standalone_mode=False)
    except click.ClickException as error:
        _say_as_json(error, error.format_message())
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted: features that were committed stay; run the same command again to go on")
        code = 128 + (received[0] if received else signal.SIGINT)
    except EmbedkitError as error:
        _say_as_json(error, str(error))
        _say(str(error))
        code = 1
    except BrokenPipeError:
        # The reader of a pipe has gone; what is still buffered must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is interrupt:
            signal.signal(number, _leave)  # what is left is the interpreter's own end
    sys.exit(code if isinstance(code, int) else 0)


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


def _say_as_json(error: Exception, message: str) -> None:
    """Where JSON was asked for, a program gets the error as one, too: on stdout, in place of the result."""
    if "--json" in sys.argv[1:]:
        said = {"type": type(error).__name__, "message": " ".join(message.split())}
        click.echo(json.dumps({"error": said}, indent=2))


def _say(message: str) -> None:
    click.echo(f"embedkit: error: {printable(' '.join(message.split()))}", err=True)
