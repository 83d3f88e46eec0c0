"""Python source that makes the import of some modules an error, for processes that must do without them."""

from __future__ import annotations


def blocking(names: tuple[str, ...]) -> str:
    # A None in sys.modules would do for imports, but SciPy looks there for torch without importing it.
    return (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {names!r}: raise ImportError(f'{{name}} must not be imported here')\n"
        "sys.meta_path.insert(0, Blocked())\n"
    )
