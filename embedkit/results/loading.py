"""A saved result, read as if a stranger had made the file.

Layer: results; above every record.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from embedkit.errors import ResultFileError, UnreadableFileError
from embedkit.files import inflated_limit, read_json
from embedkit.results.audit import AuditResult
from embedkit.results.comparison import Comparison
from embedkit.results.curve import CurveReport
from embedkit.results.difference import FeatureDiff
from embedkit.results.distillation import DistillResult
from embedkit.results.explanation import Explanations
from embedkit.results.extraction import ExtractResult, Forecast, PlanResult, PlanStatus
from embedkit.results.finetuning import FineTuneReport
from embedkit.results.fusion import FusionReport
from embedkit.results.gap import DomainGaps, Gap
from embedkit.results.labelling import LabelResult
from embedkit.results.models import DemoResult, FitResult, Predictions
from embedkit.results.one_class import OneClassReport
from embedkit.results.plain import MOST_BYTES
from embedkit.results.probe import ProbeReport
from embedkit.results.record import Record
from embedkit.results.search import SearchResult
from embedkit.results.selection import LayersResult, Selection
from embedkit.results.statistics import StatisticsFit, StatisticsResult
from embedkit.results.unlabelled import UnlabelledReport

_RECORDS: tuple[type[Record], ...] = (
    AuditResult,
    Comparison,
    CurveReport,
    DemoResult,
    DistillResult,
    DomainGaps,
    Explanations,
    ExtractResult,
    FeatureDiff,
    FineTuneReport,
    FitResult,
    Forecast,
    LabelResult,
    FusionReport,
    LayersResult,
    Gap,
    OneClassReport,
    PlanResult,
    PlanStatus,
    Predictions,
    ProbeReport,
    SearchResult,
    Selection,
    StatisticsFit,
    StatisticsResult,
    UnlabelledReport,
)


def load_result(path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES) -> Any:
    """Read a result that `save`, or ``-o`` of a command, has written.

    Parameters
    ----------
    path : path
        A ``.json`` file.
    most_bytes : int
        Most bytes that the file may have, and that all arrays in it may take; of a small file, 256 MiB or 8 times its
        size.

    Returns
    -------
    Record
        `ProbeReport`, `Comparison`, `CurveReport`, ...: whatever was saved.

    Raises
    ------
    ResultFileError
        The file is missing, damaged, too large, of a newer schema, or no result.

    Examples
    --------
    >>> report = load_result("grocery.json")  # doctest: +SKIP
    >>> report.results[0].rows.confusion()  # doctest: +SKIP
    """
    file = Path(path)
    try:
        record = read_json(file, most_bytes)
    except FileNotFoundError as error:
        raise ResultFileError(f"there is no result {file}; `embedkit probe TARGET -o {file}` writes one") from error
    except UnreadableFileError as error:
        raise ResultFileError(f"{error}: it is no result, or damaged; measure again") from error
    if not isinstance(record, dict) or cast(dict[str, Any], record).get("embedkit") != "result":
        raise ResultFileError(f"{file} is no result of embedkit; expected what `save` or -o of a command wrote")
    try:
        held = min(most_bytes, inflated_limit(file.stat().st_size))
        return result_from(cast(dict[str, Any], record), most_bytes=held)
    except ResultFileError as error:
        raise ResultFileError(f"{file}: {error}") from error


def result_from(record: Mapping[str, Any], *, most_bytes: int = MOST_BYTES) -> Any:
    """Build the record of any kind from the values of its `to_dict`."""
    kind = record.get("kind")
    found = next((one for one in _RECORDS if one.kind == kind), None)
    if found is None:
        known = ", ".join(one.kind for one in _RECORDS)
        raise ResultFileError(f"a result of the kind {reprlib.repr(kind)} is not known; expected one of {known}")
    return found.from_dict(record, most_bytes=most_bytes)
