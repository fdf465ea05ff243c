/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A vDPA device that the kernel hands to this process: /dev/vhost-vdpa-N. Its rings and data lie in memory that a space
 * maps for it.
 *
 *     struct iommufd_vdpa *device;
 *     iommufd_vdpa_open(NULL, "/dev/vhost-vdpa-0", NULL, &device);
 *     iommufd_vdpa_attach(device, space);
 *     iommufd_vdpa_reset(device);      then ACKNOWLEDGE, DRIVER, features, FEATURES_OK, queues, DRIVER_OK
 *
 * Linux's vDPA does not use iommufd: with an object the device only counts as its user. A device either uses addresses
 * of this process, and then takes shared memory only, or pins pages, which are charged on top of an iommufd's.
 *
 * Linux: 5.9; newer calls say their own.
 */
#ifndef IOMMUFD_CAPI_VDPA_H
#define IOMMUFD_CAPI_VDPA_H

#include "iommufd/capi/space.h"

struct iommufd_vdpa;

struct iommufd_vdpa_options {
    size_t size;
    const struct iommufd_kernel *kernel; /* NULL: the object's, or else the machine's own */
};

/* The device is reset by it. -EBUSY: open elsewhere. -ENOENT, -EACCES. `object` may be NULL. */
IOMMUFD_C_API int iommufd_vdpa_open(const struct iommufd_object *object, const char *path,
                                    const struct iommufd_vdpa_options *options, struct iommufd_vdpa **device);
/* A descriptor that somebody opened. -EPERM: another process is its owner. -ENOTTY: it is no vhost-vdpa device's. */
IOMMUFD_C_API int iommufd_vdpa_open_fd(const struct iommufd_object *object, int fd,
                                       const struct iommufd_vdpa_options *options, struct iommufd_vdpa **device);
/* Detaches and closes; the kernel stops the device. */
IOMMUFD_C_API void iommufd_vdpa_free(struct iommufd_vdpa *device);

/* As iommufd_vfio_attach() and iommufd_vfio_detach(). */
IOMMUFD_C_API int iommufd_vdpa_attach(struct iommufd_vdpa *device, const struct iommufd_space *space);
IOMMUFD_C_API int iommufd_vdpa_detach(struct iommufd_vdpa *device);

/* "vhost-vdpa /dev/vhost-vdpa-0", as long as the handle. "" for NULL. */
IOMMUFD_C_API const char *iommufd_vdpa_name(const struct iommufd_vdpa *device);
/* Its descriptor, borrowed. */
IOMMUFD_C_API int iommufd_vdpa_fd(const struct iommufd_vdpa *device);

struct iommufd_vdpa_info {
    size_t size;
    uint64_t backend_features;   /* bits, VHOST_BACKEND_F_* */
    struct iommufd_range iovas;  /* that the device can be given */
    uint32_t device_id;          /* virtio's: 1 network, 2 block, ... */
    uint8_t uses_addresses;      /* of this process; else it pins pages */
    uint8_t reserved[3];
};
IOMMUFD_C_API int iommufd_vdpa_get_info(const struct iommufd_vdpa *device, struct iommufd_vdpa_info *info);

/* Virtio's feature bits: those that the device offers; those that the driver takes, before FEATURES_OK (else -EBUSY). */
IOMMUFD_C_API int iommufd_vdpa_features(const struct iommufd_vdpa *device, uint64_t *features);
IOMMUFD_C_API int iommufd_vdpa_set_features(const struct iommufd_vdpa *device, uint64_t features);
/* The virtio status, returned. Bits can only be added (-EINVAL); 0 is the reset. */
IOMMUFD_C_API int iommufd_vdpa_status(const struct iommufd_vdpa *device);
IOMMUFD_C_API int iommufd_vdpa_set_status(const struct iommufd_vdpa *device, uint8_t status);
/* Stops the device and forgets queues and features. What is mapped stays mapped. */
IOMMUFD_C_API int iommufd_vdpa_reset(const struct iommufd_vdpa *device);
/* Stops all queues at a request's border. -EOPNOTSUPP. Linux 6.0, resume 6.3. */
IOMMUFD_C_API int iommufd_vdpa_suspend(const struct iommufd_vdpa *device);
IOMMUFD_C_API int iommufd_vdpa_resume(const struct iommufd_vdpa *device);

/* The device's configuration. -EINVAL: past its end. */
IOMMUFD_C_API int iommufd_vdpa_read_config(const struct iommufd_vdpa *device, uint32_t offset, void *buffer,
                                           size_t length);
IOMMUFD_C_API int iommufd_vdpa_write_config(const struct iommufd_vdpa *device, uint32_t offset, const void *buffer,
                                            size_t length);

/* Returned. -ENOTTY before Linux 5.18. */
IOMMUFD_C_API int iommufd_vdpa_queue_count(const struct iommufd_vdpa *device);
/* The most entries of a queue, returned. */
IOMMUFD_C_API int iommufd_vdpa_max_queue_size(const struct iommufd_vdpa *device);

struct iommufd_vdpa_queue {
    size_t size;
    uint64_t descriptors; /* IOVAs: of a packed ring the ring and its two event areas */
    uint64_t available;
    uint64_t used;
    uint32_t base;    /* where the device is to go on */
    uint16_t entries; /* a power of two */
    uint16_t reserved;
    int kick; /* eventfds, the caller's to close at any time; -1: none. "There are new requests" */
    int call; /* "there are new answers" */
};
/* Sets a queue up and enables it, before DRIVER_OK. -ENOBUFS: no such queue. -EINVAL: a size or an address. */
IOMMUFD_C_API int iommufd_vdpa_start_queue(const struct iommufd_vdpa *device, uint32_t index,
                                           const struct iommufd_vdpa_queue *queue);
/* Where a suspended device stands. */
IOMMUFD_C_API int iommufd_vdpa_queue_base(const struct iommufd_vdpa *device, uint32_t index, uint32_t *base);

#endif
