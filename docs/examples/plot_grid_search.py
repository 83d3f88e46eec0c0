"""
A grid search that runs the network once
========================================

Cross-validation asks for the features of each image many times. The network runs once for each of them, in whatever
order, fold or process they come.
"""

# %%
# By default the features are kept in the user's cache folder; here they get a folder of their own.
import tempfile

from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from embedkit import ImageEmbedder

store = tempfile.mkdtemp()
digits = load_digits()
X, y = digits.images[:200] / 16, digits.target[:200]

model = Pipeline(
    [
        ("embed", ImageEmbedder(store=store)),
        ("scale", StandardScaler()),
        ("reduce", PCA(random_state=0)),
        ("classify", LogisticRegression(max_iter=1000)),
    ]
)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
search = GridSearchCV(model, {"reduce__n_components": [20, 80], "classify__C": [0.01, 0.1]}, cv=folds)
search.fit(X, y)
print(search.best_params_, f"{search.best_score_:.3f}")

# %%
# 4 candidates in 5 folds are 20 fits and 20 scores. The store holds one row for each distinct image.
from embedkit import FeatureStore

print([info.rows for info in FeatureStore(store).info().fingerprints])

# %%
# The backbone is a parameter too. Each one runs once over the images; what was computed before is found again.
backbones = GridSearchCV(
    model.set_params(reduce__n_components=80, classify__C=0.01),
    [{"embed__model": [None]}, {"embed__model": ["pixels32"], "embed__weights": ["pretrained"]}],
    cv=folds,
).fit(X, y)
for parameters, score in zip(backbones.cv_results_["params"], backbones.cv_results_["mean_test_score"], strict=True):
    print(parameters["embed__model"] or "bundled", f"{score:.3f}")
