# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The C API as ctypes has it. Made by python/generate_abi from the headers."""

# ruff: noqa: F403, F405
from ctypes import *

IOMMUFD_ACCOUNTING_NONE = 0
IOMMUFD_ACCOUNTING_PER_USER = 1
IOMMUFD_ACCOUNTING_PER_PROCESS = 2

IOMMUFD_HUGE_PAGES_STANDARD = 0
IOMMUFD_HUGE_PAGES_NEVER = 1
IOMMUFD_HUGE_PAGES_TRANSPARENT = 2
IOMMUFD_HUGE_PAGES_HUGETLB = 3

IOMMUFD_MEMORY_PRIVATE = 1
IOMMUFD_MEMORY_READ_ONLY = 2
IOMMUFD_MEMORY_PREALLOC = 4

IOMMUFD_SPACE_SMALL_PAGES = 1

IOMMUFD_MAP_AT = 1

IOMMUFD_READ = 1
IOMMUFD_WRITE = 2
IOMMUFD_READ_WRITE = 3

IOMMUFD_MAPPING_PLANNED = 0
IOMMUFD_MAPPING_MAPPED = 1
IOMMUFD_MAPPING_UNREACHED = 2
IOMMUFD_MAPPING_BUSY = 3
IOMMUFD_MAPPING_STUCK = 4

IOMMUFD_IRQ_INTX = 0
IOMMUFD_IRQ_MSI = 1
IOMMUFD_IRQ_MSIX = 2


class iommufd_kernel(Structure):
    pass


class iommufd_mapping(Structure):
    pass


class iommufd_memory(Structure):
    pass


class iommufd_model(Structure):
    pass


class iommufd_object(Structure):
    pass


class iommufd_reader(Structure):
    pass


class iommufd_region(Structure):
    pass


class iommufd_space(Structure):
    pass


class iommufd_vdpa(Structure):
    pass


class iommufd_vfio(Structure):
    pass


class iommufd_options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("id", c_char_p),
        ("path", c_char_p),
        ("kernel", POINTER(iommufd_kernel)),
    ]


class iommufd_memory_options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("label", c_char_p),
        ("flags", c_uint32),
        ("huge_pages", c_uint32),
        ("huge_page_size", c_uint64),
        ("offset", c_uint64),
        ("kernel", POINTER(iommufd_kernel)),
    ]


class iommufd_space_options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("id", c_char_p),
        ("flags", c_uint32),
        ("reserved", c_uint32),
    ]


class iommufd_map_options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("flags", c_uint32),
        ("access", c_uint32),
        ("iova", c_uint64),
        ("offset", c_uint64),
        ("length", c_uint64),
        ("granule", c_uint64),
        ("guard", c_uint64),
        ("pinned_by", POINTER(iommufd_space)),
    ]


class iommufd_range(Structure):
    _fields_ = [
        ("first", c_uint64),
        ("last", c_uint64),
    ]


class iommufd_mapped(Structure):
    _fields_ = [
        ("first", c_uint64),
        ("last", c_uint64),
        ("offset", c_uint64),
        ("granule", c_uint64),
        ("access", c_uint32),
        ("state", c_uint32),
        ("memory", c_char * 64),
    ]


class iommufd_counters(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("mapped", c_uint64),
        ("pinned", c_uint64),
        ("mapped_by_file", c_uint64),
        ("mapped_by_address", c_uint64),
        ("mapped_by_copy", c_uint64),
        ("unmapped", c_uint64),
    ]


class iommufd_vfio_options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("name", c_char_p),
        ("vf_token", c_char_p),
        ("dma_bits", c_uint32),
        ("reserved", c_uint32),
    ]


class iommufd_vfio_info(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("id", c_uint32),
        ("regions", c_uint32),
        ("interrupts", c_uint32),
        ("is_pci", c_uint8),
        ("resets", c_uint8),
        ("translated", c_uint8),
        ("reserved", c_uint8),
    ]


class iommufd_irq_info(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("count", c_uint32),
        ("eventfd", c_uint8),
        ("maskable", c_uint8),
        ("automasked", c_uint8),
        ("noresize", c_uint8),
    ]


class iommufd_mapped_area(Structure):
    _fields_ = [
        ("offset", c_uint64),
        ("size", c_uint64),
        ("address", c_void_p),
    ]


class iommufd_vdpa_options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("kernel", POINTER(iommufd_kernel)),
    ]


class iommufd_vdpa_info(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("backend_features", c_uint64),
        ("iovas", iommufd_range),
        ("device_id", c_uint32),
        ("uses_addresses", c_uint8),
        ("reserved", c_uint8 * 3),
    ]


