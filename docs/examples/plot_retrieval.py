"""
Finding similar images
======================

Features of similar images lie close to each other. A nearest-neighbour search over them is image retrieval.
"""

# %%
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from embedkit import ImageEmbedder

digits = load_digits()
images, labels = digits.images[:500] / 16, digits.target[:500]
collection, queries = images[:450], images[450:]

# %%
# Standardised features of unit length: their distance is the angle between them.
embed = make_pipeline(ImageEmbedder(), StandardScaler(), Normalizer())
index = NearestNeighbors(n_neighbors=5).fit(embed.fit_transform(collection))
distances, found = index.kneighbors(embed.transform(queries))

# %%
# How many of the five nearest show the same digit? One in ten would by chance.
same = labels[found] == labels[450:, None]
print(f"{same.mean():.2f} of the neighbours, {same[:, 0].mean():.2f} of the nearest")
for query in range(3):
    print(f"a {labels[450 + query]}: nearest are {labels[found[query]].tolist()}")
