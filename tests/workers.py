"""Worker processes of joblib that belong to one test alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from joblib.externals.loky import get_reusable_executor


@pytest.fixture
def fresh_workers() -> Iterator[None]:
    """Start with no workers and leave none.

    joblib keeps its workers from one test to the next, and where psutil is installed it takes the import of torch in
    one that has worked before for a leak of memory: it ends that worker with a warning, and a warning that is an error
    in joblib's own thread leaves the test waiting for ever.
    """
    get_reusable_executor().shutdown(wait=True)
    yield
    get_reusable_executor().shutdown(wait=True)
