/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * An I/O address space that devices share: which memory they reach, by IOVA (the address that they put on the bus).
 *
 *     struct iommufd_space *space;
 *     struct iommufd_mapping *mapping;
 *     iommufd_space_create(object, NULL, &space);
 *     iommufd_vfio_attach(device, space);
 *     struct iommufd_map_options at = {.size = sizeof at, .flags = IOMMUFD_MAP_AT, .iova = 0x4000000};
 *     iommufd_space_map(space, memory, &at, NULL, &mapping);
 *
 * A device that attaches late gets what is mapped; what it can't reach refuses it before anything changes. A failure
 * part way is undone, or the error says what remains.
 */
#ifndef IOMMUFD_CAPI_SPACE_H
#define IOMMUFD_CAPI_SPACE_H

#include "iommufd/capi/memory.h"

struct iommufd_space;
struct iommufd_mapping;

enum iommufd_space_flags {
    IOMMUFD_SPACE_SMALL_PAGES = 1, /* no I/O page larger than the smallest: exact dirty tracking, slower maps */
};

struct iommufd_space_options {
    size_t size;
    const char *id; /* named by errors; NULL: "space" */
    uint32_t flags; /* of enum iommufd_space_flags */
    uint32_t reserved;
};

/* Without an object (NULL) the space is for vhost-vdpa devices only. */
IOMMUFD_C_API int iommufd_space_create(const struct iommufd_object *object, const struct iommufd_space_options *options,
                                       struct iommufd_space **space);
/* What mappings and devices still hold of it goes with the last of them. */
IOMMUFD_C_API void iommufd_space_free(struct iommufd_space *space);

enum iommufd_map_flags {
    IOMMUFD_MAP_AT = 1, /* at `iova`; else the space chooses one that all devices reach */
};

enum iommufd_access {
    IOMMUFD_READ = 1, /* by devices */
    IOMMUFD_WRITE = 2,
    IOMMUFD_READ_WRITE = 3,
};

struct iommufd_map_options {
    size_t size;
    uint32_t flags;   /* of enum iommufd_map_flags */
    uint32_t access;  /* enum iommufd_access; 0: IOMMUFD_READ_WRITE */
    uint64_t iova;    /* with IOMMUFD_MAP_AT */
    uint64_t offset;  /* into the memory, in bytes */
    uint64_t length;  /* in bytes; 0: to the end of the memory */
    uint64_t granule; /* may be unmapped in multiples of this many bytes; 0: only whole */
    uint64_t guard;   /* so many bytes before and after it stay unmapped; of an IOVA that the space chooses */
    /* A space of the same object that may have mapped this memory: its pins are taken over, so that the memory is
     * pinned and charged once for both (IOAS_COPY). NULL: none. */
    const struct iommufd_space *pinned_by;
};

/*
 * Lets the space's devices reach memory. *iova (may be NULL) is where. With `mapping` the range is that handle's; with
 * NULL it is the space's, which unmaps it by iommufd_space_unmap() or when it goes.
 * -EINVAL: no byte, misaligned, or outside what a device reaches. -EOVERFLOW: past 2^64. -EEXIST: something is mapped
 * there. -ENOSPC: no room. -EBUSY: the range is being unmapped. -ENOMEM: RLIMIT_MEMLOCK, among others. -EFAULT: no
 * memory at an address.
 */
IOMMUFD_C_API int iommufd_space_map(const struct iommufd_space *space, const struct iommufd_memory *memory,
                                    const struct iommufd_map_options *options, uint64_t *iova,
                                    struct iommufd_mapping **mapping);
/*
 * Unmaps what lies in [iova, iova + length) and no mapping's handle owns; *unmapped (may be NULL) is how many bytes.
 * Waits for readers, at most `timeout_ms`; -1: as long as it takes. -ENOENT: nothing is mapped there. -EINVAL: no byte,
 * or it would split a mapping. -EBUSY: a handle owns it, or it is being mapped. -EDEADLK: this thread is a reader.
 * -ETIMEDOUT: it is unmapped, and its memory goes when the readers have left.
 */
