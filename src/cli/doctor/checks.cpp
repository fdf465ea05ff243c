// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/doctor/checks.hpp"

#include <algorithm>
#include <iterator>

namespace iommufd::inline v0_1::cli::doctor {
namespace {

constexpr Check kChecks[] = {
    {.of_device = false, .make = check_kernel_options},
    {.of_device = false, .make = check_iommu},
    {.of_device = false, .make = check_interrupt_remapping},
    {.of_device = false, .make = check_iommu_node},
    {.of_device = false, .make = check_ioctls},
    {.of_device = false, .make = check_vfio_driver},
    {.of_device = false, .make = check_cdev},
    {.of_device = true, .make = check_driver},
    {.of_device = true, .make = check_use},
    {.of_device = true, .make = check_group},
    {.of_device = true, .make = check_acs},
    {.of_device = true, .make = check_device_node},
    {.of_device = true, .make = check_reset},
    {.of_device = true, .make = check_reserved_ranges},
    {.of_device = true, .make = check_hardware},
    {.of_device = false, .make = check_memlock},
    {.of_device = false, .make = check_accounting},
    {.of_device = false, .make = check_huge_pages},
};

}  // namespace

std::span<const Check> all_checks() { return kChecks; }

Findings examine(const Machine& machine) {
    Findings findings;
    for (const Check& check : all_checks())
        if (!check.of_device || machine.device)
            std::ranges::move(check.make(machine), std::back_inserter(findings));
    return findings;
}

}  // namespace iommufd::inline v0_1::cli::doctor
