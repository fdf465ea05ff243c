# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Memory by IOVA, as a device sees it."""

import ctypes

from . import _abi
from ._error import check, encode, lib
from ._handle import Handle, make


class Reader(Handle):
    """Copies from and to IOVAs, as a device that reads and writes. One thread at a time."""

    def __init__(self, space, label="reader"):
        super().__init__(make(_abi.iommufd_reader, lib.iommufd_reader_create, space._handle, encode(label)),
                         lib.iommufd_reader_free, space)

    def read(self, iova, length):
        """The bytes at an IOVA. EFAULT: not all of them are mapped, or may be read."""
        buffer = ctypes.create_string_buffer(length)
        check(lib.iommufd_reader_read(self._handle, iova, buffer, length))
        return buffer.raw

    def write(self, iova, data):
        """Writes bytes at an IOVA. EFAULT: as read(); nothing is written then."""
        data = bytes(data)
        check(lib.iommufd_reader_write(self._handle, iova, data, len(data)))
