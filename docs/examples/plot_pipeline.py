"""
Images at the front of a pipeline
=================================

:class:`~embedkit.ImageEmbedder` is a transformer like any other: images go in, features come out. Here a frozen network
and a linear classifier read handwritten digits.
"""

# %%
# The digits that ship with scikit-learn are 8 x 8 grey values from 0 to 16. Arrays of floats are images where they lie
# between 0 and 1.
from sklearn.datasets import load_digits

digits = load_digits()
X, y = digits.images[:400] / 16, digits.target[:400]
print(X.shape, X.dtype)

# %%
# Without a name it is the bundled backbone, trained on ImageNet, which needs no download.
# ``ImageEmbedder("resnet50.a1_in1k")`` is another one of timm's.
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit import ImageEmbedder

model = make_pipeline(ImageEmbedder(), StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
model.fit(X_train, y_train)
print(f"accuracy {model.score(X_test, y_test):.3f}")

# %%
# The features lie in a store from now on: another fit, another process or another day finds them there, and runs no
# network. A fitted pipeline carries no weights of it either, and is small.
import pickle

print(f"{len(pickle.dumps(model)) / 1000:.0f} KB")
model
