"""``dinov2-knn``: votes of the nearest neighbours, weighted by a softmax of their similarity.

    features    the model's output, L2-normalised; resize 256 bicubic, crop 224, ImageNet mean and deviation
    votes       the k rows of highest cosine, each exp(cosine / 0.07)
    grid        k = 10, 20, 100, 200; nothing is selected: each k is reported, and k = 20, which "is usually working
                the best", is the number of the result
    fit         on all rows that are not tested
    metric      accuracy (top-5 accuracy among the metrics)

The search is exact in either mode. The original divides the votes by their sum over the 200 nearest, which changes no
prediction. A k above the number of training rows is left out.

Source: M. Oquab et al., DINOv2: learning robust visual features without supervision, 2023,
github.com/facebookresearch/dinov2, dinov2/eval/knn.py.

Layer: probes.protocols.
"""

from __future__ import annotations

from typing import cast

from embedkit.evaluation import NOTHING_SELECTED, Outcome, Rows, Task, predicted_classes, spread
from embedkit.probes.protocols.features import IMAGENET_MEAN, IMAGENET_STD, Prescription

NEIGHBOURS = (10, 20, 100, 200)
REPORTED = 20
TEMPERATURE = 0.07
PRESCRIPTION = Prescription(
    input_size=(224, 224),
    interpolation="bicubic",
    crop_mode="center",
    crop_pct=0.875,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)


def dinov2_knn(task: Task) -> Outcome:
    """Run the protocol on one task."""
    from embedkit.estimators import KNeighborsClassifier

    known = task.known
    possible = [k for k in NEIGHBOURS if k <= len(known)] or [len(known)]
    notes: list[str] = []
    if len(possible) < len(NEIGHBOURS):
        notes.append(
            f"dinov2-knn: {len(known)} training images allow for k = {', '.join(map(str, possible))} only, "
            f"not for all of {', '.join(map(str, NEIGHBOURS))}"
        )
    model = KNeighborsClassifier(max(possible), metric="cosine", weights="softmax", temperature=TEMPERATURE)
    model.fit(known.X, known.y)
    shares = model.predict_proba_by_k(task.test_features, possible)
    by_k = {
        k: predicted_classes(spread(votes, cast(Rows, model.classes_), task.n_classes, 0.0), are_probabilities=True)
        for k, votes in zip(possible, shares, strict=True)
    }
    reported = REPORTED if REPORTED in by_k else max(possible)
    return Outcome(
        draws=[by_k.pop(reported)],
        params={"k": reported, "temperature": TEMPERATURE},
        n_train=len(known),
        selected_on=NOTHING_SELECTED,
        others={f"k={k}": [predicted] for k, predicted in by_k.items()},
        notes=notes,
    )
