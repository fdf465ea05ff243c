# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Failures as exceptions, and the library that they come from."""

import ctypes
import errno as errnos
import os

from . import _abi


def load(soname, functions, package):
    """A library with its functions typed; OSError names the package that is missing."""
    try:
        library = ctypes.CDLL(soname)
    except OSError as error:
        raise ImportError(f"cannot load {soname}: {error}; install the package {package}") from error
    for name, (result, arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


lib = load("libiommufd-c.so.1", _abi.FUNCTIONS, "libiommufd-c1")


class IommufdError(OSError):
    """What the library or the kernel refused."""

    #: "cannot map 0x40000000+0x200000 (memory 'ram0') into ioas 3 of 'iommufd0'"
    what = ""
    #: The likely cause.
    cause = ""
    #: What to do.
    next_step = ""
    #: The system call or ioctl that failed, "IOMMU_IOAS_MAP"; "refused" where the library itself said no.
    operation = ""

    def __str__(self):
        return f"{self.what}: {errnos.errorcode.get(self.errno, self.errno)} ({self.cause}); {self.next_step}"


def _text(pointer):
    return pointer.decode(errors="replace")


def check(result):
    """The result of a call, unless it is a failure."""
    if result >= 0:
        return result
    error = IommufdError(-result, os.strerror(-result))
    error.what = _text(lib.iommufd_error_what())
    error.cause = _text(lib.iommufd_error_cause())
    error.next_step = _text(lib.iommufd_error_next_step())
    error.operation = _text(lib.iommufd_error_operation())
    raise error


def text_of(function, *arguments):
    """What a call that writes text as snprintf does writes."""
    length = check(function(*arguments, None, 0))
    while True:
        buffer = ctypes.create_string_buffer(length + 1)
        needed = check(function(*arguments, buffer, len(buffer)))
        if needed <= length:
            return _text(buffer.value)
        length = needed  # more has come meanwhile


def list_of(kind, function, *arguments):
    """What a call that fills an array fills."""
    count = check(function(*arguments, None, 0))
    while True:
        array = (kind * count)()
        there = check(function(*arguments, array, count))
        if there <= count:
            return array[:there]
        count = there


def encode(text):
    """A string, or a path, as C has it."""
    return None if text is None else os.fsencode(text)


def explain(operation, errno):
    """What an errno of an operation most likely means, and what to do: explain("IOMMU_IOAS_MAP", errno.ENOMEM)."""
    cause, next_step = ctypes.c_char_p(), ctypes.c_char_p()
    check(lib.iommufd_explain(operation.encode(), errno, ctypes.byref(cause), ctypes.byref(next_step)))
    return _text(cause.value), _text(next_step.value)


def version():
    """The library's version: "0.1.0"."""
    return _text(lib.iommufd_version())
