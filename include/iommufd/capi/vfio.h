/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A device given to user space by VFIO.
 *
 *     struct iommufd_vfio *device;
 *     struct iommufd_region *bar;
 *     iommufd_vfio_open(object, "0000:02:00.0", NULL, &device);     opened and bound
 *     iommufd_vfio_attach(device, space);
 *     iommufd_vfio_enable(device);                                   it may start DMA
 *     iommufd_vfio_region(device, 0, &bar);
 *     iommufd_region_write32(bar, 0x20, 0x80);
 *
 * The kernel asks for a device back by iommufd_vfio_request_fd(): watch it, stop, and let go, or an `unbind` hangs
 * until then.
 *
 * Linux: 6.6 with CONFIG_VFIO_DEVICE_CDEV.
 */
#ifndef IOMMUFD_CAPI_VFIO_H
#define IOMMUFD_CAPI_VFIO_H

#include "iommufd/capi/space.h"

struct iommufd_vfio;
struct iommufd_region;

struct iommufd_vfio_options {
    size_t size;
    const char *name;     /* of a given descriptor, for errors; NULL: found */
    const char *vf_token; /* "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"; NULL: none */
    uint32_t dma_bits;    /* address bits that the device drives, where it knows better than the kernel; 0: as it says */
    uint32_t reserved;
};

/*
 * By PCI address, an mdev's UUID, or a device's folder in /sys. -ENOENT: no such device. -ENODEV: it isn't bound to a
 * VFIO driver, which the error explains. -EBUSY, -EPERM: its group isn't viable. -EINVAL: somebody has it. -EACCES: the node's
 * permissions, or the VF token. -EINVAL: no VF token, or more than 64 bits.
 */
IOMMUFD_C_API int iommufd_vfio_open(const struct iommufd_object *object, const char *where,
                                    const struct iommufd_vfio_options *options, struct iommufd_vfio **device);
/* A descriptor that somebody opened. -EBADF, -ENODEV: it is no VFIO device's. -EBUSY: it is bound already. */
IOMMUFD_C_API int iommufd_vfio_open_fd(const struct iommufd_object *object, int fd,
                                       const struct iommufd_vfio_options *options, struct iommufd_vfio **device);
/* Detaches and closes. -EBUSY while a region keeps it; the handle stays on failure. One thread. */
IOMMUFD_C_API int iommufd_vfio_close(struct iommufd_vfio *device);
/* Detaches; the device is closed when its regions have gone too. */
IOMMUFD_C_API void iommufd_vfio_free(struct iommufd_vfio *device);

/*
 * Lets the device reach what the space maps. A device is in one space at a time (-EBUSY). -EINVAL: it can't reach a
 * range that is mapped. -EXDEV: it is bound to another object. On failure nothing has changed. One thread for attach
 * and detach.
 */
IOMMUFD_C_API int iommufd_vfio_attach(struct iommufd_vfio *device, const struct iommufd_space *space);
/* -EINVAL: it isn't attached. Whatever this returns, it is out of the space; after a failure it may reach what it did. */
IOMMUFD_C_API int iommufd_vfio_detach(struct iommufd_vfio *device);

/* "vfio-pci 0000:02:00.0", as long as the handle. "" for NULL. */
IOMMUFD_C_API const char *iommufd_vfio_name(const struct iommufd_vfio *device);
/* Its descriptor, borrowed. */
IOMMUFD_C_API int iommufd_vfio_fd(const struct iommufd_vfio *device);

struct iommufd_vfio_info {
    size_t size;
    uint32_t id;         /* the kernel's, in its iommufd */
    uint32_t regions;    /* how many indexes there are */
    uint32_t interrupts; /* how many indexes there are */
    uint8_t is_pci;
    uint8_t resets;     /* iommufd_vfio_reset() works */
    uint8_t translated; /* an IOMMU stands between the device and memory */
    uint8_t reserved;
};
IOMMUFD_C_API int iommufd_vfio_get_info(const struct iommufd_vfio *device, struct iommufd_vfio_info *info);

/* Lets the device start DMA (bus mastering) and answer accesses. */
IOMMUFD_C_API int iommufd_vfio_enable(const struct iommufd_vfio *device);
/* Resets the function. -EINVAL: it has no way to. -EAGAIN: it is locked. */
IOMMUFD_C_API int iommufd_vfio_reset(const struct iommufd_vfio *device);
/* Resets slot or bus. -EINVAL: not all devices there are bound to this object, which the error names. -ENODEV. */
IOMMUFD_C_API int iommufd_vfio_hot_reset(const struct iommufd_vfio *device);

/* Eventfds, borrowed: the kernel wants the device back; the device has an error. -ENOENT: it has none. */
IOMMUFD_C_API int iommufd_vfio_request_fd(const struct iommufd_vfio *device);
IOMMUFD_C_API int iommufd_vfio_error_fd(const struct iommufd_vfio *device);

