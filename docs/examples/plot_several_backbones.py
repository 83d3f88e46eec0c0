"""
Several backbones and several views
===================================

What one network overlooks another may see. :func:`~embedkit.estimators.fuse` puts their features side by side and names
the columns; :class:`~embedkit.estimators.ViewAverage` averages what one network makes of several crops.
"""

# %%
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit import ImageEmbedder
from embedkit.estimators import ViewAverage, fuse

digits = load_digits()
X, y = digits.images[:300] / 16, digits.target[:300]

bundled = ImageEmbedder()
pixels = ImageEmbedder("pixels32")
closer = ImageEmbedder(preprocess={"crop_pct": 1.15})

# %%
# Each is scaled to unit length first, so that none outweighs the others by its scale.
both = fuse({"bundled": bundled, "pixels": pixels}, normalize=True)
print(both.fit(X).get_feature_names_out()[[0, -1]])

# %%
candidates = {
    "one backbone": bundled,
    "two backbones": both,
    "two views": make_pipeline(fuse({"whole": bundled, "closer": closer}), ViewAverage(2, normalize=True)),
}
for name, features in candidates.items():
    model = make_pipeline(features, StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    print(f"{name:14} {cross_val_score(model, X, y, cv=3).mean():.3f}")
