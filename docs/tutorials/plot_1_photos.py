"""
A folder of labelled photos
===========================

You have photos in folders, a folder a class, and want to know how well a computer can tell them apart, and a file
that does it. Everything here is typed in a terminal; Python only shows pictures.
"""

# %%
# The photos
# ----------
# First folders named like splits (``train``, ``test``) are splits, the folders in them are classes. With folders of
# classes alone, embedkit cross-validates.
from at_hand import embedkit, here, photos

print(photos())

# %%
import matplotlib.pyplot as plt

from embedkit import open_source
from embedkit.plot import contact_sheet

source = open_source(here / "photos")
shown = dict(zip(source.labels, source.keys, strict=True))
_ = contact_sheet(source, list(shown.values()), captions={key: label for label, key in shown.items()})
plt.show()

# %%
# How good is it?
# ---------------
# Two words. The first line says it; the table says by what, beside *floors*: what is reached without any learned
# features. Only what stands clearly above its floors was learned from photos.
_ = embedkit("probe photos/ -o photos.json --report photos.html")

# %%
# ``photos.html`` is a page with charts and thumbnails, to look at or to send. ``photos.json`` holds the outcome of
# each photo: nothing has to be fitted again to see which are mixed up,
from embedkit import load_result
from embedkit.plot import confusion

report = load_result(here / "photos.json")
_ = confusion(report)
plt.show()

# %%
# and which photos were named wrong, the surest mistakes first.
best = report.results[report.recommended]
_ = contact_sheet(here / "photos", best.rows, most=12)
plt.show()

# %%
# How many labels does it need?
# -----------------------------
# Each point is drawn several times, from other training photos.
_ = embedkit("probe photos/ --shots 1,2,4,8 -o curve.json")

# %%
from embedkit.plot import curve

_ = curve(load_result(here / "curve.json"))
plt.show()

# %%
# Use it
# ------
# ``fit`` takes the estimator that was recommended: chosen on training photos, not by the tested ones. The model file
# holds a scikit-learn pipeline and no network; it refuses to predict with another one.
_ = embedkit(f"fit photos/ --estimator {best.estimator} -o model.skops")

# %%
import os

(here / "new").mkdir()
for place, key in enumerate(key for key in source.keys if key.startswith("test/")):
    if place % 20 == 0:
        os.link(here / "photos" / key, here / f"new/{place:03d}{os.path.splitext(key)[1]}")
_ = embedkit("predict model.skops new/ -o predicted.csv --top 2")

# %%
# Another backbone?
# -----------------
# ``embedkit models`` lists those at hand, and those that pay by their published accuracy; ``embedkit compare photos/
# --model auto`` measures them on your photos and ranks what a paired test tells apart.
_ = embedkit("models")
