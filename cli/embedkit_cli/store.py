"""embedkit store."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from embedkit_cli.help import GLOSSARY
from embedkit_cli.options import json_option
from embedkit_cli.output import note, print_facts, print_json, print_table

if TYPE_CHECKING:
    from embedkit import FeatureStore

_Command = TypeVar("_Command", bound=Callable[..., Any])

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@click.group("store", epilog=GLOSSARY)
def command() -> None:
    """Look after a feature store.

    DIR is the store's folder; by default the user's own, or EMBEDKIT_STORE.

    \b
    embedkit store info
    embedkit store verify
    embedkit store gc --max-size 50G
    """


def _on_store(function: _Command) -> _Command:
    """Add what every command here takes: the folder and ``--json``."""
    return click.argument("folder", type=click.Path(), required=False, metavar="[DIR]")(json_option(function))


def _open(folder: str | None) -> FeatureStore:
    from embedkit import FeatureStore, default_store

    return FeatureStore(folder or default_store(), create=False)


def _bytes(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)b?", value.strip().lower())
    if found is None:
        raise click.BadParameter(f"{value!r} is no size; write 500M, 50G or a number of bytes")
    return int(float(found[1]) * _UNITS[found[2]])


@command.command("info")
@_on_store
def info(folder: str | None, as_json: bool) -> int:
    """Say what a store holds: models, rows, bytes, parts, last use.

    \b
    embedkit store info
    """
    found = _open(folder).info()
    if as_json:
        print_json(found.to_dict())
        return 0
    print_facts([("store", found.path), ("rows", found.rows), ("bytes", found.bytes)])
    if found.fingerprints:
        click.echo()
        print_table(
            ("model", "fingerprint", "rows", "bytes", "parts", "damaged", "last use"),
            [
                (
                    one.model or "(unknown)",
                    one.fingerprint[:16],
                    str(one.rows),
                    str(one.bytes),
                    str(one.parts),
                    str(one.damaged),
                    one.last_use or "",
                )
                for one in found.fingerprints
            ],
        )
    return 0


@command.command("verify")
@_on_store
def verify(folder: str | None, as_json: bool) -> int:
    """Read every part and compare it with its digest; exit with 1 when one is damaged.

    \b
    embedkit store verify
    """
    report = _open(folder).verify()
    if as_json:
        print_json(report.to_dict())
    else:
        print_facts([("sound parts", report.parts), ("rows", report.rows), ("bytes read", report.bytes)])
        for file in report.damaged:
            note(f"damaged: {file.path}: {file.reason} ({file.rows} rows of {file.model or 'an unknown model'})")
        if report.damaged:
            note(
                f"{len(report.damaged)} damaged; computing their rows again takes up to {report.rows_to_extract} "
                "forward passes: run `embedkit store repair`, then extract again"
            )
    return 1 if report.damaged else 0


@command.command("repair")
@_on_store
def repair(folder: str | None, as_json: bool) -> int:
    """Set damaged parts aside, so that their rows are extracted again. Nothing is deleted.

    \b
    embedkit store repair
    """
    report = _open(folder).repair()
    if as_json:
        print_json(report.to_dict())
    else:
        print_facts([("set aside", len(report.set_aside)), ("specs restored", len(report.specs_restored))])
        for file in report.set_aside:
            note(f"set aside: {file.path} ({file.reason})")
    return 0


@command.command("pack")
@_on_store
def pack(folder: str | None, as_json: bool) -> int:
    """Merge many small parts into few large ones; safe beside readers and writers.

    \b
    embedkit store pack
    """
    report = _open(folder).pack()
    if as_json:
        print_json(report.to_dict())
    else:
        print_facts(
            [
                ("parts", f"{report.parts_before} -> {report.parts_after}"),
                ("bytes", f"{report.bytes_before} -> {report.bytes_after}"),
            ]
        )
    return 0


@command.command("gc")
@click.option("--max-size", callback=_bytes, metavar="SIZE", help="Drop what was used least recently; 500M, 50G.")
@click.option("--dry-run", is_flag=True, help="Remove nothing; say what would go.")
@_on_store
def gc(folder: str | None, max_size: int | None, dry_run: bool, as_json: bool) -> int:
    """Remove what nobody needs: leftovers of killed processes, superseded parts, and by --max-size old features.

    \b
    embedkit store gc
    embedkit store gc --max-size 50G --dry-run
    """
    report = _open(folder).gc(max_size=max_size, dry_run=dry_run)
    if as_json:
        print_json(report.to_dict())
    else:
        rows = sum(one.rows for one in report.evicted_parts)
        print_facts(
            [
                ("temporaries removed", report.temporaries),
                ("superseded parts removed", report.superseded),
                (
                    "parts evicted",
                    f"{len(report.evicted_parts)} ({rows} rows)",
                ),
                ("fingerprints emptied", ", ".join(name[:16] for name in report.evicted) or "none"),
                ("not embedkit's, left alone", len(report.unknown) or None),
                ("bytes freed", report.bytes_freed),
                ("bytes left", report.bytes_left),
                ("dry run", "nothing was removed" if report.dry_run else None),
            ]
        )
        for one in report.evicted_parts:
            note(f"evicted: {one.model or one.fingerprint[:16]}, {one.rows} rows, last used {one.last_use}")
    return 0
