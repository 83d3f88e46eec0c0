from __future__ import annotations

import pickle
import threading
import warnings

import pytest
import sklearn.utils.parallel

from embedkit.images.quiet import quiet


def warn() -> None:
    warnings.warn("text", RuntimeWarning, stacklevel=2)


def test_this_thread_is_quiet_inside_only():
    with pytest.raises(RuntimeWarning):  # the suite runs with warnings as errors
        warn()
    with quiet():
        warn()
        with quiet():
            warn()
        warn()
    with pytest.raises(RuntimeWarning):
        warn()


def test_an_error_ends_the_quiet():
    with pytest.raises(ZeroDivisionError), quiet():
        raise ZeroDivisionError
    with pytest.raises(RuntimeWarning):
        warn()


def test_filters_set_afterwards_do_not_matter():
    with quiet():
        warn()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet():
            warn()
        with pytest.raises(RuntimeWarning):
            warn()


def test_other_threads_are_heard_meanwhile():
    heard = []

    def other():
        try:
            warn()
        except RuntimeWarning:
            heard.append("error")

    with quiet():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert heard == ["error"]


def test_the_filters_travel_to_worker_processes():
    with quiet():
        filters = pickle.loads(pickle.dumps(list(warnings.filters)))
        assert filters[0] == warnings.filters[0]


def test_scikit_learn_can_build_the_filters_anew():
    with quiet():
        pass
    delayed, parallel = sklearn.utils.parallel.delayed, sklearn.utils.parallel.Parallel

    def loud() -> None:
        with quiet():
            warn()
        warn()

    with pytest.raises(RuntimeWarning):
        parallel(n_jobs=1)([delayed(loud)()])