enum iommufd_irq {
    IOMMUFD_IRQ_INTX = 0,
    IOMMUFD_IRQ_MSI = 1,
    IOMMUFD_IRQ_MSIX = 2,
};

struct iommufd_irq_info {
    size_t size;
    uint32_t count; /* vectors; 0: none of this kind */
    uint8_t eventfd;
    uint8_t maskable;
    uint8_t automasked; /* masked when it fires: unmask it after handling */
    uint8_t noresize;   /* vectors can't be added later */
};
/* `irq`: enum iommufd_irq, or another index of the device's. -EINVAL: there is no such index. */
IOMMUFD_C_API int iommufd_vfio_get_irq_info(const struct iommufd_vfio *device, uint32_t irq,
                                        struct iommufd_irq_info *info);
/*
 * Signals eventfds, which stay the caller's and may be closed afterwards, one for each vector from `first` on; -1 takes
 * a vector's away. -ENOSPC: there are fewer vectors. -EINVAL: no such vector, or another kind is active.
 */
IOMMUFD_C_API int iommufd_vfio_set_irqs(const struct iommufd_vfio *device, uint32_t irq, uint32_t first,
                                        const int *eventfds, size_t count);
IOMMUFD_C_API int iommufd_vfio_disable_irqs(const struct iommufd_vfio *device, uint32_t irq);
/* -ENOTTY: the kernel doesn't mask that kind. -EINVAL: no such vector. */
IOMMUFD_C_API int iommufd_vfio_mask_irq(const struct iommufd_vfio *device, uint32_t irq, uint32_t vector);
IOMMUFD_C_API int iommufd_vfio_unmask_irq(const struct iommufd_vfio *device, uint32_t irq, uint32_t vector);
/* Fires the vector's eventfd, as if the device had. */
IOMMUFD_C_API int iommufd_vfio_trigger_irq(const struct iommufd_vfio *device, uint32_t irq, uint32_t vector);

/* A dma-buf of whole pages of a BAR, for peer-to-peer DMA: its descriptor, the caller's to close. Linux 6.19. */
IOMMUFD_C_API int iommufd_vfio_export_dma_buf(const struct iommufd_vfio *device, uint32_t bar, uint64_t offset,
                                              uint64_t length);

/*
 * A region: BARs 0 to 5, the ROM 6, config space 7. What the kernel offers to map is mapped into this process; the rest
 * is reached by system calls. It keeps its device open. -EINVAL: no such region. -ENODEV: it is empty.
 */
IOMMUFD_C_API int iommufd_vfio_region(const struct iommufd_vfio *device, uint32_t index,
                                      struct iommufd_region **region);
/* Unmaps it. */
IOMMUFD_C_API void iommufd_region_free(struct iommufd_region *region);
/* In bytes; 0 for NULL. */
IOMMUFD_C_API uint64_t iommufd_region_size(const struct iommufd_region *region);

struct iommufd_mapped_area {
    uint64_t offset; /* in the region */
    uint64_t size;
    void *address; /* valid as long as the region */
};
/* What is mapped into this process, ascending, up to `count` in `areas`; returns how many there are. */
IOMMUFD_C_API int iommufd_region_areas(const struct iommufd_region *region, struct iommufd_mapped_area *areas,
                                       size_t count);

/*
 * Registers, of the width of the value, ordered with memory as a driver needs it: what was stored before a write is
 * seen by a device that the write starts, and memory that is loaded after a read is as new as that. -EINVAL: outside the
 * region, or it can't be read (written). -EIO: memory decoding is off; where it is mapped, that is SIGBUS.
 */
IOMMUFD_C_API int iommufd_region_read8(const struct iommufd_region *region, uint64_t offset, uint8_t *value);
IOMMUFD_C_API int iommufd_region_read16(const struct iommufd_region *region, uint64_t offset, uint16_t *value);
IOMMUFD_C_API int iommufd_region_read32(const struct iommufd_region *region, uint64_t offset, uint32_t *value);
IOMMUFD_C_API int iommufd_region_read64(const struct iommufd_region *region, uint64_t offset, uint64_t *value);
IOMMUFD_C_API int iommufd_region_write8(const struct iommufd_region *region, uint64_t offset, uint8_t value);
IOMMUFD_C_API int iommufd_region_write16(const struct iommufd_region *region, uint64_t offset, uint16_t value);
IOMMUFD_C_API int iommufd_region_write32(const struct iommufd_region *region, uint64_t offset, uint32_t value);
IOMMUFD_C_API int iommufd_region_write64(const struct iommufd_region *region, uint64_t offset, uint64_t value);
/* Any length, by system call, whatever is mapped. */
IOMMUFD_C_API int iommufd_region_read(const struct iommufd_region *region, uint64_t offset, void *buffer,
                                      size_t length);
IOMMUFD_C_API int iommufd_region_write(const struct iommufd_region *region, uint64_t offset, const void *buffer,
                                       size_t length);

#endif
