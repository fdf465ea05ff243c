/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Memory that devices are to reach: made here and counted, or borrowed.
 *
 *     struct iommufd_memory *memory;
 *     iommufd_memory_memfd(64 << 20, NULL, &memory);
 *     memset(iommufd_memory_data(memory), 0, iommufd_memory_size(memory));
 *
 * The memory goes after its handle and the last mapping of it have gone.
 */
#ifndef IOMMUFD_CAPI_MEMORY_H
#define IOMMUFD_CAPI_MEMORY_H

#include "iommufd/capi/object.h"

struct iommufd_memory;

enum iommufd_huge_pages {
    IOMMUFD_HUGE_PAGES_STANDARD = 0,    /* as the machine has it */
    IOMMUFD_HUGE_PAGES_NEVER = 1,       /* none */
    IOMMUFD_HUGE_PAGES_TRANSPARENT = 2, /* where the kernel can */
    IOMMUFD_HUGE_PAGES_HUGETLB = 3,     /* those of hugetlbfs, or no memory at all */
};

enum iommufd_memory_flags {
    IOMMUFD_MEMORY_PRIVATE = 1,   /* of a file: changes don't reach it */
    IOMMUFD_MEMORY_READ_ONLY = 2, /* of a file */
    IOMMUFD_MEMORY_PREALLOC = 4,  /* touch every page now: -ENOMEM here and not later */
};

struct iommufd_memory_options {
    size_t size;
    const char *label;                   /* named by errors; NULL: "memory" */
    uint32_t flags;                      /* of enum iommufd_memory_flags */
    uint32_t huge_pages;                 /* enum iommufd_huge_pages */
    uint64_t huge_page_size;             /* of hugetlb, in bytes; 0: the machine's default */
    uint64_t offset;                     /* of a file, in bytes: where the memory starts in it */
    const struct iommufd_kernel *kernel; /* whose descriptor a dma-buf is; NULL: the machine's own */
};

/* Shared memory of this process; `length` in bytes, rounded up to pages. -ENOMEM, -EMFILE; -EINVAL: no byte. */
IOMMUFD_C_API int iommufd_memory_memfd(uint64_t length, const struct iommufd_memory_options *options,
                                       struct iommufd_memory **memory);
/* Private memory of this process. */
IOMMUFD_C_API int iommufd_memory_anonymous(uint64_t length, const struct iommufd_memory_options *options,
                                           struct iommufd_memory **memory);
/* A part of a file, which must be long enough (-EINVAL). -ENOENT, -EACCES. */
IOMMUFD_C_API int iommufd_memory_file(const char *path, uint64_t length, const struct iommufd_memory_options *options,
                                      struct iommufd_memory **memory);
/* The same of a descriptor that somebody opened. -EBADF. */
IOMMUFD_C_API int iommufd_memory_fd(int fd, uint64_t length, const struct iommufd_memory_options *options,
                                    struct iommufd_memory **memory);
/* Memory of a device: iommufd_vfio_export_dma_buf(). It has no address here. Linux 6.19. */
IOMMUFD_C_API int iommufd_memory_dma_buf(int fd, uint64_t length, const struct iommufd_memory_options *options,
                                         struct iommufd_memory **memory);
/* The caller's, which must stay until the last mapping of it has gone. */
IOMMUFD_C_API int iommufd_memory_borrow(void *address, uint64_t length, const struct iommufd_memory_options *options,
                                        struct iommufd_memory **memory);
/* The memory itself stays as long as something maps it. */
IOMMUFD_C_API void iommufd_memory_free(struct iommufd_memory *memory);

/* Valid as long as the handle or a mapping of it. NULL: a dma-buf, or a NULL handle. */
IOMMUFD_C_API void *iommufd_memory_data(const struct iommufd_memory *memory);
/* In bytes; 0 for NULL. */
IOMMUFD_C_API uint64_t iommufd_memory_size(const struct iommufd_memory *memory);
/* Its file's descriptor, borrowed. -EBADF: it has none. */
IOMMUFD_C_API int iommufd_memory_file_fd(const struct iommufd_memory *memory);

#endif
