// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

namespace iommufd::inline v0_1::cli {

// `iommufd devices`: prints the machine's PCI devices by IOMMU group, for people or as JSON.
int devices(bool json);

}  // namespace iommufd::inline v0_1::cli
