// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The VM's VFIO devices, an iommufd, a space and memory for them; and that nothing is left after each test.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "iommufd/dma/space.hpp"
#include "iommufd/vfio/device.hpp"
#include "kernel/kernel_under_test.hpp"
#include "kernel/recorder.hpp"

namespace iommufd::inline v0_1::kernel_tests {

inline constexpr const char* kEdu = "0000:00:10.0";
inline constexpr const char* kNvme = "0000:00:11.0";
inline constexpr const char* kIgb = "0000:01:00.0";
inline constexpr const char* kMtty = "/sys/bus/mdev/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
// With the VM's `--qemu "-device pcie-pci-bridge,..."`: a second edu that shares its group with a virtio
// device.
inline constexpr const char* kGroupedEdu = "0000:02:01.0";
inline constexpr const char* kGroupedVirtio = "0000:02:02.0";
// And an ivshmem with a BAR of 4 MiB, alone on its bus, so that it can be reset.
inline constexpr const char* kIvshmem = "0000:03:00.0";
inline constexpr Iova kBase{0x4000000};

class VfioTest : public ::testing::Test {
protected:
    void TearDown() override {
        EXPECT_FALSE(backend_.is_open());
        EXPECT_EQ(pinned(), 0U);
        EXPECT_EQ(backend_.notices(), 0U);
    }

    static vfio::Cdev open(const char* where) {
        return vfio::Cdev::open(where, {.kernel = &Recorder::instance(), .name = {}}).value();
    }
    vfio::Device bind(const char* where) { return open(where).bind(backend_).value(); }

    Backend backend_ =
        Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &Recorder::instance()}).value();
    dma::Space space_ = dma::Space::on(backend_, {.id = "dma0"}).value();
    dma::Memory memory_ = dma::Memory::memfd(4_MiB, {.label = "ram"}).value();
};

inline bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }
inline bool is_there(const char* device) {
    sys::FileStatus status{};
    return kernel_under_test().stat((std::string("/sys/bus/pci/devices/") + device).c_str(), status) == 0;
}

inline void write_to(const std::string& path, std::string_view text) { std::ofstream(path) << text; }

inline void give_to_vfio(const std::string& device) {
    const std::string folder = "/sys/bus/pci/devices/" + device;
    std::string driver;
    if (kernel_under_test().readlink((folder + "/driver").c_str(), driver) == 0 &&
        driver.ends_with("/vfio-pci"))
        return;
    if (exists(folder + "/driver")) write_to(folder + "/driver/unbind", device);
    write_to(folder + "/driver_override", "vfio-pci");
    write_to("/sys/bus/pci/drivers_probe", device);
}

inline void fill(std::span<std::byte> bytes, unsigned seed) {
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 + seed + (i >> 8));
}

}  // namespace iommufd::inline v0_1::kernel_tests
