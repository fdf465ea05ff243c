// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/events.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

using Kind = EventMember::Kind;

constexpr EventMember kOfDevice[] = {{.name = "device"}, {.name = "path"}};
constexpr EventMember kFault[] = {
    {.name = "space"},
    {.name = "device", .always = false},
    {.name = "path", .always = false},
    {.name = "pasid", .kind = Kind::number, .always = false},
    {.name = "iova", .kind = Kind::number},
    {.name = "permissions", .kind = Kind::texts},
    {.name = "group", .kind = Kind::number},
};
constexpr EventMember kFaultsLost[] = {{.name = "space"}, {.name = "count", .kind = Kind::number}};
constexpr EventMember kShutdown[] = {{.name = "guest", .kind = Kind::boolean}, {.name = "reason"}};

constexpr EventInfo kEvents[] = {
    {.name = "DEVICE_DELETED", .data = kOfDevice},      {.name = "DEVICE_UNPLUG_REQUEST", .data = kOfDevice},
    {.name = "DEVICE_ERROR", .data = kOfDevice},        {.name = "IOMMU_FAULT", .data = kFault},
    {.name = "IOMMU_FAULTS_LOST", .data = kFaultsLost}, {.name = "SHUTDOWN", .data = kShutdown},
};

}  // namespace

std::span<const EventInfo> events() noexcept { return kEvents; }

}  // namespace iommufd::inline v0_1::monitor
