"""
Photos beside tabular columns
=============================

A data frame may hold the paths of photos beside other columns. ``ColumnTransformer`` sends each column where it
belongs: the paths through a network, the rest through the usual encoders.
"""

# %%
# Photos of fruit, more or less, and the shop that sells it.
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

folder = Path(tempfile.mkdtemp())
random = np.random.default_rng(0)
kinds = {"lemon": (230, 210, 40), "lime": (90, 190, 50), "plum": (110, 40, 110)}
rows = []
for number in range(90):
    kind = list(kinds)[number % 3]
    image = Image.new("RGB", (64, 64), (int(random.integers(170, 256)),) * 3)
    left, top = random.integers(4, 24, 2).tolist()
    ImageDraw.Draw(image).ellipse((left, top, left + 36, top + 36), fill=kinds[kind])
    image.save(folder / f"{number:02d}.png")
    rows.append({"photo": f"{number:02d}.png", "shop": random.choice(["north", "south"]), "kind": kind})
frame = pd.DataFrame(rows)
# Lemons and limes are dearer in the south.
frame["dear"] = (frame["shop"] == "south") & (frame["kind"] != "plum")
frame.head(3)

# %%
# The photo says what it is, the shop says where: neither alone tells whether the fruit is dear.
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVC

from embedkit import ImageEmbedder

embedder = ImageEmbedder("colour-histogram", root=folder)
photo = ("photo", make_pipeline(embedder, PCA(4, whiten=True, random_state=0)), "photo")
shop = ("shop", OneHotEncoder(), ["shop"])
for name, columns in (("photo", [photo]), ("shop", [shop]), ("both", [photo, shop])):
    model = make_pipeline(ColumnTransformer(columns), SVC(C=10))
    print(f"{name:6} {cross_val_score(model, frame, frame['dear'], cv=5).mean():.2f}")

# %%
# Columns have names on the way out.
print(ColumnTransformer([photo, shop]).fit(frame).get_feature_names_out())

# %%
# The fitted pipeline is kept in one small file, without the weights of networks. What it takes is a table, in Python a
# frame, for ``embedkit predict model.skops new.csv`` a file with these columns.
from embedkit import load_model, predict, save_model

save_model(model.fit(frame, frame["dear"]), folder / "model.skops")
print(load_model(folder / "model.skops").pipeline.predict(frame[:4]))

frame[:4].to_csv(folder / "new.csv", index=False)
predict(folder / "model.skops", folder / "new.csv").predictions
