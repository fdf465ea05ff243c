# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A C handle that a Python object owns."""

import ctypes
import weakref

from ._error import check


class Handle:
    """Lets its C handle go when it is closed, or with its last reference; what it stands on goes later."""

    def __init__(self, pointer, free, *stands_on):
        self._pointer = pointer
        # The finalizer keeps what this stands on, so a model outlives all that uses its kernel, in a garbage cycle too.
        self._finalizer = weakref.finalize(self, lambda pointer, _: free(pointer), pointer, stands_on)

    @property
    def _handle(self):
        if self._pointer is None:
            raise ValueError(f"{type(self).__name__} is closed")
        return self._pointer

    def _gone(self):
        """The C handle is no more, or somebody else's."""
        self._finalizer.detach()
        self._pointer = None

    @property
    def closed(self):
        """Whether it has been closed."""
        return self._pointer is None

    def close(self):
        """Lets it go. Closing twice is fine."""
        self._pointer = None
        self._finalizer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def make(kind, create, *arguments):
    """The handle that a call gives through its last argument."""
    pointer = ctypes.POINTER(kind)()
    check(create(*arguments, ctypes.byref(pointer)))
    return pointer


def options(kind, **members):
    """A struct of options with its size."""
    return kind(size=ctypes.sizeof(kind), **members)
