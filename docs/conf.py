"""Sphinx: `pip install '.[docs]' && sphinx-build -W docs docs/_build`."""

import embedkit

project = "embedkit"
author = "The embedkit developers"
copyright = "2026, The embedkit developers"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_parser"]
html_theme = "pydata_sphinx_theme"
exclude_patterns = ["_build", "design/README.md"]
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
myst_heading_anchors = 3
nitpicky = False
assert embedkit.__all__
