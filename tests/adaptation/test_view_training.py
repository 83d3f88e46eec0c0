"""Views in training are logistic regression on more rows."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from embedkit import FeatureTable
from embedkit.adaptation import view_protocol
from embedkit.evaluation import tasks_of
from tests.tables.table_samples import make_table


def test_both_ways_are_logistic_regression_on_all_rows():
    rng = np.random.default_rng(0)
    n, y = 120, np.arange(120) % 3
    base = rng.normal(size=(n, 6)) + 2 * np.eye(6)[y]
    views = [(base + 0.5 * rng.normal(size=base.shape)).astype(np.float32) for _ in range(3)]
    split = ["test" if row % 4 == 3 else "train" for row in range(n)]
    table = make_table(n, 6, labels=[f"class {one}" for one in y], split=split)
    [task] = tasks_of(FeatureTable(table.metadata, views[0]))
    train, test = task.split.train, task.split.test
    rows, targets = np.concatenate([one[train] for one in views]), np.tile(y[train], 3)
    scaler = StandardScaler().fit(rows)
    for way, asked in (("views", views[0]), ("views, average", np.mean(views, axis=0))):
        outcome = view_protocol(way, views).run(task)
        expected = LogisticRegression(C=outcome.params["C"], max_iter=5000, tol=1e-8)
        expected.fit(scaler.transform(rows), targets)
        chances = expected.predict_proba(scaler.transform(asked[test]))
        np.testing.assert_allclose(outcome.draws[0].scores, chances, atol=2e-3)
