"""Results with everything a page can show, and names that try to break out of it."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from PIL import Image

from embedkit.results import (
    KINDS,
    Advice,
    AuditResult,
    AverageRanks,
    Candidate,
    ChosenImage,
    Comparison,
    Curve,
    CurveReport,
    Deletion,
    Effect,
    EmbeddingMap,
    Explanation,
    Explanations,
    Finding,
    Gap,
    Hit,
    Hits,
    Influence,
    LabelResult,
    LayerOutput,
    LayersResult,
    Leaderboard,
    NearestTrained,
    Origin,
    Pair,
    Point,
    ProbeReport,
    ProbeResult,
    Reached,
    RoundEstimate,
    Rows,
    ScoreVerdict,
    SearchResult,
    Selection,
    SelectionCandidate,
    SelfCheck,
    Skipped,
    Standing,
    Unavailable,
)

HOSTILE = [
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "\u202egpj.exe",
    "n" * 10_000,
    "two\nlines\t\x1b[31m",
    "' onmouseover='document.title=1",
    "javascript:alert(1)",
    "&lt;b&gt;",
]


def make_rows(classes: list[str], n: int = 120, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(classes), n)
    scores = rng.dirichlet(np.ones(len(classes)), n) + 2.0 * np.eye(len(classes))[truth] * rng.random((n, 1))
    scores /= scores.sum(axis=1, keepdims=True)
    names = np.array(classes)
    return Rows(
        keys=[f"{classes[true]}/{row}.jpg" for row, true in enumerate(truth)],
        y_true=names[truth],
        y_pred=names[scores.argmax(axis=1)],
        scores=scores,
        probabilities=True,
        classes=classes,
        fold=np.zeros(n, np.int64),
    )


def make_result(rows: Rows | None = None, **changed: object) -> ProbeResult:
    value = 0.7 if rows is None else float((rows.y_true == rows.y_pred).mean())
    fields = {
        "model": "some_net",
        "protocol": "quick",
        "estimator": "logistic",
        "metric": "accuracy",
        "value": value,
        "interval": (value - 0.04, value + 0.04),
        "n_train": 300,
        "n_test": 120,
        "n_classes": 3,
        "params": {"C": 0.1},
        "at_edge": False,
        "converged": True,
        "selected_on": "a stratified 20% of train",
        "reported_on": "test split (120 images)",
        "rows": rows,
        "candidates": [Candidate(params={"C": 10.0**power}, score=0.6 + 0.02 * power) for power in range(-3, 3)],
    }
    return ProbeResult(**{**fields, **changed})


def make_probe(classes: list[str] | None = None, *, n: int = 120) -> ProbeReport:
    classes = classes or ["cat", "dog", "horse"]
    rows = make_rows(classes, n)
    wrong = [key for key, true, said in zip(rows.keys, rows.y_true, rows.y_pred, strict=True) if true != said]
    return ProbeReport(
        origin=Origin(request={"command": "probe", "target": "photos.h5", "protocol": ["quick"]}, data=["photos"]),
        results=[make_result(rows), make_result(None, model="pixels32", value=0.2, interval=(0.1, 0.3), floor=True)],
        nearest=[NearestTrained(key=key, other_key=rows.keys[0], label=classes[0], cosine=0.9) for key in wrong],
        maps=[
            EmbeddingMap(
                model="some_net",
                method="PCA (40 % of the variance)",
                keys=rows.keys,
                xy=np.random.default_rng(1).normal(size=(n, 2)).astype(np.float32),
                labels=rows.y_true.tolist(),
                parts=[],
            )
        ],
        notes=["a note", *classes[:1]],
        skipped=[Skipped("broken.jpg", "cut short")],
        unavailable=[Unavailable("some_net random weights", "the source is gone")],
    )


def make_comparison() -> Comparison:
    rows = make_rows(["cat", "dog"])

    def standing(model: str, value: float, rank: int, floor: bool = False) -> Standing:
        return Standing(
            model=model,
            floor=floor,
            value=value,
            interval=(value - 0.03, value + 0.03),
            seed_interval=None,
            rank=rank,
            tied=False,
            n_train=300,
            n_test=120,
            params={"C": 1.0},
            at_edge=False,
            converged=True,
            fit_seconds=0.1,
            parameters=None if floor else 5_000_000,
            images_per_second=None if floor else 120.0 * rank,
            feature_bytes=768,
        )

    board = Leaderboard(
        data="photos",
        protocol="quick",
        estimator="logistic",
        metric="accuracy",
        seeds=1,
        selected_on="20 % of train",
        reported_on="test",
        rows=[standing("a", 0.8, 1), standing("b", 0.7, 2), standing("pixels32", 0.2, 3, True)],
        pairs=[Pair(better="a", worse="b", test="mcnemar", difference=0.1, p_value=0.01, corrected=0.02, differ=True)],
    )
    ranks = AverageRanks(
        protocol="quick",
        estimator="logistic",
        data=["photos", "x", "y"],
        models=["a", "b", "pixels32"],
        average_ranks=[1.0, 2.0, 3.0],
        statistic=6.0,
        p_value=0.05,
        critical_difference=1.9,
        groups=[1, 1, 2],
    )
    return Comparison(leaderboards=[board], average_ranks=[ranks], results=[make_result(rows, model="a")])


def make_explanations(name: str = "cat") -> Explanations:
    rng = np.random.default_rng(0)
    contributions = rng.normal(size=(7, 7))
    one = Explanation(
        image=f"{name}/1.jpg",
        class_=name,
        predicted="dog",
        logit=float(contributions.sum()) + 0.5,
        score="logit",
        method="contributions",
        bias=0.5,
        contributions=contributions,
        box=(-0.1, 0.1, 1.1, 0.9),
        size=(300, 400),
        deletion=Deletion(fractions=[0.0, 0.5, 1.0], by_map=[3.0, -1.0, 0.2], at_random=[3.0, 2.0, 0.2]),
        random_weights=0.1,
        nearest=[NearestTrained(key=f"{name}/1.jpg", other_key=f"{name}/2.jpg", label=name, cosine=0.9)],
        influence=[
            Influence(key=f"{name}/2.jpg", label=name, contribution=1.5),
            Influence(key="dog/3.jpg", label="dog", contribution=-0.5),
        ],
    )
    occluded = dataclasses.replace(
        one, method="occlusion", bias=None, deletion=None, random_weights=None, image="b.jpg"
    )
    return Explanations(explanations=[one, occluded])


def make_curves() -> CurveReport:
    points = [
        Point(
            size=size,
            n_train=float(3 * size),
            values=[mean],
            mean=mean,
            interval=(mean - 0.05, mean + 0.05),
            converged=True,
        )
        for size, mean in ((1, 0.4), (4, 0.6), (16, 0.8))
    ]
    shared = {"estimator": "class-mean", "metric": "accuracy", "kind": "shots", "seeds": 3, "n_test": 100}
    return CurveReport(
        curves=[
            Curve(model="some_net", reported_on="test", points=points, **shared),
            Curve(model="pixels32", reported_on="test", points=points[:2], floor=True, **shared),
        ]
    )


def make_audit(name: str = "cat/1.jpg") -> AuditResult:
    return AuditResult(
        findings=[Finding(kind, name, "cat/2.jpg", 0.9, f"{kind} of {name}") for kind in KINDS for _ in range(2)],
        effects=[Effect(without=f"copies of {name}", removed=3, tested=90, before=0.8, after=0.78, p_value=0.3)],
        self_check={"label": SelfCheck(planted=10, found=9, precision=0.9, recall=0.9)},
        model="some_net",
        images=120,
        accuracy=0.8,
    )


def make_search(name: str = "cat/1.jpg") -> SearchResult:
    hits = [Hit("cat/2.jpg", name, 0.9), Hit(name, ["a", name], 0.5), Hit("x.jpg", 1.5, 0.4), Hit("y.jpg", None, 0.1)]
    return SearchResult(results=[Hits(name, hits, True), Hits("new.jpg", hits)], model="some_net")


def make_label(keys: list[str]) -> LabelResult:
    chosen = [ChosenImage(key, f"typical of {place} images") for place, key in enumerate(keys)]
    return LabelResult(
        chosen=chosen, model="some_net", labelled=0, unlabelled=len(keys), classes=["cat", "dog"], strategy="typical"
    )


def make_selection(name: str = "some_net") -> Selection:
    def candidate(model: str, values: list[float], dropped: int | None = None) -> SelectionCandidate:
        rounds = [
            RoundEstimate(rows=96 * 2**place, value=value, interval=(value - 0.1, value + 0.1))
            for place, value in enumerate(values)
        ]
        return SelectionCandidate(
            name=model,
            model=model,
            weights="pretrained",
            layer=None,
            pool="auto",
            rows=rounds[-1].rows,
            forward_passes=200,
            seconds=1.0,
            value=values[-1],
            interval=rounds[-1].interval,
            dropped=dropped,
            reason="" if dropped is None else f"far behind {name}",
            rounds=rounds,
        )

    return Selection(
        candidates=[candidate(name, [0.7, 0.8]), candidate("other_net", [0.4], dropped=1)],
        chosen=name,
        expected_regret=0.0,
        stopped="one network is left",
        tolerance=0.01,
        images=300,
        cost_share=0.3,
        scores={"parc": ScoreVerdict(tau=1.0, regret=0.0, top3=True, values={name: 0.2}, seconds=0.1)},
        scored_on=96,
        result=make_result(),
        command=f"embedkit extract photos --model {name}",
        advice=[Advice(advice=f"take {name}", because="80 % are named right", command="embedkit extract <photos>")],
    )


def make_layers(name: str = "some_net") -> LayersResult:
    layers = [
        LayerOutput(
            name=f"{name} layer {layer}",
            layer=layer,
            pool="auto",
            width=8,
            value=value,
            interval=(value - 0.1, value + 0.1),
            effective_rank=3.0,
            spectrum=[0.5, 0.3],
            separability=0.5,
            p_value=None if layer is None else 0.2,
        )
        for layer, value in ((0, 0.4), (1, 0.7), (None, 0.8))
    ]
    return LayersResult(
        model=name,
        layers=layers,
        recommended=layers[-1].name,
        reason="no layer is better",
        cka=[[1.0] * 3] * 3,
        judged_on="100 training images",
        command="embedkit extract",
    )


def make_gap(name: str = "photos") -> Gap:
    shared = {"against": "target-only", "difference": -0.1, "p_value": 0.01}
    return Gap(
        source=name,
        target="sketches",
        model="some_net",
        source_rows=100,
        target_rows=100,
        classes=[],
        distances={"proxy-a": 1.5},
        null={"proxy-a": 0.1},
        p_values={"proxy-a": 0.005},
        reached=[
            Reached(method="source-only", value=0.7, interval=(0.6, 0.8), **shared),
            Reached(method="target-only", value=0.8, interval=(0.7, 0.9)),
            Reached(method="guessing", value=0.1, interval=(0.05, 0.2), **{**shared, "against": "source-only"}),
        ],
        verdict="negative",
        evidence=f"negative transfer from {name}",
    )


def jpeg(colour: tuple[int, int, int], side: int = 72) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(written, "JPEG", quality=60)
    return written.getvalue()


def thumbnails_of(keys: list[str]) -> dict[str, bytes]:
    return {key: jpeg((place % 256, place // 256 % 256, 90)) for place, key in enumerate(keys)}
