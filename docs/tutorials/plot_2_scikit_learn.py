"""
Images at the front of a scikit-learn pipeline
==============================================

:class:`~embedkit.ImageEmbedder` is a transformer as any other. What is special about it: an image goes through the
network once, ever, however many folds, grids and processes ask for it.
"""

# %%
from at_hand import here, photos

print(photos())

# %%
# X is paths, y is labels; :func:`~embedkit.open_source` reads both from a folder, and you may bring your own.
import numpy as np

from embedkit import open_source

source = open_source(here / "photos")
paths, labels, split = np.array(source.images), np.array(source.labels), np.array(source.split)
train, test = split == "train", split == "test"
print(f"{train.sum()} photos to train on, {test.sum()} to test on, {len(set(labels))} classes")

# %%
# A pipeline
# ----------
# Without a name it is the bundled backbone; ``ImageEmbedder("resnet50.a1_in1k")`` is another one of timm's.
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit import ImageEmbedder

pipeline = make_pipeline(ImageEmbedder(), StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
pipeline.fit(paths[train], labels[train])
print(f"accuracy {pipeline.score(paths[test], labels[test]):.3f}")

# %%
# In a notebook the embedder says what it has settled:
pipeline[0]

# %%
# A grid search, five folds, no forward pass
# ------------------------------------------
# The features are in the store by now. Five candidates and five folds take 26 fits and not a single pass through the
# network.
import time

from sklearn.model_selection import GridSearchCV

grid = {"logisticregression__C": np.logspace(-4, 0, 5)}
search = GridSearchCV(pipeline, grid, cv=5)
started = time.perf_counter()
search.fit(paths[train], labels[train])
print(f"{search.best_params_}, {search.best_score_:.3f} in cross-validation, {time.perf_counter() - started:.1f} s")
print(f"accuracy on the test photos {search.score(paths[test], labels[test]):.3f}")

# %%
# .. note:: A number that was used for choosing flatters. The last line is on photos that chose nothing.

# %%
import matplotlib.pyplot as plt

scores = search.cv_results_
figure, axes = plt.subplots(figsize=(6, 3.5))
axes.errorbar(grid["logisticregression__C"], scores["mean_test_score"], scores["std_test_score"], fmt="o-", capsize=3)
axes.set(xscale="log", xlabel="C", ylabel="accuracy in cross-validation (deviation over folds)")
plt.show()

# %%
# Features as a matrix
# --------------------
# ``transform`` returns NumPy, float32, a row an image, in the order that was asked for; anything of scikit-learn's
# takes it from there.
from sklearn.decomposition import PCA

X = ImageEmbedder().fit_transform(paths)
print(X.shape, X.dtype)
flat = PCA(2).fit_transform(X)
figure, axes = plt.subplots(figsize=(6, 4.5))
for label in sorted(set(labels)):
    axes.scatter(*flat[labels == label].T, s=12, label=label)
axes.legend(fontsize=7, ncols=2)
axes.set(xlabel="first principal component", ylabel="second")
plt.show()

# %%
# Keep it
# -------
# A fitted pipeline is saved without pickle and without the weights of the network, which it knows by their digest.
from embedkit import load_model, save_model

save_model(pipeline, here / "fruit.skops")
print(f"{(here / 'fruit.skops').stat().st_size / 1e6:.1f} MB")
print(load_model(here / "fruit.skops").pipeline.predict(paths[test][:5]))
