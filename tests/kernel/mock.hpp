// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The kernel's own mock of a device behind an IOMMU that can do everything (CONFIG_IOMMUFD_TEST).
#pragma once

#include "core/node.hpp"
#include "iommufd/core/hwpt.hpp"
#include "uapi/iommufd_test.hpp"

namespace iommufd::inline v0_1::kernel_tests {

// A test operation of the mock: 0 or more, or a negative errno.
int mock_operation(const core::Context& context, uapi::mock::TestCmd& command);

// 0 if that place of the IOTLB of a nested page table has the value; -EINVAL if not.
int check_iotlb(const core::Context& context, HwptId nested, std::uint32_t place, std::uint32_t value);
// 0 if the page table maps an IOVA to what is at the address.
int check_map(const core::Context& context, HwptId table, Iova iova, std::uint64_t length,
              const void* address);

// A mock device, bound and attached; gone with the object.
class MockDevice {
public:
    static Result<MockDevice> make(const core::Context& context, PageTableId table, std::uint32_t flags = 0);
    MockDevice(MockDevice&& other) noexcept;
    MockDevice& operator=(MockDevice&&) = delete;
    ~MockDevice();

    DeviceId id() const { return id_; }
    HwptId hwpt() const { return hwpt_; }
    int replace(PageTableId table) const;
    int attach_pasid(std::uint32_t pasid, PageTableId table) const;
    int replace_pasid(std::uint32_t pasid, PageTableId table) const;
    int detach_pasid(std::uint32_t pasid) const;
    // 0 if the pasid is attached to that page table.
    int check_pasid(std::uint32_t pasid, HwptId table) const;
    // Makes the device fault at an address.
    int fault(std::uint64_t address, std::uint32_t pasid, std::uint32_t group) const;
    int report_event() const;
    int check_cache(std::uint32_t id, std::uint32_t value) const;

private:
    MockDevice(core::Context context, const uapi::mock::MockDomainFlags& made);
    int run(std::uint32_t op, uapi::mock::TestCmd command) const;
    core::Context context_;
    std::uint32_t stdev_;
    DeviceId id_;
    HwptId hwpt_;
};

}  // namespace iommufd::inline v0_1::kernel_tests
