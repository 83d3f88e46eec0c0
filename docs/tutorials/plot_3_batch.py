"""
Very many images, and no terminal
=================================

You want features of millions of images on disk, from several machines, resumable, with logs that a program reads.
Here are a few hundred on one machine; nothing else is different.
"""

# %%
from at_hand import embedkit, here, photos

print(photos())

# %%
# What would it take?
# -------------------
# Nothing is written; a few images are tried.
_ = embedkit("extract photos/ --dry-run")

# %%
# A plan
# ------
# The plan lists the images and settles what ``auto`` means, once, for everybody. All workers share the folder of the
# store.
_ = embedkit("extract photos/ --store shared-store --plan plan.json --units 3")

# %%
# ``--status`` ends with exit code 4 while work is left, so that a script can wait for it.
code = embedkit("extract --status plan.json")
print("exit code", code)

# %%
# Units, anywhere, in any order
# -----------------------------
# A scheduler runs one a task. ``--log-format json`` makes an object of each line on stderr.
for unit in (1, 3):
    embedkit(f"extract --plan plan.json --unit {unit}/3 --log-format json")

# %%
_ = embedkit("extract --status plan.json")

# %%
# A unit that runs twice computes nothing twice, and a unit that was killed goes on where its last commit was.
for unit in (1, 2):
    embedkit(f"extract --plan plan.json --unit {unit}/3")

# %%
# Under Slurm, the array is written for you:
_ = embedkit("slurm plan.json --partition gpu --gpu")

# %%
# The table
# ---------
# One HDF5 file, complete by itself.
_ = embedkit("extract --plan plan.json -o photos.h5")

# %%
_ = embedkit("info photos.h5")

# %%
# Any HDF5 reader opens it,
import h5py

with h5py.File(here / "photos.h5") as file:
    print({name: item.shape for name, item in file.items() if isinstance(item, h5py.Dataset)})

# %%
# embedkit reads it as X, y, keys, splits and more,
from embedkit import FeatureTable

table = FeatureTable.open(here / "photos.h5")
print(table.X.shape, table.X.dtype, table.y[:3], table.keys[:2])

# %%
# and other tools get what they want (:doc:`/other-tools`).
_ = embedkit("export photos.h5 -o photos.npz")

# %%
# Which images look alike? The cosines of the test photos, class by class:
import matplotlib.pyplot as plt
import numpy as np

test = table.select(split="test")
order = np.argsort(test.y, kind="stable")
unit_length = test.X[order] - test.X.mean(axis=0)
unit_length /= np.linalg.norm(unit_length, axis=1, keepdims=True)
figure, axes = plt.subplots(figsize=(5, 4.5))
shown = axes.imshow(unit_length @ unit_length.T, vmin=-0.2, vmax=1, cmap="magma")
classes, first = np.unique(test.y[order], return_index=True)
axes.set_yticks(first, classes, fontsize=6)
axes.set_xticks([])
figure.colorbar(shown, label="cosine, after taking off the mean")
plt.show()
