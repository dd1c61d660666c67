# SPDX-License-Identifier: Apache-2.0
"""Keep other people's warnings back, in any number of threads at once."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

__all__ = ["quiet"]


class _Silence:
    """How many threads want no warnings, and the filters from before the first of them."""

    lock = threading.Lock()
    n_threads = 0
    before = warnings.catch_warnings()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings back.

    The filters are the whole process's. Were each thread to put back those that it found, the last
    could put back another's silence, for good.
    """
    with _Silence.lock:
        if not _Silence.n_threads:
            _Silence.before = warnings.catch_warnings()
            _Silence.before.__enter__()
            warnings.simplefilter("ignore")
        _Silence.n_threads += 1
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.n_threads -= 1
            if not _Silence.n_threads:
                _Silence.before.__exit__(None, None, None)
