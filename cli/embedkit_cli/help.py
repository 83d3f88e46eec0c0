"""How a command shows its options: the few that most people need first, those of experts after them.

Layer: cli; click only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

GLOSSARY = "Words (floor, store, probe, C, interval, R2, drift, fingerprint, unit, plan): docs/glossary.md"

EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done without some images, 4 work is left (--status)"

WITH_EXIT_CODES = f"\b\n{EXIT_CODES}\n{GLOSSARY}"


class Command(click.Command):
    """A command whose help shows some options first.

    Parameters
    ----------
    first : sequence of str
        The spelling of each, such as ``"--model"``; none where a command has few options.
    """

    def __init__(self, *arguments: Any, first: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.first = tuple(first)
        self.epilog = self.epilog or GLOSSARY

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in two lists."""
        spelled = {name: parameter for parameter in self.get_params(ctx) for name in parameter.opts}
        leading = [spelled[name] for name in self.first]
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        others = [option for option in options if option not in leading]
        for title, parameters in (("Most used", leading), ("More options" if leading else "Options", others)):
            records = [parameter.get_help_record(ctx) for parameter in parameters]
            shown = [record for record in records if record is not None]
            if shown:
                with formatter.section(title):
                    formatter.write_dl(shown)
