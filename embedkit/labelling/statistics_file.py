"""Statistics of a site as a file: written whole, read as if a stranger had made it.

One JSON object, ``{"embedkit": "statistics", "format": 1, ...}``, with packed arrays as in saved results
(docs/format.md). It holds no code, keys, paths or rows.

Layer: labelling; above site_statistics.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import ResultFileError, StatisticsFileError, UnreadableFileError, UsageError
from embedkit.estimators import SufficientStatistics
from embedkit.files import commit_to, inflated_limit, read_json
from embedkit.labelling.fourier import FourierFeatures
from embedkit.labelling.site_statistics import SiteStatistics
from embedkit.results import as_packed, from_plain, to_plain
from embedkit.specs import FeatureSpec

FORMAT = 1
MOST_BYTES = 1 << 30
"""Of a file, and of all arrays in it."""

_MOST_LABEL = 1024  # characters, as in feature files
_MOST_ROWS = 1 << 53
_LARGEST_MEAN = float(np.finfo(np.float32).max)
_LEAST_VARIANCE = 1e-100  # and products of two deviations are no zeros
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What a file holds; `scatter` is the lower triangle, row by row."""

    fingerprint: str
    spec: dict[str, Any]
    request: dict[str, Any]
    fourier: FourierFeatures | None
    classes: list[str]
    rows: npt.NDArray[np.int64]
    means: npt.NDArray[np.float64]
    scatter: npt.NDArray[np.float64]
    drift: float


def write_statistics(site: SiteStatistics, path: str | os.PathLike[str]) -> None:
    """Write statistics, whole or not at all; an existing file is replaced."""
    known = site.statistics
    stored = _Stored(
        fingerprint=site.spec.fingerprint,
        spec=site.spec.to_dict(),
        request=site.request,
        fourier=site.fourier,
        classes=known.classes.tolist(),
        rows=known.class_n.astype(np.int64),
        means=known.class_means,
        scatter=known.scatter[np.tril_indices(len(known.mean))],
        drift=known.drift,
    )
    record = {"embedkit": "statistics", "format": FORMAT, **to_plain(stored, as_packed)}
    commit_to(Path(path), [json.dumps(record, allow_nan=False, indent=1).encode("utf-8")], sealed=False)


def read_statistics(path: str | os.PathLike[str]) -> SiteStatistics:
    """Read statistics that `write_statistics` wrote.

    Raises
    ------
    StatisticsFileError
        The file is missing, damaged, too large, of a newer format, or holds what no rows add up to.
    """
    file = Path(path)
    try:
        record = read_json(file, MOST_BYTES)
        if not isinstance(record, dict) or cast(dict[str, Any], record).get("embedkit") != "statistics":
            raise StatisticsFileError(f"{file} holds no statistics of a site; `embedkit stats TARGET -o {file}` does")
        number = cast(dict[str, Any], record).get("format")
        if not isinstance(number, int) or not 1 <= number <= FORMAT:
            raise StatisticsFileError(
                f"{file} has the format {number!r:.40}, and this embedkit reads up to {FORMAT}; upgrade embedkit"
            )
        most = min(MOST_BYTES, inflated_limit(file.stat().st_size))
        return _site(from_plain(_Stored, cast(dict[str, Any], record), "the file", most_bytes=most))
    except FileNotFoundError as error:
        raise StatisticsFileError(f"there is no {file}; `embedkit stats TARGET -o {file}` writes one") from error
    except StatisticsFileError:
        raise
    except (UnreadableFileError, ResultFileError, UsageError, _MisfitError) as error:
        said = str(error).removesuffix(": measure again").removesuffix("; measure again")
        raise StatisticsFileError(f"{file} holds no statistics that can be used: {said}; collect them again") from error


class _MisfitError(ValueError):
    """Numbers that no rows add up to."""


def _site(stored: _Stored) -> SiteStatistics:
    spec = FeatureSpec.from_dict(stored.spec)
    width: object = spec.backbone.width
    if type(width) is not int or width < 1:
        raise _MisfitError(f"its features are {width!r:.40} wide")
    if spec.fingerprint != stored.fingerprint:
        raise _MisfitError(f"the fingerprint {stored.fingerprint!r:.80} is not that of its spec")
    site = SiteStatistics(
        spec=spec, request=stored.request, fourier=stored.fourier, statistics=SufficientStatistics("classes")
    )
    names, rows, means = stored.classes, stored.rows, stored.means
    if not names or names != sorted(set(names)):
        raise _MisfitError("its classes are missing, or not in order, each once")
    if not all(0 < len(name) <= _MOST_LABEL and "\0" not in name for name in names):
        raise _MisfitError(f"a class is named by 1 to {_MOST_LABEL} characters without NUL")
    k, d = len(names), site.width
    if rows.shape != (k,) or means.shape != (k, d) or stored.scatter.shape != (d * (d + 1) // 2,):
        raise _MisfitError(
            f"its arrays are shaped {rows.shape}, {means.shape} and {stored.scatter.shape}, expected {(k,)}, {(k, d)} "
            f"and {(d * (d + 1) // 2,)}"
        )
    if rows.min() < 1 or rows.max() > _MOST_ROWS:
        raise _MisfitError(f"a class has {rows.min()} to {rows.max()} rows, expected 1 to {_MOST_ROWS}")
    if not (np.abs(means) <= _LARGEST_MEAN).all():
        raise _MisfitError("a mean is not finite, or larger than any feature")
    scatter = np.zeros((d, d))
    scatter[np.tril_indices(d)] = stored.scatter
    scatter += np.tril(scatter, -1).T
    known = _statistics(names, rows.astype(np.float64), means, scatter, stored.drift)
    return SiteStatistics(spec=spec, request=stored.request, fourier=stored.fourier, statistics=known)


def _statistics(
    names: list[str],
    rows: npt.NDArray[np.float64],
    means: npt.NDArray[np.float64],
    scatter: npt.NDArray[np.float64],
    drift: float,
) -> SufficientStatistics:
    total = float(rows.sum())
    mean = rows @ means / total
    between = np.square(means - mean).T @ rows
    variances = np.diag(scatter).copy()
    if not (np.isfinite(variances).all() and (variances - between >= -_ROUNDING * (variances + between)).all()):
        raise _MisfitError("its scatter is less than that of its class means, or not finite")
    if ((variances != 0) & (variances < _LEAST_VARIANCE)).any():
        raise _MisfitError("a feature varies less than features can, or by less than nothing")
    deviations = np.sqrt(np.maximum(variances, 0.0))
    if not (np.abs(scatter) <= np.outer(deviations, deviations) * (1 + _ROUNDING)).all():
        raise _MisfitError("its scatter correlates features by more than 1")
    if not 0 <= drift < np.inf:
        raise _MisfitError(f"its drift is {drift}, expected a number that is not negative")
    arrays: dict[str, Any] = {
        "target": "classes",
        "n": total,
        "mean": mean,
        "scatter": scatter,
        "classes": np.array(names),
        "class_n": rows,
        "class_means": means,
        "target_mean": np.empty(0),
        "cross": np.empty((0, 0)),
        "drift": drift,
    }
    return SufficientStatistics.from_arrays(arrays)
