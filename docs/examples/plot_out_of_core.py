"""
Fitting beyond memory
=====================

Ridge, discriminant analysis, PCA and standardisation need sums over the rows, not the rows. One pass over a feature
file collects them, batch by batch; parts that were collected on several machines can be added up.
"""

# %%
# A feature file of the digits. On disk it may be larger than memory: only batches of it are read below.
import tempfile
from pathlib import Path

from sklearn.datasets import load_digits

import embedkit

folder = Path(tempfile.mkdtemp())
digits = load_digits()
embedkit.extract(digits.images[:600] / 16, output=folder / "digits.h5")
table = embedkit.FeatureTable.open(folder / "digits.h5")
labels = digits.target[:600]
print(table)

# %%
# One pass: a discriminant analysis that is exactly scikit-learn's of all rows at once.
import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from embedkit.estimators import StreamingLDA, StreamingPCA, SufficientStatistics

train = slice(0, 500)
streamed = SufficientStatistics("classes")
rows = 0
for X, _ in table[train].iter_batches(100):
    streamed.update(X, labels[rows : rows + len(X)])
    rows += len(X)
model = StreamingLDA(shrinkage=0.5).fit_statistics(streamed)
whole = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5).fit(table[train].X, labels[train])
test = table[500:].X
print(f"accuracy {model.score(test, labels[500:]):.2f}")
print(f"the same predictions: {np.mean(model.predict(test) == whole.predict(test)):.0%}")

# %%
# Two halves, as two machines would see them, merged: the same components as from all rows.
halves = [SufficientStatistics().update(table[part].X) for part in (slice(0, 250), slice(250, 500))]
merged = StreamingPCA(20).fit_statistics(halves[0].merge(halves[1]))
print(np.allclose(merged.components_, StreamingPCA(20).fit(table[train].X).components_, atol=1e-6))

# %%
# What learns by ``partial_fit`` takes the same batches.
from sklearn.linear_model import SGDClassifier

scaler = streamed.standard_scaler()
online = SGDClassifier(random_state=0, alpha=0.01)
for _ in range(3):
    rows = 0
    for X, _ in table[train].iter_batches(100):
        online.partial_fit(scaler.transform(X), labels[rows : rows + len(X)], classes=np.arange(10))
        rows += len(X)
print(f"accuracy {online.score(scaler.transform(test), labels[500:]):.2f}")
