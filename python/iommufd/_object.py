# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The iommufd object: one /dev/iommu, shared by id, its users counted."""

import enum

from . import _abi
from ._error import check, encode, lib, text_of
from ._handle import Handle, make, options
from ._model import kernel_of
from ._space import Space
from ._vdpa import VdpaDevice
from ._vfio import VfioDevice


class Accounting(enum.IntEnum):
    """Against what the pages count that this process maps."""

    NONE = _abi.IOMMUFD_ACCOUNTING_NONE
    PER_USER = _abi.IOMMUFD_ACCOUNTING_PER_USER
    PER_PROCESS = _abi.IOMMUFD_ACCOUNTING_PER_PROCESS


class Iommufd(Handle):
    """The object. Without `path` and `fd` it opens /dev/iommu for its first VFIO device, and closes it after the last.

    id      named by errors
    path    opened now, and kept
    fd      somebody else's; the object works with a duplicate
    kernel  a Model, or None: the machine's own
    """

    def __init__(self, id="iommufd0", *, path=None, fd=None, kernel=None):
        how = options(_abi.iommufd_options, id=encode(id), path=encode(path), kernel=kernel_of(kernel))
        if fd is None:
            pointer = make(_abi.iommufd_object, lib.iommufd_open, how)
        else:
            pointer = make(_abi.iommufd_object, lib.iommufd_open_fd, fd, how)
        super().__init__(pointer, lib.iommufd_free, kernel)
        self._kernel = kernel

    def close(self):
        """Ends the object. EBUSY while something uses it; then it stays."""
        if not self.closed:
            check(lib.iommufd_close(self._handle))
            self._gone()

    def __exit__(self, *_):
        Handle.close(self)

    @property
    def id(self):
        """Its id."""
        return lib.iommufd_id(self._handle).decode()

    def fileno(self):
        """The descriptor, borrowed. ENOTCONN: the node isn't open."""
        return check(lib.iommufd_fd(self._handle))

    def users(self):
        """Those that use it: ["vfio-pci 0000:02:00.0"]."""
        return text_of(lib.iommufd_users, self._handle).splitlines()

    def accounting(self):
        """Against what pages count that this process maps now."""
        return Accounting(check(lib.iommufd_get_accounting(self._handle)))

    def has(self, operation):
        """Whether the kernel has an ioctl: "IOMMU_IOAS_MAP_FILE"."""
        return check(lib.iommufd_has(self._handle, operation.encode())) == 1

    def space(self, id="space", *, small_pages=False):
        """An I/O address space: see Space."""
        return Space(self, id=id, small_pages=small_pages)

    def vfio(self, where=None, *, fd=None, name=None, vf_token=None, dma_bits=0):
        """Opens and binds a VFIO device: see VfioDevice."""
        return VfioDevice(self, where, fd=fd, name=name, vf_token=vf_token, dma_bits=dma_bits)

    def vdpa(self, path=None, *, fd=None):
        """Opens a vhost-vdpa device: see VdpaDevice."""
        return VdpaDevice(path, fd=fd, iommufd=self)
