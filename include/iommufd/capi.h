/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The C API of libiommufd (libiommufd-c), the one ABI that stays. error.h has the rules of all calls.
 *
 *     struct iommufd_object --- struct iommufd_space --- struct iommufd_mapping --- struct iommufd_memory
 *              '-------------- struct iommufd_vfio ----- struct iommufd_region
 *
 * The model kernel, for tests, is apart: iommufd/capi/model.h.
 */
#ifndef IOMMUFD_CAPI_H
#define IOMMUFD_CAPI_H

#include "iommufd/capi/error.h"
#include "iommufd/capi/memory.h"
#include "iommufd/capi/object.h"
#include "iommufd/capi/reader.h"
#include "iommufd/capi/space.h"
#include "iommufd/capi/vdpa.h"
#include "iommufd/capi/vfio.h"

#endif
