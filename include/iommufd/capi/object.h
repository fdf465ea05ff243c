/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The iommufd object: one /dev/iommu, shared by id, its users counted in one place.
 *
 *     struct iommufd_object *object;
 *     int error = iommufd_open(NULL, &object);        // /dev/iommu, opened for the first VFIO device
 *     if (error < 0) fprintf(stderr, "%s\n", iommufd_error_text());
 *
 * Any number of spaces and devices share one object. The node is open while a VFIO device uses it; one that was
 * given by path or descriptor stays open until the object goes.
 *
 * Linux: 6.6 with CONFIG_IOMMUFD.
 */
#ifndef IOMMUFD_CAPI_OBJECT_H
#define IOMMUFD_CAPI_OBJECT_H

#include "iommufd/capi/error.h"

struct iommufd_object;

/* Where system calls go: the machine's own kernel (NULL), or a model of one (model.h). It must outlive what uses it. */
struct iommufd_kernel;

struct iommufd_options {
    size_t size;
    const char *id;                      /* named by errors; NULL: "iommufd0" */
    const char *path;                    /* opened now, and kept; NULL: /dev/iommu, opened for its first user */
    const struct iommufd_kernel *kernel; /* NULL: the machine's own */
};

/* -ENOENT, -EACCES, ... from opening `path`; -ENOTTY: it is no iommufd. Without a path nothing is opened yet. */
IOMMUFD_C_API int iommufd_open(const struct iommufd_options *options, struct iommufd_object **object);
/* The same with a descriptor that somebody opened; `path` must be NULL. -EBADF, -ENOTTY: it is no iommufd. */
IOMMUFD_C_API int iommufd_open_fd(int fd, const struct iommufd_options *options, struct iommufd_object **object);
/* Ends the object. -EBUSY while something uses it (iommufd_error_cause() names all); the handle stays on failure. */
IOMMUFD_C_API int iommufd_close(struct iommufd_object *object);
/* Lets go of the handle. What uses the object keeps what it needs of it. */
IOMMUFD_C_API void iommufd_free(struct iommufd_object *object);

/* The id, as long as the handle. "" for NULL. */
IOMMUFD_C_API const char *iommufd_id(const struct iommufd_object *object);
/* The descriptor, borrowed. -ENOTCONN: the node isn't open. */
IOMMUFD_C_API int iommufd_fd(const struct iommufd_object *object);

/*
 * Those that use the object, a line each: "vfio-pci 0000:02:00.0\n". Writes at most `length` bytes, the NUL
 * included, and returns the length of the whole text without it, as snprintf does. `text` may be NULL if `length` is 0.
 */
IOMMUFD_C_API int iommufd_users(const struct iommufd_object *object, char *text, size_t length);

enum iommufd_accounting {
    IOMMUFD_ACCOUNTING_NONE = 0,        /* CAP_IPC_LOCK: no limit */
    IOMMUFD_ACCOUNTING_PER_USER = 1,    /* RLIMIT_MEMLOCK, shared by all processes of this uid */
    IOMMUFD_ACCOUNTING_PER_PROCESS = 2, /* RLIMIT_MEMLOCK, this process alone */
};
/* Against what pages count that this process maps now: one of the above. Opens the node for the question if need be. */
IOMMUFD_C_API int iommufd_get_accounting(const struct iommufd_object *object);
/* Whether the kernel has an ioctl ("IOMMU_IOAS_MAP_FILE"): 1 or 0. Opens the node if need be. -ENOENT: no such ioctl. */
IOMMUFD_C_API int iommufd_has(const struct iommufd_object *object, const char *operation);

#endif
