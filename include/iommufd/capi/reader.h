/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Translation between IOVAs and pointers, for those who play a device: it never waits for map or unmap.
 *
 *     struct iommufd_reader *reader;                         one per thread
 *     iommufd_reader_create(space, "queue 3", &reader);
 *     iommufd_reader_enter(reader);
 *     void *bytes;
 *     int64_t here = iommufd_reader_translate(reader, iova, length, IOMMUFD_READ, &bytes);
 *     ...                                                    pointers live until the leave
 *     iommufd_reader_leave(reader);
 *
 * An unmap waits until no reader that entered before can still see the range; so leave soon. A thread that unmaps
 * within would wait for itself: it gets -EDEADLK.
 *
 * Threads: a reader belongs to one thread at a time.
 */
#ifndef IOMMUFD_CAPI_READER_H
#define IOMMUFD_CAPI_READER_H

#include "iommufd/capi/space.h"

struct iommufd_reader;

/* `label` names it in errors of those who wait for it; NULL: "reader". */
IOMMUFD_C_API int iommufd_reader_create(const struct iommufd_space *space, const char *label,
                                        struct iommufd_reader **reader);
/* Leaves, if it has to. */
IOMMUFD_C_API void iommufd_reader_free(struct iommufd_reader *reader);

/* -EALREADY: it has entered. */
IOMMUFD_C_API int iommufd_reader_enter(struct iommufd_reader *reader);
/* -EINVAL: it has not entered. */
IOMMUFD_C_API int iommufd_reader_leave(struct iommufd_reader *reader);

/*
 * Between enter and leave (else -EINVAL). Returns how many of the `length` bytes at `iova` lie side by side at
 * *address: 0 where nothing is mapped or `access` (enum iommufd_access: what the caller does with them) isn't allowed.
 */
IOMMUFD_C_API int64_t iommufd_reader_translate(struct iommufd_reader *reader, uint64_t iova, uint64_t length,
                                               uint32_t access, void **address);
/* The lowest IOVA at which all of [address, address + length) is mapped. -ENOENT: there is none. As translate. */
IOMMUFD_C_API int iommufd_reader_iova_of(struct iommufd_reader *reader, const void *address, uint64_t length,
                                         uint64_t *iova);

/*
 * Copy from IOVAs, as a device that reads, and to them, as one that writes; they enter and leave themselves. -EFAULT:
 * not all of it is mapped, or allows that: nothing is copied.
 */
IOMMUFD_C_API int iommufd_reader_read(struct iommufd_reader *reader, uint64_t iova, void *buffer, uint64_t length);
IOMMUFD_C_API int iommufd_reader_write(struct iommufd_reader *reader, uint64_t iova, const void *buffer,
                                       uint64_t length);

#endif
