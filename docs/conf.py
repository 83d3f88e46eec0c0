"""Sphinx: `pip install '.[docs]' && sphinx-build -W docs docs/_build`.

Tutorials are executed on real photos where `../shared` (or EMBEDKIT_TEST_ASSETS) has them, else on drawn patterns,
and say which.
"""

import os
import tempfile

import embedkit

project = "embedkit"
author = "The embedkit developers"
copyright = "2026, The embedkit developers"
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
html_theme = "pydata_sphinx_theme"
html_extra_path = ["pages"] if os.path.isdir(os.path.join(os.path.dirname(__file__), "pages")) else []  # `make pages`
# The gallery is written to docs/gallery from docs/examples, the tutorials to docs/learn from docs/tutorials.
exclude_patterns = [
    "_build",
    "pages",
    "design/README.md",
    "examples",
    "tutorials",
    "gallery/*.ipynb",
    "gallery/*.py",
    "learn/*.ipynb",
    "learn/*.py",
]
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
myst_heading_anchors = 3
nitpicky = False
assert embedkit.__all__

# What is executed while the pages are built does not go to the store of whoever builds them.
os.environ["EMBEDKIT_STORE"] = tempfile.mkdtemp(prefix="embedkit-gallery-")
sphinx_gallery_conf = {
    "examples_dirs": ["tutorials", "examples"],
    "gallery_dirs": ["learn", "gallery"],
    "filename_pattern": r"plot_",
    "ignore_pattern": r"at_hand\.py",
    "reset_modules": (),
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
}
