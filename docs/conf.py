"""Sphinx: `pip install '.[docs]' && sphinx-build -W docs docs/_build`."""

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
# The gallery is written to docs/gallery from docs/examples.
exclude_patterns = ["_build", "pages", "design/README.md", "examples", "gallery/*.ipynb", "gallery/*.py"]
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
myst_heading_anchors = 3
nitpicky = False
assert embedkit.__all__

# The examples are run when the pages are built; what they embed does not go to the store of whoever builds them.
os.environ["EMBEDKIT_STORE"] = tempfile.mkdtemp(prefix="embedkit-gallery-")
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "image_scrapers": (),  # the examples print; they need no matplotlib
    "reset_modules": (),
    "abort_on_example_error": True,
    "within_subsection_order": "ExampleTitleSortKey",
    "download_all_examples": False,
}
