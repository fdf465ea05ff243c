/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The C API of libiommufd: rules that hold for every call, and why the last one failed.
 *
 * Returns     0 or a count on success, a negative errno on failure: -ENOMEM. `errno` itself is neither read nor
 *             set. What else a call answers comes through pointers, which are written on success only.
 * Handles     struct iommufd_..., opaque. Who makes one lets it go with its ..._free(), which takes NULL and never
 *             fails: what the kernel refuses to give back then is listed by iommufd_space_not_released(). Where a
 *             failure matters there is a call that returns it and keeps the handle: ..._unmap(), ..._detach(),
 *             ..._close(). Handles keep what they stand on alive, so letting go in any order is right.
 * Descriptors one that is passed in stays the caller's: the library works with a duplicate. One that comes out is
 *             borrowed, and valid as long as its handle, unless its call says that it is the caller's to close.
 * Options     a struct whose first member is its size, so that it can grow: {.size = sizeof options}. What is 0
 *             beyond that is the default; NULL stands for all defaults. -E2BIG: a member that this version doesn't
 *             know is not 0. -EINVAL: a size that no version had.
 * Answers     structs that a call fills and that may grow have a size as well, which the caller sets: no more than that
 *             is written, and what this version doesn't know becomes 0.
 * Units       addresses, offsets, lengths and sizes are in bytes.
 * Threads     calls on different handles may run at once; on the same handle too, unless the call says otherwise.
 *             A handle must not be used while its ..._free() runs, or afterwards.
 * Any call    -ENOMEM: the process has no memory. -EINVAL: a handle or pointer that is necessary is NULL.
 *             Other errnos stand with their call; where the kernel refuses, it is the kernel's own.
 * Since       the release of the library in which a call appeared; "0.1.0" for all here that say nothing.
 */
#ifndef IOMMUFD_CAPI_ERROR_H
#define IOMMUFD_CAPI_ERROR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define IOMMUFD_C_API extern "C" __attribute__((visibility("default")))
#else
#define IOMMUFD_C_API extern __attribute__((visibility("default")))
#endif

/*
 * What the last call that failed in this thread says: all of it ("WHAT: ERRNO", and a line each for cause and next
 * step); or one part. Never NULL, and "" before the first failure. Valid until the next call fails in this thread. A
 * call that succeeds leaves it as it is.
 */
IOMMUFD_C_API const char *iommufd_error_text(void);
/* "cannot map 0x40000000+0x200000 (memory 'ram0') into ioas 3 of 'iommufd0'" */
IOMMUFD_C_API const char *iommufd_error_what(void);
IOMMUFD_C_API const char *iommufd_error_cause(void);
IOMMUFD_C_API const char *iommufd_error_next_step(void);
/* The system call or ioctl that failed: "IOMMU_IOAS_MAP"; "refused" where the library itself said no. */
IOMMUFD_C_API const char *iommufd_error_operation(void);

/*
 * What an errno (positive or negative) of an operation most likely means, and what to do: as `iommufd explain` says.
 * The texts are constants. -ENOENT: there is no such operation.
 */
IOMMUFD_C_API int iommufd_explain(const char *operation, int code, const char **cause, const char **next_step);

/* The library's version: "0.1.0". */
IOMMUFD_C_API const char *iommufd_version(void);

#endif
