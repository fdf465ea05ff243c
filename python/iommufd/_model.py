# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A machine with /dev/iommu and devices, played in this process, for tests."""

import functools

from . import _abi
from ._error import check, encode, load, text_of
from ._handle import Handle, make


@functools.cache
def _lib():
    return load("libiommufd-model-c.so.1", _abi.MODEL_FUNCTIONS, "libiommufd-model")


class Model(Handle):
    """A model kernel: Model("devices=edu,vdpa-blk:size=64M"), as `iommufd run --model` takes it; None: one of each kind.

    It lives as long as what uses it, also when it is closed earlier.
    """

    def __init__(self, description=None):
        super().__init__(make(_abi.iommufd_model, _lib().iommufd_model_create, encode(description)),
                         _lib().iommufd_model_free)

    @property
    def _kernel(self):
        return _lib().iommufd_model_kernel(self._handle)

    def close(self):
        """Does nothing: the machine goes after the last that uses it."""

    def devices(self):
        """Its devices: (kind, name, node)."""
        return [tuple(line.split(" ")) for line in text_of(_lib().iommufd_model_devices, self._handle).splitlines()]

    def leaks(self):
        """What has not been given back: "2 descriptors, 1 mapping"; "" if nothing."""
        return text_of(_lib().iommufd_model_leaks, self._handle)

    @property
    def blocked_dma(self):
        """How many DMAs reached for memory that wasn't mapped for them."""
        return _lib().iommufd_model_blocked_dma(self._handle)

    def request_device(self, name):
        """Asks the owner of a VFIO device to give it back, by VfioDevice.request_fd."""
        check(_lib().iommufd_model_request_device(self._handle, name.encode()))


def kernel_of(model):
    """Null, the machine's own, for None."""
    return None if model is None else model._kernel
