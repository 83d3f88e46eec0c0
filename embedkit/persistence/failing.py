"""What is said where a model fails at its work: one line, which names the estimator that failed.

Validators look at a model before it works; what they let pass may still not fit together, and then scikit-learn and
NumPy raise what they like.

Layer: persistence; above model. scikit-learn only.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import cast

from sklearn.base import BaseEstimator

from embedkit.errors import EmbedkitError, ModelFileError, UsageError


@contextmanager
def at_work(model: object, *, on_a_table: bool = False) -> Generator[None]:
    """Run what a model is asked to do; whatever it raises becomes an error of embedkit.

    Parameters
    ----------
    model : path, or the model itself
        For the message.
    on_a_table : bool, default=False
        It is given columns of the user's, whose values it may not take: a category that it does not know, for one.

    Raises
    ------
    UsageError
        The model does not take its table.
    ModelFileError
        Anything else: the file is damaged, made up, or of other versions of the libraries.
    """
    name = str(cast(object, model)) if isinstance(model, str | os.PathLike) else "given"
    try:
        yield
    except EmbedkitError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        if on_a_table and isinstance(error, TypeError | ValueError):
            raise UsageError(
                f"the model does not take these rows: {said} (in {_failing(error)}); give it a table as the one that "
                "it was fitted on"
            ) from error
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
        raise ModelFileError(
            f"the model {name} does not work: {_failing(error)} fails ({said}); the file is damaged, made up, or of "
            "other versions of the libraries: fit it again"
        ) from error


def _failing(error: BaseException) -> str:
    """Return the name of the innermost estimator that was at work."""
    found = "it"
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        inside = trace.tb_frame.f_locals.get("self")
        if isinstance(inside, BaseEstimator):
            found = f"its {type(inside).__name__}"
        trace = trace.tb_next
    return found
