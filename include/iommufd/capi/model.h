/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A machine with /dev/iommu and devices, played in this process, for tests: no privilege, no module, no hardware.
 * Of a library of its own, libiommufd-model-c: no production program links a fake kernel.
 *
 *     struct iommufd_model *model;
 *     iommufd_model_create("devices=edu", &model);
 *     struct iommufd_options on = {.size = sizeof on, .kernel = iommufd_model_kernel(model)};
 *     iommufd_open(&on, &object);
 *
 * Both libraries must be of one version of libiommufd: with another one, what takes the kernel says -EINVAL.
 */
#ifndef IOMMUFD_CAPI_MODEL_H
#define IOMMUFD_CAPI_MODEL_H

#include "iommufd/capi/object.h"

struct iommufd_model;

/*
 * "devices=edu,vdpa-blk:size=64M,memlock=1M", as `iommufd run --model` takes it; NULL: a device of each kind. -EINVAL: it
 * can't be read, or makes no sense. -EMFILE, -EAGAIN: no descriptor, no thread.
 */
IOMMUFD_C_API int iommufd_model_create(const char *description, struct iommufd_model **model);
/* After all that uses its kernel has gone. */
IOMMUFD_C_API void iommufd_model_free(struct iommufd_model *model);
/* Borrowed, as long as the model. NULL for NULL. */
IOMMUFD_C_API const struct iommufd_kernel *iommufd_model_kernel(const struct iommufd_model *model);

/* Its devices, a line each, "KIND NAME NODE\n": "edu 0000:00:10.0 /dev/vfio/devices/vfio0". Else as iommufd_users(). */
IOMMUFD_C_API int iommufd_model_devices(const struct iommufd_model *model, char *text, size_t length);
/* What a program has not given back: "2 descriptors, 1 mapping"; "" if nothing. As iommufd_users(). */
IOMMUFD_C_API int iommufd_model_leaks(const struct iommufd_model *model, char *text, size_t length);
/* How many DMAs reached for memory that wasn't mapped for them. */
IOMMUFD_C_API uint64_t iommufd_model_blocked_dma(const struct iommufd_model *model);
/* Asks the owner of a VFIO device to give it back: signals iommufd_vfio_request_fd(). -ENOENT: no such device, or
 * nobody listens. */
IOMMUFD_C_API int iommufd_model_request_device(struct iommufd_model *model, const char *name);

#endif
