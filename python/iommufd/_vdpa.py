# SPDX-License-Identifier: Apache-2.0 OR MIT
"""vDPA devices that the kernel hands to this process."""

import ctypes

from . import _abi
from ._error import check, encode, lib
from ._handle import Handle, make, options
from ._model import kernel_of


class VdpaDevice(Handle):
    """/dev/vhost-vdpa-N, by path or by a descriptor, which stays the caller's. It counts as a user of `iommufd`, if given."""

    def __init__(self, path=None, *, fd=None, iommufd=None, kernel=None):
        if (path is None) == (fd is None):
            raise TypeError("either path or fd")
        how = options(_abi.iommufd_vdpa_options, kernel=kernel_of(kernel))
        owner = None if iommufd is None else iommufd._handle
        if fd is None:
            pointer = make(_abi.iommufd_vdpa, lib.iommufd_vdpa_open, owner, encode(path), how)
        else:
            pointer = make(_abi.iommufd_vdpa, lib.iommufd_vdpa_open_fd, owner, fd, how)
        super().__init__(pointer, lib.iommufd_vdpa_free, iommufd, kernel)

    def attach(self, space):
        """Lets it reach what the space maps."""
        check(lib.iommufd_vdpa_attach(self._handle, space._handle))

    def detach(self):
        """Takes it out of its space. EINVAL: it is in none."""
        check(lib.iommufd_vdpa_detach(self._handle))

    @property
    def name(self):
        """"vhost-vdpa /dev/vhost-vdpa-0"."""
        return lib.iommufd_vdpa_name(self._handle).decode()

    def fileno(self):
        """Its descriptor, borrowed."""
        return check(lib.iommufd_vdpa_fd(self._handle))

    def info(self):
        """What the kernel says of it, by name: backend_features, iovas (first, last), device_id, uses_addresses."""
        info = options(_abi.iommufd_vdpa_info)
        check(lib.iommufd_vdpa_get_info(self._handle, ctypes.byref(info)))
        return {"backend_features": info.backend_features, "iovas": (info.iovas.first, info.iovas.last),
                "device_id": info.device_id, "uses_addresses": bool(info.uses_addresses)}

    @property
    def features(self):
        """Virtio's feature bits: read, those that it offers; set, those that its driver takes."""
        features = ctypes.c_uint64()
        check(lib.iommufd_vdpa_features(self._handle, ctypes.byref(features)))
        return features.value

    @features.setter
    def features(self, features):
        check(lib.iommufd_vdpa_set_features(self._handle, features))

    @property
    def status(self):
        """The virtio status, whose bits can only be added; reset() takes them away."""
        return check(lib.iommufd_vdpa_status(self._handle))

    @status.setter
    def status(self, status):
        check(lib.iommufd_vdpa_set_status(self._handle, status))

    def reset(self):
        """Stops it and forgets queues and features. What is mapped stays mapped."""
        check(lib.iommufd_vdpa_reset(self._handle))

    def suspend(self):
        """Stops all queues at a request's border."""
        check(lib.iommufd_vdpa_suspend(self._handle))

    def resume(self):
        """Goes on after suspend()."""
        check(lib.iommufd_vdpa_resume(self._handle))

    def read_config(self, offset, length):
        """Bytes of the device's configuration."""
        buffer = ctypes.create_string_buffer(length)
        check(lib.iommufd_vdpa_read_config(self._handle, offset, buffer, length))
        return buffer.raw

    def write_config(self, offset, data):
        """Writes bytes of the device's configuration."""
        data = bytes(data)
        check(lib.iommufd_vdpa_write_config(self._handle, offset, data, len(data)))

    def queue_count(self):
        """How many queues there are."""
        return check(lib.iommufd_vdpa_queue_count(self._handle))

    def max_queue_size(self):
        """The most entries of a queue."""
        return check(lib.iommufd_vdpa_max_queue_size(self._handle))

    def start_queue(self, index, *, entries, descriptors, available, used, base=0, kick=None, call=None):
        """Sets a queue up at three IOVAs and enables it; kick and call are eventfds, the caller's."""
        queue = options(
            _abi.iommufd_vdpa_queue, descriptors=descriptors, available=available, used=used, base=base, entries=entries,
            kick=-1 if kick is None else kick, call=-1 if call is None else call)
        check(lib.iommufd_vdpa_start_queue(self._handle, index, queue))

    def queue_base(self, index):
        """Where a suspended device stands."""
        base = ctypes.c_uint32()
        check(lib.iommufd_vdpa_queue_base(self._handle, index, ctypes.byref(base)))
        return base.value
