// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "kernel/recorder.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <mutex>
#include <set>
#include <string>

#include "kernel/kernel_under_test.hpp"
#include "uapi/commands.hpp"
#include "uapi/vfio.hpp"
#include "uapi/vhost.hpp"

namespace iommufd::inline v0_1::kernel_tests {
namespace {

namespace vfio = uapi::vfio;
namespace vhost = uapi::vhost;

struct Named {
    unsigned long request;
    const char* name;
};

constexpr Named kOthers[] = {
    {vfio::kDeviceGetInfo, "VFIO_DEVICE_GET_INFO"},
    {vfio::kDeviceGetRegionInfo, "VFIO_DEVICE_GET_REGION_INFO"},
    {vfio::kDeviceGetIrqInfo, "VFIO_DEVICE_GET_IRQ_INFO"},
    {vfio::kDeviceSetIrqs, "VFIO_DEVICE_SET_IRQS"},
    {vfio::kDeviceReset, "VFIO_DEVICE_RESET"},
    {vfio::kDeviceGetPciHotResetInfo, "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO"},
    {vfio::kDevicePciHotReset, "VFIO_DEVICE_PCI_HOT_RESET"},
    {vfio::kDeviceIoeventfd, "VFIO_DEVICE_IOEVENTFD"},
    {vfio::kDeviceFeature, "VFIO_DEVICE_FEATURE"},
    {vfio::kDeviceBindIommufd, "VFIO_DEVICE_BIND_IOMMUFD"},
    {vfio::kDeviceAttachIommufdPt, "VFIO_DEVICE_ATTACH_IOMMUFD_PT"},
    {vfio::kDeviceDetachIommufdPt, "VFIO_DEVICE_DETACH_IOMMUFD_PT"},
    {vfio::kMigGetPrecopyInfo, "VFIO_MIG_GET_PRECOPY_INFO"},
    {vhost::kSetOwner, "VHOST_SET_OWNER"},
    {vhost::kGetFeatures, "VHOST_GET_FEATURES"},
    {vhost::kSetFeatures, "VHOST_SET_FEATURES"},
    {vhost::kGetBackendFeatures, "VHOST_GET_BACKEND_FEATURES"},
    {vhost::kSetBackendFeatures, "VHOST_SET_BACKEND_FEATURES"},
    {vhost::kVdpaSetStatus, "VHOST_VDPA_SET_STATUS"},
    {vhost::kVdpaGetIovaRange, "VHOST_VDPA_GET_IOVA_RANGE"},
};

const char* name_of(unsigned long request) {
    for (const uapi::Command& command : uapi::kCommands)
        if (command.request == request) return command.name.data();
    for (const Named& other : kOthers)
        if (other.request == request) return other.name;
    return nullptr;
}

std::mutex mutex;
std::set<std::string> seen;

class Printer final : public ::testing::EmptyTestEventListener {
    void OnTestStart(const ::testing::TestInfo&) override {
        const std::lock_guard lock(mutex);
        seen.clear();
    }
    void OnTestEnd(const ::testing::TestInfo& test) override {
        // What a skipped test did before it noticed proves nothing.
        if (!test.result()->Passed()) return;
        const std::lock_guard lock(mutex);
        for (const std::string& name : seen)
            std::printf("COVERS %s %s.%s\n", name.c_str(), test.test_suite_name(), test.name());
    }
};

}  // namespace

Recorder::Recorder() : FaultyKernel(kernel_under_test()) {
    ::testing::UnitTest::GetInstance()->listeners().Append(new Printer);
}

Recorder& Recorder::instance() {
    static Recorder recorder;
    return recorder;
}

int Recorder::ioctl(int fd, unsigned long request, void* argument) {
    const int result = FaultyKernel::ioctl(fd, request, argument);
    if (const char* const name = result >= 0 ? name_of(request) : nullptr) {
        const std::lock_guard lock(mutex);
        seen.insert(name);
    }
    return result;
}

}  // namespace iommufd::inline v0_1::kernel_tests
