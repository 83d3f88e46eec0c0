"""Any record that can be, drawn by the types of its fields."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embedkit import results
from embedkit.results import (
    AverageRanks,
    Confusion,
    Curve,
    CurveReport,
    Deletion,
    EmbeddingMap,
    Explanation,
    FeatureDiff,
    FusionReport,
    Gain,
    LayerOutput,
    LayersResult,
    OneClassReport,
    OneClassResult,
    ProbeReport,
    ProbeResult,
    Record,
    Rows,
    Stages,
    UnlabelledGain,
    UnlabelledReport,
)

RECORDS = [one for one in vars(results).values() if isinstance(one, type) and Record in one.__bases__]

# Names of files that are no UTF-8 come with such halves of a pair.
TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.just("\udcff"), max_size=6)
# NumPy's text cannot end in NUL.
LABELS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
RANKED = ("models", "average_ranks", "groups")
INTEGERS = st.integers(-(2**63), 2**63 - 1)
STAGES = st.builds(
    Stages,
    **dict.fromkeys(("read", "decode", "forward", "commit"), NUMBERS),
    wall=st.floats(0, 1e9, exclude_min=True),
    threads=st.integers(1, 64),
    readers=st.integers(1, 64),
    on_device=st.booleans(),
)
CONFUSIONS = st.lists(TEXT, max_size=2).map(
    lambda names: Confusion(classes=names, counts=[[1] * len(names)] * len(names))
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    n = draw(st.integers(1, 4))
    kind = draw(st.sampled_from(["class", "value", "multilabel"]))
    classes = [] if kind == "value" else draw(st.lists(LABELS, min_size=1, max_size=3, unique=True))

    def labels() -> Any:
        if kind == "value":
            return draw(arrays.arrays(np.float64, n, elements=NUMBERS))
        if kind == "multilabel":
            return draw(arrays.arrays(np.bool_, (n, len(classes))))
        return np.array(draw(st.lists(st.sampled_from(classes), min_size=n, max_size=n)))

    scored = bool(classes) and draw(st.booleans())
    return Rows(
        keys=draw(st.lists(TEXT, min_size=n, max_size=n)),
        y_true=labels(),
        y_pred=labels(),
        scores=draw(arrays.arrays(np.float64, (n, len(classes)), elements=NUMBERS)) if scored else None,
        probabilities=draw(st.booleans()),
        classes=classes,
        fold=draw(arrays.arrays(np.int64, n)),
    )


@st.composite
def maps(draw: st.DrawFn) -> EmbeddingMap:
    keys = draw(st.lists(TEXT, min_size=1, max_size=3))
    places = st.floats(width=32, allow_nan=False, allow_infinity=False)
    return EmbeddingMap(
        model=draw(TEXT),
        method=draw(TEXT),
        keys=keys,
        xy=draw(arrays.arrays(np.float32, (len(keys), 2), elements=places)),
        labels=draw(st.sampled_from([[], keys])),
        parts=draw(st.sampled_from([[], keys])),
    )


@st.composite
def fusions(draw: st.DrawFn) -> FusionReport:
    singles, fused = (draw(st.lists(any_of(ProbeResult), min_size=1, max_size=2)) for _ in range(2))
    best, gains = draw(st.sampled_from(singles)).model, [draw(any_of(Gain)) for _ in fused]
    return FusionReport(singles=singles, fused=fused, best=best, gains=gains, notes=draw(st.lists(TEXT, max_size=2)))


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    """Draw a value of a type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    leaves = {Rows: rows(), EmbeddingMap: maps(), Any: JSON, float: NUMBERS, str: TEXT, types.NoneType: st.none()}
    leaves |= {int: INTEGERS, bool: st.booleans(), Stages: STAGES, Confusion: CONFUSIONS}
    if kind in leaves:
        return leaves[kind]
    if origin in (typing.Union, types.UnionType):
        return st.one_of(map(any_of, inner))
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is list:
        return st.lists(any_of(inner[0]), max_size=2)
    if origin is np.ndarray:
        return arrays.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 3)), elements=NUMBERS)
    if origin is tuple:
        return st.tuples(*map(any_of, inner))
    if origin is dict:
        return st.dictionaries(TEXT, any_of(inner[1]), max_size=2)
    hints = typing.get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.metadata.get("plain", True)]
    else:
        names = list(kind._fields)
    special: dict[str, Any] = {}
    if kind is ProbeReport:
        special = {"recommended": st.none(), "results": st.lists(any_of(ProbeResult), min_size=1, max_size=2)}
    if kind is CurveReport:
        special = {"curves": st.lists(any_of(Curve), min_size=1, max_size=2)}
    if kind is AverageRanks:
        special = {name: st.lists(any_of(*typing.get_args(hints[name])), min_size=2, max_size=2) for name in RANKED}
    if kind is FeatureDiff:
        special = {"worst": NUMBERS, "mean": NUMBERS}
    if kind is LayersResult:
        special = {"layers": st.lists(any_of(LayerOutput), min_size=2, max_size=2), "cka": st.just([[1.0, 0.5]] * 2)}
    if kind is OneClassReport:
        special = {"results": st.lists(any_of(OneClassResult), min_size=1, max_size=2)}
    if kind is UnlabelledReport:
        two = {"min_size": 2, "max_size": 2}
        kinds = {"labelled": ProbeResult, "used": ProbeResult, "gains": UnlabelledGain}
        special = {name: st.lists(any_of(one), **two) for name, one in kinds.items()}
    if kind is FusionReport:
        return fusions()
    if kind is Deletion:
        special = dict.fromkeys(names, st.lists(NUMBERS, min_size=2, max_size=2))
    if kind is Explanation:
        special = {"size": st.tuples(st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1))}
    return st.builds(kind, **{name: any_of(hints[name]) for name in names} | special)