IOMMUFD_C_API int iommufd_space_unmap(const struct iommufd_space *space, uint64_t iova, uint64_t length, int timeout_ms,
                                      uint64_t *unmapped);

enum iommufd_mapping_state {
    IOMMUFD_MAPPING_PLANNED = 0,   /* there is no device to map it for */
    IOMMUFD_MAPPING_MAPPED = 1,
    IOMMUFD_MAPPING_UNREACHED = 2, /* a dma-buf that can't be mapped now: iommufd_mapping_remap() */
    IOMMUFD_MAPPING_BUSY = 3,      /* being mapped or unmapped */
    IOMMUFD_MAPPING_STUCK = 4,     /* it could not be unmapped */
};

/* Unmaps now, with the timeout and the errnos of iommufd_space_unmap(). Afterwards the handle is gone; on failure it
 * stays, but for -ETIMEDOUT. One thread. */
IOMMUFD_C_API int iommufd_mapping_unmap(struct iommufd_mapping *mapping, int timeout_ms);
/* Unmaps, and waits for readers as long as it takes. */
IOMMUFD_C_API void iommufd_mapping_free(struct iommufd_mapping *mapping);
/* Gives the range to the space. The handle is gone. */
IOMMUFD_C_API void iommufd_mapping_leave(struct iommufd_mapping *mapping);
IOMMUFD_C_API uint64_t iommufd_mapping_iova(const struct iommufd_mapping *mapping);
/* In bytes. */
IOMMUFD_C_API uint64_t iommufd_mapping_length(const struct iommufd_mapping *mapping);
/* One of enum iommufd_mapping_state. */
IOMMUFD_C_API int iommufd_mapping_state(const struct iommufd_mapping *mapping);
/* Maps a dma-buf again that its exporter has revoked. -EINVAL: other memory. -EBUSY: being mapped. One thread. */
IOMMUFD_C_API int iommufd_mapping_remap(struct iommufd_mapping *mapping);

/* Both ends included, so that the range up to 2^64 - 1 can be written. */
struct iommufd_range {
    uint64_t first;
    uint64_t last;
};

/*
 * The IOVAs that can be mapped now, ascending, up to `count` of them in `ranges`; returns how many there are. They may
 * change when a device attaches or leaves. *alignment (may be NULL): of IOVAs, addresses and lengths, in bytes.
 */
IOMMUFD_C_API int iommufd_space_limits(const struct iommufd_space *space, struct iommufd_range *ranges, size_t count,
                                       uint64_t *alignment);

struct iommufd_mapped {
    uint64_t first; /* both ends included */
    uint64_t last;
    uint64_t offset;   /* into the memory, in bytes */
    uint64_t granule;  /* in bytes */
    uint32_t access;   /* enum iommufd_access */
    uint32_t state;    /* enum iommufd_mapping_state */
    char memory[64];   /* its label, cut off if it is longer */
};

/* What is mapped, ascending, up to `count` in `mapped`; returns how many there are. */
IOMMUFD_C_API int iommufd_space_mappings(const struct iommufd_space *space, struct iommufd_mapped *mapped,
                                         size_t count);
/* The kernel's id of the IOAS in use. -ENOENT: no VFIO device is attached. */
IOMMUFD_C_API int iommufd_space_ioas(const struct iommufd_space *space, uint32_t *ioas);
/* What the kernel may still have, though it was unmapped or detached; a line each, as iommufd_users() writes them. */
IOMMUFD_C_API int iommufd_space_not_released(const struct iommufd_space *space, char *text, size_t length);
/* Tries those again; returns how many remain. */
IOMMUFD_C_API int iommufd_space_retry_releases(const struct iommufd_space *space);

struct iommufd_counters {
    size_t size;
    uint64_t mapped; /* bytes, now */
    uint64_t pinned; /* of those, what the kernel holds */
    /* Kernel calls, of the IOAS in use. */
    uint64_t mapped_by_file;
    uint64_t mapped_by_address;
    uint64_t mapped_by_copy;
    uint64_t unmapped;
};
IOMMUFD_C_API int iommufd_space_get_counters(const struct iommufd_space *space, struct iommufd_counters *counters);

#endif
