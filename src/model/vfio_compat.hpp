// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The ioctls of a VFIO type 1 container, which /dev/iommu answers for one of its IOASes.
#pragma once

#include "model/context.hpp"

namespace iommufd::inline v0_1::model {

struct Context::VfioCompat {
    static int ioctl(Context& context, unsigned long request, user::Address argument);

    static int set_iommu(Context& context, std::uint64_t type);
    static int check_extension(Context& context, std::uint64_t extension);
    static int get_info(Context& context, user::Address argument);
    static int map_dma(Context& context, user::Address argument);
    static int unmap_dma(Context& context, user::Address argument);
};

}  // namespace iommufd::inline v0_1::model
