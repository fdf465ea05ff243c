// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Where programs find the modelled devices: /dev, and of /sys what Linux shows of such devices.
#pragma once

#include <string>

#include "model/hardware.hpp"
#include "model/pci_device.hpp"
#include "model/tree.hpp"

namespace iommufd::inline v0_1::model::sysfs {

// The paths that are the model's whatever devices there are, and the IOMMU.
void add_machine(Tree& tree, const Iommu& iommu, Tree::Opener open_iommufd);

// Where Linux's injection of faults is set up (CONFIG_FAULT_INJECTION_DEBUG_FS), for who sets it up before it injects any.
void add_fault_injection(Tree& tree);

struct VfioNode {
    std::string address;  // 0000:00:10.0
    PciIdentity identity;
    unsigned number;  // of vfioN
    unsigned group;   // IOMMU group
    const Iommu& iommu;
};
void add_vfio_device(Tree& tree, const VfioNode& node, Tree::Opener open);

// Another device of that group, which isn't modelled.
void add_sibling(Tree& tree, const Sibling& sibling, unsigned group);

struct VdpaNode {
    std::string name;  // blk0
    unsigned number;   // of vhost-vdpa-N
};
void add_vdpa_device(Tree& tree, const VdpaNode& node, Tree::Opener open);

std::string node_of(const VfioNode& node);
std::string node_of(const VdpaNode& node);

}  // namespace iommufd::inline v0_1::model::sysfs
