// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The checks of `iommufd doctor`: each is a function from a machine to what it finds, and changes nothing. Those of one theme stand in
// one file.
#pragma once

#include <span>
#include <string_view>

#include "cli/doctor/finding.hpp"
#include "cli/doctor/machine.hpp"

namespace iommufd::inline v0_1::cli::doctor {

// kernel.cpp: the options that it was built with, and its drivers.
Findings check_kernel_options(const Machine& machine);
Findings check_vfio_driver(const Machine& machine);
Findings check_cdev(const Machine& machine);

// iommu.cpp
Findings check_iommu(const Machine& machine);
Findings check_interrupt_remapping(const Machine& machine);

// node.cpp: /dev/iommu, and what answers there.
Findings check_iommu_node(const Machine& machine);
Findings check_ioctls(const Machine& machine);

// group.cpp: whose the device is, and those that can't be kept apart from it.
Findings check_driver(const Machine& machine);
Findings check_use(const Machine& machine);
Findings check_group(const Machine& machine);
Findings check_device_node(const Machine& machine);

// pci.cpp
Findings check_acs(const Machine& machine);
Findings check_reset(const Machine& machine);
Findings check_reserved_ranges(const Machine& machine);

// hardware.cpp: what only the device itself tells, opened while nobody has it: aperture, dirty tracking, nesting, PASIDs, BARs.
Findings check_hardware(const Machine& machine);

// memory.cpp
Findings check_memlock(const Machine& machine);
Findings check_accounting(const Machine& machine);
Findings check_huge_pages(const Machine& machine);

struct Check {
    bool of_device;  // it is made where one is asked for
    Findings (*make)(const Machine&);
};

// In the order in which they are made and shown: what the others stand on comes first.
std::span<const Check> all_checks();

Findings examine(const Machine& machine);

}  // namespace iommufd::inline v0_1::cli::doctor
