"""What differs between the releases of scikit-learn that embedkit runs on (1.6 and up).

`can_dispatch` is the one difference that the library meets: `validate_data`, `__sklearn_tags__` and
`parametrize_with_checks` with expected failures are the same from 1.6 on, and `penalty=None`, which 1.8 deprecates for
`C=np.inf`, is not used. The comparisons with scikit-learn's own numbers need to know the release:
`LinearDiscriminantAnalysis(solver="svd")` divides the covariance by n - n_classes before 1.9 and by n from then on. The
tests of all that meets scikit-learn run at both ends: `.ci/floor` runs them on 1.6, with SciPy and NumPy of its time.

Layer: below every room. Imports scikit-learn.
"""

from __future__ import annotations

import html
from typing import Any, cast

import sklearn


def sklearn_release() -> tuple[int, int]:
    """Return the major and minor number of scikit-learn's release."""
    major, minor = sklearn.__version__.split(".")[:2]
    return int(major), int(minor)


class SettledHTML:
    """Shows in a notebook, above scikit-learn's own picture of an embedder, what its features are.

    Release 1.6 and later ones make that picture by other names; these two methods are common to all.
    """

    @property
    def _facts(self) -> list[tuple[str, object]]:
        given: Any = self
        spec: Any = getattr(self, "spec_", None)
        model = given.model if isinstance(given.model, str) else getattr(given.model, "__qualname__", given.model)
        facts: list[tuple[str, object]] = [("model", model or "the bundled backbone"), ("weights", given.weights)]
        if spec is None:
            return [*facts, ("settled", "by fit: precision, engine, width, fingerprint")]
        backbone = spec.backbone
        return [
            ("model", model or backbone.architecture),
            ("weights", f"{given.weights}, {backbone.weights[:23]}"),
            ("features", f"{backbone.width} an image, stored as {spec.dtype}"),
            ("computed by", f"{backbone.engine} {backbone.precision}"),
            ("fingerprint", spec.fingerprint[:16]),
            ("store", given.store or "the user's"),
        ]

    def _repr_html_inner(self) -> str:
        return self._repr_mimebundle_()["text/html"]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from sklearn.utils import estimator_html_repr  # pyright: ignore[reportUnknownVariableType]

        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>" for name, value in self._facts
        )
        drawn = estimator_html_repr(cast(Any, self))
        return {"text/plain": repr(self), "text/html": f"<table><tbody>{rows}</tbody></table>{drawn}"}


def can_dispatch() -> bool:
    """Say whether this scikit-learn can dispatch to arrays of other libraries, whatever SciPy's settings.

    Release 1.6 wants array-api-compat for it, which later ones bring along.
    """
    try:
        with cast(Any, sklearn).config_context(array_api_dispatch=True):
            return True
    except ImportError:
        return False
    except RuntimeError:  # SCIPY_ARRAY_API is not set, which is told apart elsewhere
        return True
