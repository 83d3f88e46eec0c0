"""A saved result, read as if a stranger had made the file.

Layer: results; above every record.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from embedkit.errors import ResultFileError
from embedkit.results.comparison import Comparison
from embedkit.results.curve import CurveReport
from embedkit.results.extraction import ExtractResult, Forecast, PlanResult, PlanStatus
from embedkit.results.models import DemoResult, FitResult, Predictions
from embedkit.results.probe import ProbeReport
from embedkit.results.record import Record

_RECORDS: tuple[type[Record], ...] = (
    Comparison,
    CurveReport,
    DemoResult,
    ExtractResult,
    FitResult,
    Forecast,
    PlanResult,
    PlanStatus,
    Predictions,
    ProbeReport,
)


def load_result(path: str | os.PathLike[str]) -> Any:
    """Read a result that `save`, or ``-o`` of a command, has written.

    Parameters
    ----------
    path : path
        A ``.json`` file.

    Returns
    -------
    Record
        `ProbeReport`, `Comparison`, `CurveReport`, ...: whatever was saved.

    Raises
    ------
    ResultFileError
        The file is missing, damaged, of a newer schema, or no result.

    Examples
    --------
    >>> report = load_result("grocery.json")  # doctest: +SKIP
    >>> report.results[0].rows.confusion()  # doctest: +SKIP
    """
    file = Path(path)
    try:
        record = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise ResultFileError(f"there is no result {file}; `embedkit probe TARGET -o {file}` writes one") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ResultFileError(f"{file} cannot be read as a result: {error}") from error
    if not isinstance(record, dict) or cast(dict[str, Any], record).get("embedkit") != "result":
        raise ResultFileError(f"{file} is no result of embedkit; expected what `save` or -o of a command wrote")
    try:
        return result_from(cast(dict[str, Any], record))
    except ResultFileError as error:
        raise ResultFileError(f"{file}: {error}") from error


def result_from(record: Mapping[str, Any]) -> Any:
    """Build the record of any kind from the values of its `to_dict`."""
    kinds = {one.kind: one for one in _RECORDS}
    kind = record.get("kind")
    if kind not in kinds:
        raise ResultFileError(f"a result of the kind {kind!r} is not known; expected one of {', '.join(kinds)}")
    return kinds[kind].from_dict(record)
