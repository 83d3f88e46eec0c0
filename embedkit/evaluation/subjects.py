"""Say in the message of an error which data set, or which point of a curve, it is about.

Layer: evaluation; imports embedkit.errors only.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from embedkit.errors import ProbeError, UsageError


@contextmanager
def errors_naming(subject: str) -> Generator[None]:
    """Put a subject before the message of a ProbeError or UsageError that passes through."""
    try:
        yield
    except (ProbeError, UsageError) as error:
        error.args = (f"{subject}: {error}", *error.args[1:])
        raise
