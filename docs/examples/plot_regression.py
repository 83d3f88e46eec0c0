"""
From images to numbers
======================

Nothing in a pipeline asks for classes. Here a network and a ridge regression measure how large a disc is.
"""

# %%
# Discs of any size, place and brightness on a noisy background.
import numpy as np

random = np.random.default_rng(0)
rows, columns = np.mgrid[:64, :64]
radius = random.uniform(5, 25, 300)
images = random.integers(0, 100, (300, 64, 64), dtype=np.uint8)
for image, size in zip(images, radius, strict=True):
    middle = random.uniform(26, 38, 2)
    image[(rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < size**2] += random.integers(80, 150, dtype=np.uint8)
print(images.shape, images.dtype)

# %%
# Arrays of shape (n, height, width) are grey images. The target is standardised for the fit, and comes back in pixels.
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit import ImageEmbedder

ridge = make_pipeline(ImageEmbedder(), StandardScaler(), Ridge(100.0))
models = {
    "ridge": TransformedTargetRegressor(ridge, transformer=StandardScaler()),
    "always the mean": DummyRegressor(),
}
for name, model in models.items():
    # The dummy does not look at X, whatever it is.
    errors = -cross_val_score(model, images, radius, cv=5, scoring="neg_mean_absolute_error")
    print(f"{name:16} mean error {errors.mean():.1f} pixels")
