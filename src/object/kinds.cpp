// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "object/kinds.hpp"

#include <algorithm>

namespace iommufd::inline v0_1::object {
namespace {

constexpr Kind kKinds[] = {
    {.type = "iommufd", .create = create_iommufd},
    {.type = "memory-backend-memfd", .create = create_memfd, .check = check_memory},
    {.type = "memory-backend-file", .create = create_file, .check = check_memory},
    {.type = "memory-backend-ram", .create = create_ram, .check = check_memory},
    {.type = "fd-server", .create = create_fd_server, .check = check_fd_server},
    {.type = "dma-space", .create = create_space},
    {.type = "dma-mapping", .create = create_mapping, .check = check_mapping},
    {.type = "vfio-pci",
     .create = create_vfio_pci,
     .check = check_vfio,
     .check_references = check_vfio_references},
    {.type = "vhost-vdpa", .create = create_vhost_vdpa},
};

}  // namespace

const Kind& kind_of(const TypeInfo& type) noexcept {
    return *std::ranges::find(kKinds, type.name, &Kind::type);
}

}  // namespace iommufd::inline v0_1::object
