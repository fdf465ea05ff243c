// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The property of tests/support/space_property.hpp on the real kernel.
#include "support/space_property.hpp"

#include <filesystem>

#include "kernel/vfio_fixture.hpp"
#include "support/ioas_devices.hpp"

namespace iommufd::kernel_tests {
namespace {

// "/dev/vfio/devices/vfio0"
std::string node_of(const std::string& device) {
    for (const auto& entry :
         std::filesystem::directory_iterator("/sys/bus/pci/devices/" + device + "/vfio-dev"))
        return "/dev/vfio/devices/" + entry.path().filename().string();
    return {};
}

TEST(SpacePropertyTest, ASpaceAndTheKernelSayAndDoWhatAnArrayOfPagesDoes) {
    const std::string edu = node_of(kEdu);
    const std::string nvme = node_of(kNvme);
    support::run_space_property(4000, 500, [&] {
        return std::make_unique<support::IoasDevices>(Recorder::instance(),
                                                      std::array{edu.c_str(), nvme.c_str()});
    });
    EXPECT_EQ(pinned(), 0U);
}

}  // namespace
}  // namespace iommufd::kernel_tests