class iommufd_vdpa_queue(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("descriptors", c_uint64),
        ("available", c_uint64),
        ("used", c_uint64),
        ("base", c_uint32),
        ("entries", c_uint16),
        ("reserved", c_uint16),
        ("kick", c_int),
        ("call", c_int),
    ]


# What a function returns, and what it takes.
FUNCTIONS = {
    "iommufd_error_text": (c_char_p, []),
    "iommufd_error_what": (c_char_p, []),
    "iommufd_error_cause": (c_char_p, []),
    "iommufd_error_next_step": (c_char_p, []),
    "iommufd_error_operation": (c_char_p, []),
    "iommufd_explain": (c_int, [c_char_p, c_int, POINTER(c_char_p), POINTER(c_char_p)]),
    "iommufd_version": (c_char_p, []),
    "iommufd_open": (c_int, [POINTER(iommufd_options), POINTER(POINTER(iommufd_object))]),
    "iommufd_open_fd": (c_int, [c_int, POINTER(iommufd_options), POINTER(POINTER(iommufd_object))]),
    "iommufd_close": (c_int, [POINTER(iommufd_object)]),
    "iommufd_free": (None, [POINTER(iommufd_object)]),
    "iommufd_id": (c_char_p, [POINTER(iommufd_object)]),
    "iommufd_fd": (c_int, [POINTER(iommufd_object)]),
    "iommufd_users": (c_int, [POINTER(iommufd_object), c_char_p, c_size_t]),
    "iommufd_get_accounting": (c_int, [POINTER(iommufd_object)]),
    "iommufd_has": (c_int, [POINTER(iommufd_object), c_char_p]),
    "iommufd_memory_memfd": (c_int, [c_uint64, POINTER(iommufd_memory_options), POINTER(POINTER(iommufd_memory))]),
    "iommufd_memory_anonymous": (c_int, [c_uint64, POINTER(iommufd_memory_options), POINTER(POINTER(iommufd_memory))]),
    "iommufd_memory_file": (c_int, [c_char_p, c_uint64, POINTER(iommufd_memory_options), POINTER(POINTER(iommufd_memory))]),
    "iommufd_memory_fd": (c_int, [c_int, c_uint64, POINTER(iommufd_memory_options), POINTER(POINTER(iommufd_memory))]),
    "iommufd_memory_dma_buf": (c_int, [c_int, c_uint64, POINTER(iommufd_memory_options), POINTER(POINTER(iommufd_memory))]),
    "iommufd_memory_borrow": (c_int, [c_void_p, c_uint64, POINTER(iommufd_memory_options), POINTER(POINTER(iommufd_memory))]),
    "iommufd_memory_free": (None, [POINTER(iommufd_memory)]),
    "iommufd_memory_data": (c_void_p, [POINTER(iommufd_memory)]),
    "iommufd_memory_size": (c_uint64, [POINTER(iommufd_memory)]),
    "iommufd_memory_file_fd": (c_int, [POINTER(iommufd_memory)]),
    "iommufd_space_create": (c_int, [POINTER(iommufd_object), POINTER(iommufd_space_options), POINTER(POINTER(iommufd_space))]),
    "iommufd_space_free": (None, [POINTER(iommufd_space)]),
    "iommufd_space_map": (c_int, [POINTER(iommufd_space), POINTER(iommufd_memory), POINTER(iommufd_map_options), POINTER(c_uint64), POINTER(POINTER(iommufd_mapping))]),
    "iommufd_space_unmap": (c_int, [POINTER(iommufd_space), c_uint64, c_uint64, c_int, POINTER(c_uint64)]),
    "iommufd_mapping_unmap": (c_int, [POINTER(iommufd_mapping), c_int]),
    "iommufd_mapping_free": (None, [POINTER(iommufd_mapping)]),
    "iommufd_mapping_leave": (None, [POINTER(iommufd_mapping)]),
    "iommufd_mapping_iova": (c_uint64, [POINTER(iommufd_mapping)]),
    "iommufd_mapping_length": (c_uint64, [POINTER(iommufd_mapping)]),
    "iommufd_mapping_state": (c_int, [POINTER(iommufd_mapping)]),
    "iommufd_mapping_remap": (c_int, [POINTER(iommufd_mapping)]),
    "iommufd_space_limits": (c_int, [POINTER(iommufd_space), POINTER(iommufd_range), c_size_t, POINTER(c_uint64)]),
    "iommufd_space_mappings": (c_int, [POINTER(iommufd_space), POINTER(iommufd_mapped), c_size_t]),
    "iommufd_space_ioas": (c_int, [POINTER(iommufd_space), POINTER(c_uint32)]),
    "iommufd_space_not_released": (c_int, [POINTER(iommufd_space), c_char_p, c_size_t]),
    "iommufd_space_retry_releases": (c_int, [POINTER(iommufd_space)]),
    "iommufd_space_get_counters": (c_int, [POINTER(iommufd_space), POINTER(iommufd_counters)]),
    "iommufd_reader_create": (c_int, [POINTER(iommufd_space), c_char_p, POINTER(POINTER(iommufd_reader))]),
    "iommufd_reader_free": (None, [POINTER(iommufd_reader)]),
    "iommufd_reader_enter": (c_int, [POINTER(iommufd_reader)]),
    "iommufd_reader_leave": (c_int, [POINTER(iommufd_reader)]),
    "iommufd_reader_translate": (c_int64, [POINTER(iommufd_reader), c_uint64, c_uint64, c_uint32, POINTER(c_void_p)]),
    "iommufd_reader_iova_of": (c_int, [POINTER(iommufd_reader), c_void_p, c_uint64, POINTER(c_uint64)]),
    "iommufd_reader_read": (c_int, [POINTER(iommufd_reader), c_uint64, c_void_p, c_uint64]),
    "iommufd_reader_write": (c_int, [POINTER(iommufd_reader), c_uint64, c_void_p, c_uint64]),
    "iommufd_vfio_open": (c_int, [POINTER(iommufd_object), c_char_p, POINTER(iommufd_vfio_options), POINTER(POINTER(iommufd_vfio))]),
    "iommufd_vfio_open_fd": (c_int, [POINTER(iommufd_object), c_int, POINTER(iommufd_vfio_options), POINTER(POINTER(iommufd_vfio))]),
    "iommufd_vfio_close": (c_int, [POINTER(iommufd_vfio)]),
    "iommufd_vfio_free": (None, [POINTER(iommufd_vfio)]),
    "iommufd_vfio_attach": (c_int, [POINTER(iommufd_vfio), POINTER(iommufd_space)]),
    "iommufd_vfio_detach": (c_int, [POINTER(iommufd_vfio)]),
    "iommufd_vfio_name": (c_char_p, [POINTER(iommufd_vfio)]),
    "iommufd_vfio_fd": (c_int, [POINTER(iommufd_vfio)]),
    "iommufd_vfio_get_info": (c_int, [POINTER(iommufd_vfio), POINTER(iommufd_vfio_info)]),
    "iommufd_vfio_enable": (c_int, [POINTER(iommufd_vfio)]),
    "iommufd_vfio_reset": (c_int, [POINTER(iommufd_vfio)]),
    "iommufd_vfio_hot_reset": (c_int, [POINTER(iommufd_vfio)]),
    "iommufd_vfio_request_fd": (c_int, [POINTER(iommufd_vfio)]),
    "iommufd_vfio_error_fd": (c_int, [POINTER(iommufd_vfio)]),
    "iommufd_vfio_get_irq_info": (c_int, [POINTER(iommufd_vfio), c_uint32, POINTER(iommufd_irq_info)]),
    "iommufd_vfio_set_irqs": (c_int, [POINTER(iommufd_vfio), c_uint32, c_uint32, POINTER(c_int), c_size_t]),
    "iommufd_vfio_disable_irqs": (c_int, [POINTER(iommufd_vfio), c_uint32]),
    "iommufd_vfio_mask_irq": (c_int, [POINTER(iommufd_vfio), c_uint32, c_uint32]),
    "iommufd_vfio_unmask_irq": (c_int, [POINTER(iommufd_vfio), c_uint32, c_uint32]),
    "iommufd_vfio_trigger_irq": (c_int, [POINTER(iommufd_vfio), c_uint32, c_uint32]),
    "iommufd_vfio_export_dma_buf": (c_int, [POINTER(iommufd_vfio), c_uint32, c_uint64, c_uint64]),
    "iommufd_vfio_region": (c_int, [POINTER(iommufd_vfio), c_uint32, POINTER(POINTER(iommufd_region))]),
    "iommufd_region_free": (None, [POINTER(iommufd_region)]),
    "iommufd_region_size": (c_uint64, [POINTER(iommufd_region)]),
    "iommufd_region_areas": (c_int, [POINTER(iommufd_region), POINTER(iommufd_mapped_area), c_size_t]),
    "iommufd_region_read8": (c_int, [POINTER(iommufd_region), c_uint64, POINTER(c_uint8)]),
    "iommufd_region_read16": (c_int, [POINTER(iommufd_region), c_uint64, POINTER(c_uint16)]),
    "iommufd_region_read32": (c_int, [POINTER(iommufd_region), c_uint64, POINTER(c_uint32)]),
    "iommufd_region_read64": (c_int, [POINTER(iommufd_region), c_uint64, POINTER(c_uint64)]),
    "iommufd_region_write8": (c_int, [POINTER(iommufd_region), c_uint64, c_uint8]),
    "iommufd_region_write16": (c_int, [POINTER(iommufd_region), c_uint64, c_uint16]),
    "iommufd_region_write32": (c_int, [POINTER(iommufd_region), c_uint64, c_uint32]),
    "iommufd_region_write64": (c_int, [POINTER(iommufd_region), c_uint64, c_uint64]),
    "iommufd_region_read": (c_int, [POINTER(iommufd_region), c_uint64, c_void_p, c_size_t]),
    "iommufd_region_write": (c_int, [POINTER(iommufd_region), c_uint64, c_void_p, c_size_t]),
    "iommufd_vdpa_open": (c_int, [POINTER(iommufd_object), c_char_p, POINTER(iommufd_vdpa_options), POINTER(POINTER(iommufd_vdpa))]),
    "iommufd_vdpa_open_fd": (c_int, [POINTER(iommufd_object), c_int, POINTER(iommufd_vdpa_options), POINTER(POINTER(iommufd_vdpa))]),
    "iommufd_vdpa_free": (None, [POINTER(iommufd_vdpa)]),
    "iommufd_vdpa_attach": (c_int, [POINTER(iommufd_vdpa), POINTER(iommufd_space)]),
    "iommufd_vdpa_detach": (c_int, [POINTER(iommufd_vdpa)]),
    "iommufd_vdpa_name": (c_char_p, [POINTER(iommufd_vdpa)]),
    "iommufd_vdpa_fd": (c_int, [POINTER(iommufd_vdpa)]),
    "iommufd_vdpa_get_info": (c_int, [POINTER(iommufd_vdpa), POINTER(iommufd_vdpa_info)]),
    "iommufd_vdpa_features": (c_int, [POINTER(iommufd_vdpa), POINTER(c_uint64)]),
    "iommufd_vdpa_set_features": (c_int, [POINTER(iommufd_vdpa), c_uint64]),
    "iommufd_vdpa_status": (c_int, [POINTER(iommufd_vdpa)]),
    "iommufd_vdpa_set_status": (c_int, [POINTER(iommufd_vdpa), c_uint8]),
    "iommufd_vdpa_reset": (c_int, [POINTER(iommufd_vdpa)]),
    "iommufd_vdpa_suspend": (c_int, [POINTER(iommufd_vdpa)]),
    "iommufd_vdpa_resume": (c_int, [POINTER(iommufd_vdpa)]),
    "iommufd_vdpa_read_config": (c_int, [POINTER(iommufd_vdpa), c_uint32, c_void_p, c_size_t]),
    "iommufd_vdpa_write_config": (c_int, [POINTER(iommufd_vdpa), c_uint32, c_void_p, c_size_t]),
    "iommufd_vdpa_queue_count": (c_int, [POINTER(iommufd_vdpa)]),
    "iommufd_vdpa_max_queue_size": (c_int, [POINTER(iommufd_vdpa)]),
    "iommufd_vdpa_start_queue": (c_int, [POINTER(iommufd_vdpa), c_uint32, POINTER(iommufd_vdpa_queue)]),
    "iommufd_vdpa_queue_base": (c_int, [POINTER(iommufd_vdpa), c_uint32, POINTER(c_uint32)]),
}


# What a function returns, and what it takes.
MODEL_FUNCTIONS = {
    "iommufd_model_create": (c_int, [c_char_p, POINTER(POINTER(iommufd_model))]),
    "iommufd_model_free": (None, [POINTER(iommufd_model)]),
    "iommufd_model_kernel": (POINTER(iommufd_kernel), [POINTER(iommufd_model)]),
    "iommufd_model_devices": (c_int, [POINTER(iommufd_model), c_char_p, c_size_t]),
    "iommufd_model_leaks": (c_int, [POINTER(iommufd_model), c_char_p, c_size_t]),
    "iommufd_model_blocked_dma": (c_uint64, [POINTER(iommufd_model)]),
    "iommufd_model_request_device": (c_int, [POINTER(iommufd_model), c_char_p]),
}
