"""``simpleshot``: the nearest mean of a class, after centring and L2 normalisation.

    features    the model's output, less the mean of the training rows, scaled to unit length (CL2N)
    prediction  the class whose mean is nearest (Euclidean)
    fit         on all rows that are not tested; nothing is selected
    metric      accuracy

The original centres by the mean of base classes that no task uses; a table has no such rows, so those that the class
means are made of stand in. The solution is a closed form in either mode.

Source: Y. Wang, W.-L. Chao, K. Q. Weinberger, L. van der Maaten, SimpleShot: revisiting nearest-neighbor classification
for few-shot learning, 2019, section 3.

Layer: probes.protocols.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from embedkit.errors import SplitError
from embedkit.evaluation import NOTHING_SELECTED, Outcome, Rows, Task, predicted_classes, spread
from embedkit.probes.protocols.features import Prescription

PRESCRIPTION = Prescription()


def simpleshot(task: Task) -> Outcome:
    """Run the protocol on one task."""
    from embedkit.estimators import NearestClassMean

    known = task.known
    if len(np.unique(known.y)) < 2:
        raise SplitError(f"the {len(known)} training images are of one class; give images of another")
    model = NearestClassMean().fit(known.X.astype(np.float64), known.y)
    scores = model.decision_function(task.test_features.astype(np.float64))
    columns = np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
    wide = spread(columns, cast(Rows, model.classes_), task.n_classes, -np.inf)
    return Outcome(
        draws=[predicted_classes(wide)],
        params={},
        n_train=len(known),
        selected_on=NOTHING_SELECTED,
    )
