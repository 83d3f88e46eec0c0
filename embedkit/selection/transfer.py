"""What a probe of one domain is worth in another: with and without the other's labels, aligned, and beside floors.

All probes are one and the same (logistic regression, C = 0.01, standardised features), so that what differs between
them is what they were fitted on. Nothing is chosen, hence nothing is chosen on tested rows.

Layer: selection; above evaluation and the estimators.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import sklearn.base
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from embedkit.errors import EmbedkitError, UsageError
from embedkit.estimators import CORAL, LinearTransport, LogisticRegression, SubspaceAlignment
from embedkit.evaluation import holm_correction, mcnemar_test, paired_permutation_test, share_interval
from embedkit.results import Reached
from embedkit.selection.rows import sample

Float32 = npt.NDArray[np.float32]
Names = npt.NDArray[np.str_]
Rows = npt.NDArray[np.intp]
Right = npt.NDArray[np.bool_]

SOURCE, TARGET, JOINT, COPIED, GUESS = "source-only", "target-only", "joint", "feature-copying", "guessing"
IN_TARGET = ", target-only"  # behind the name of a floor
MOST_FITTED = 10_000
"""Rows of each domain that a probe is fitted on; of more a stratified sample."""

_C, _COMPONENTS = 0.01, 128
_base = cast(Any, sklearn.base)  # not typed throughout


def default_adapters() -> dict[str, Any]:
    """Return the alignments that are tried, by the names that results give them."""
    return {
        "coral": CORAL(),
        "subspace-alignment": SubspaceAlignment(),
        "linear-transport": LinearTransport(),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Features of one domain.

    Attributes
    ----------
    name : str
    X : ndarray of shape (n, d), float32
    y : ndarray of shape (n,), str
        The empty string where unknown.
    digests : ndarray of shape (n, 32), uint8
    train : ndarray of intp
        Labelled rows that a probe is fitted on where this is a source.
    parts : list of (ndarray of intp, ndarray of intp)
        The (training, tested) rows where it is a target.
    floors : dict of str to ndarray
        Features of floors, row for row.
    """

    name: str
    X: Float32
    y: Names
    digests: npt.NDArray[np.uint8]
    train: Rows
    parts: list[tuple[Rows, Rows]]
    floors: dict[str, Float32] = field(default_factory=dict[str, Float32])

    @property
    def tested(self) -> Rows:
        """The tested rows of all parts."""
        return np.concatenate([test for _, test in self.parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What each method names the tested rows of a target.

    Attributes
    ----------
    y : ndarray of shape (n,), str
        What they are.
    named : dict of str to ndarray of shape (n,), str
        By method.
    certain : dict of str to ndarray of shape (n,)
        Probability given to what a row is, by source-only and target-only of as many rows.
    adapters, floors : list of str
        Which of the methods are these.
    unseen : int
        Rows of the source that are tested images of the target, and were left out.
    converged : bool
    """

    y: Names
    named: dict[str, Names]
    certain: dict[str, npt.NDArray[np.float64]]
    adapters: list[str]
    floors: list[str]
    unseen: int
    converged: bool

    def right(self, method: str) -> Right:
        """Which rows a method names right."""
        return self.named[method] == self.y


def pooled(domains: Sequence[Domain]) -> Domain:
    """Take several domains for one source."""
    starts = np.cumsum([0, *(len(one.X) for one in domains)])
    common = [name for name in domains[0].floors if all(name in one.floors for one in domains)]
    return Domain(
        name=", ".join(one.name for one in domains),
        X=np.concatenate([one.X for one in domains]),
        y=np.concatenate([one.y for one in domains]),
        digests=np.concatenate([one.digests for one in domains]),
        train=np.concatenate([start + one.train for start, one in zip(starts, domains, strict=False)]),
        parts=[],
        floors={name: np.concatenate([one.floors[name] for one in domains]) for name in common},
    )


def predict_across(source: Domain, target: Domain, adapters: Mapping[str, Any]) -> Predictions:
    """Fit each method and let it name the target's tested rows.

    Parameters
    ----------
    source, target : Domain
    adapters : mapping of str to transformer
        Each is cloned, and takes ``fit_transform(X, sample_domain=...)`` of rows of both domains and
        ``transform(X, sample_domain=...)`` of rows of the target: ours, or skada's.
    """
    truth: list[Names] = []
    named: dict[str, list[Names]] = {}
    certain: dict[str, list[npt.NDArray[np.float64]]] = {SOURCE: [], TARGET: []}
    floors = [name for name in source.floors if name in target.floors]
    unseen, converged, fitted = set[int](), True, dict[bytes, _OfSource]()
    for train, test in target.parts:
        train = _at_most(target.y, train)
        known, left_out = _not_among(source, target.digests[test])
        unseen |= {*left_out.tolist()}
        if len(np.unique(source.y[known])) < 2:
            raise UsageError(
                f"{source.name}: without the tested images of {target.name} {len(known)} labelled rows are left, of "
                "fewer than two classes; name another source"
            )
        if known.tobytes() not in fitted:
            fitted = {known.tobytes(): _OfSource(source, known, floors)}
        of_source = fitted[known.tobytes()]
        X, y = target.X[test], target.y[train]
        on_target = _Probe(target.X[train], y)
        both = np.concatenate([source.y[known], y])
        # Each domain weighs as much as the other, however many rows it has.
        weights = np.repeat([len(both) / 2 / len(known), len(both) / 2 / len(y)], [len(known), len(y)])
        joint = _Probe(np.concatenate([source.X[known], target.X[train]]), both, weights)
        copied = _Copied(source.X[known], target.X[train], both, weights)
        said = {
            SOURCE: of_source.probe.predict(X),
            TARGET: on_target.predict(X),
            JOINT: joint.predict(X),
            COPIED: copied.predict(X),
            **_aligned(source.X[known], source.y[known], target.X[train], X, adapters),
            GUESS: np.full(len(test), of_source.commonest),
        }
        converged &= all(one.converged for one in (of_source.probe, on_target, joint, copied.probe))
        for name in floors:
            said[name] = of_source.floors[name].predict(target.floors[name][test])
            said[name + IN_TARGET] = _Probe(target.floors[name][train], y).predict(target.floors[name][test])
        truth.append(target.y[test])
        # More rows make a surer probe: both are held to as many as the smaller one has.
        as_many = min(len(known), len(train))
        for method, domain, rows, probe in (
            (SOURCE, source, known, of_source.probe),
            (TARGET, target, train, on_target),
        ):
            if len(rows) > as_many:
                rows = _drawn(domain.y, rows, as_many)
                probe = _Probe(domain.X[rows], domain.y[rows])
            certain[method].append(probe.certainty(X, target.y[test]))
        for method, labels in said.items():
            named.setdefault(method, []).append(labels)
    return Predictions(
        y=np.concatenate(truth),
        named={method: np.concatenate(labels) for method, labels in named.items()},
        certain={method: np.concatenate(parts) for method, parts in certain.items()},
        adapters=[*adapters],
        floors=[GUESS, *floors],
        unseen=len(unseen),
        converged=converged,
    )


def name_rows(source: Domain, X: Float32) -> Names:
    """Let a probe of the source name rows."""
    known = _at_most(source.y, source.train)
    return _Probe(source.X[known], source.y[known]).predict(X)


def out_of_fold(domain: Domain) -> tuple[Names, Names]:
    """Return what the tested rows of a domain are, and what its own probe names them."""
    named: list[Names] = []
    for train, test in domain.parts:
        train = _at_most(domain.y, train)
        named.append(_Probe(domain.X[train], domain.y[train]).predict(domain.X[test]))
    return domain.y[domain.tested], np.concatenate(named)


def reached(found: Predictions) -> list[Reached]:
    """Give the accuracy of each method, and a paired test against the method that it has to be held against.

    Adapters and floors are held against source-only, floors of the target, source-only and joint against target-only,
    and feature copying against joint. Several of a kind are corrected together (Holm).
    """
    families = [
        ([SOURCE], TARGET),
        ([JOINT], TARGET),
        ([COPIED], JOINT),
        (found.adapters, SOURCE),
        (found.floors, SOURCE),
        ([one + IN_TARGET for one in found.floors if one != GUESS], TARGET),
    ]
    tests: dict[str, tuple[str, float]] = {}
    for methods, against in families:
        p_values = [mcnemar_test(found.right(one), found.right(against)).p_value for one in methods]
        tests |= {one: (against, float(p)) for one, p in zip(methods, holm_correction(p_values), strict=True)}
    surer = paired_permutation_test(found.certain[SOURCE], found.certain[TARGET])
    results: list[Reached] = []
    for method in found.named:
        right, (against, p) = found.right(method), tests.get(method, ("", None))
        results.append(
            Reached(
                method=method,
                value=float(right.mean()),
                interval=share_interval(int(right.sum()), len(right)),
                against=against,
                difference=float(right.mean() - found.right(against).mean()) if against else None,
                p_value=p,
                certainty=float(found.certain[method].mean()) if method in found.certain else None,
                certainty_difference=surer.difference if method == SOURCE else None,
                certainty_p=surer.p_value if method == SOURCE else None,
            )
        )
    return results


def _not_among(source: Domain, digests: npt.NDArray[np.uint8]) -> tuple[Rows, Rows]:
    """Part the rows that a source is fitted on: at most `MOST_FITTED` of other images than these, and the rest."""
    tested = {digest.tobytes() for digest in digests}
    kept = np.array([source.digests[row].tobytes() not in tested for row in source.train], dtype=np.bool_)
    return _at_most(source.y, source.train[kept]), source.train[~kept]


def _aligned(
    of_source: Float32, y: Names, of_target: Float32, X: Float32, adapters: Mapping[str, Any]
) -> dict[str, Names]:
    """Align principal components of both domains' rows, fit on those of the source, and name rows of the target."""
    if not adapters:
        return {}
    both = np.concatenate([of_source, of_target])
    mean, scale = _mean_and_scale(both)
    kept = min(_COMPONENTS, len(both) - 1, both.shape[1])
    reduction: Any = PCA(kept, svd_solver="randomized", random_state=0)
    reduced: Float32 = reduction.fit_transform((both - mean) / scale)
    tested: Float32 = reduction.transform((X - mean) / scale)
    domain = np.repeat([1, -2], [len(of_source), len(of_target)])
    named: dict[str, Names] = {}
    for name, adapter in adapters.items():
        try:
            fitted = _base.clone(adapter)
            moved = np.asarray(fitted.fit_transform(reduced, sample_domain=domain), dtype=np.float32)[: len(y)]
            there = np.asarray(fitted.transform(tested, sample_domain=np.full(len(tested), -2)), dtype=np.float32)
        except EmbedkitError:
            raise
        except Exception as error:
            raise UsageError(
                f"the adapter {name} failed: {type(error).__name__}: {error}; expected a transformer whose "
                "fit_transform and transform take sample_domain, as those of embedkit.estimators and skada do"
            ) from error
        named[name] = _Probe(moved, y).predict(there)
    return named


def _mean_and_scale(X: Float32) -> tuple[Float32, Float32]:
    """Return the mean of columns and their deviation, which is infinite of those that do not vary."""
    mean, deviation = X.mean(axis=0), X.std(axis=0)
    return mean, np.where(deviation > 1e-6 * np.abs(mean) + 1e-12, deviation, np.inf).astype(np.float32)


def _at_most(y: Names, rows: Rows) -> Rows:
    return rows if len(rows) <= MOST_FITTED else _drawn(y, rows, MOST_FITTED)


def _drawn(y: Names, rows: Rows, number: int) -> Rows:
    """Draw about so many rows, each class by its share."""
    return rows[sample(np.unique(y[rows], return_inverse=True)[1].astype(np.intp), number, 0)]


class _Probe:
    def __init__(
        self, X: Float32, y: Names, weights: npt.NDArray[np.float64] | None = None, *, standardize: bool = True
    ) -> None:
        model: Any = LogisticRegression(_C, standardize=standardize)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `converged` says it
            self.fitted: Any = model.fit(X, y, sample_weight=weights)
        self.converged: bool = bool(self.fitted.converged_)

    def predict(self, X: Float32) -> Names:
        return cast(Names, self.fitted.predict(X))

    def certainty(self, X: Float32, y: Names) -> npt.NDArray[np.float64]:
        """Return the probability given to the class of each row; 0 where the probe does not know it."""
        classes = cast(Names, self.fitted.classes_)
        place = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
        probabilities = np.asarray(self.fitted.predict_proba(X), np.float64)[np.arange(len(y)), place]
        return np.where(classes[place] == y, probabilities, 0.0)


class _Copied:
    """A probe of both domains in which each has weights of its own beside those that they share.

    Rows become (x, x, 0) in the source and (x, 0, x) in the target (Daume, Frustratingly easy domain adaptation, ACL
    2007), standardised before so that a copy is zero where it is not a domain's own.
    """

    def __init__(self, of_source: Float32, of_target: Float32, y: Names, weights: npt.NDArray[np.float64]) -> None:
        self._mean, self._scale = _mean_and_scale(np.concatenate([of_source, of_target]))
        rows = np.concatenate([self._rows(of_source, own=1), self._rows(of_target, own=2)])
        self.probe = _Probe(rows, y, weights, standardize=False)

    def predict(self, of_target: Float32) -> Names:
        return self.probe.predict(self._rows(of_target, own=2))

    def _rows(self, X: Float32, own: int) -> Float32:
        scaled = (X - self._mean) / self._scale
        parts = [scaled, np.zeros_like(scaled), np.zeros_like(scaled)]
        parts[own] = scaled
        return np.concatenate(parts, axis=1)


class _OfSource:
    """What is fitted on a source alone."""

    def __init__(self, source: Domain, rows: Rows, floors: Sequence[str]) -> None:
        y = source.y[rows]
        values, counts = np.unique(y, return_counts=True)
        self.commonest = str(values[counts.argmax()])
        self.probe = _Probe(source.X[rows], y)
        self.floors = {name: _Probe(source.floors[name][rows], y) for name in floors}
