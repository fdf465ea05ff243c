// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <cerrno>

#include "capi/testing.hpp"
#include "support/allocation_faults.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

class CapiFaultsTest : public CapiTest {
protected:
    // Fails the first allocation of a call, then the second, ... until it succeeds.
    template <class Call>
    void walk(Call&& call) {
        for (std::uint64_t nth = 1;; ++nth) {
            ASSERT_LT(nth, 1000U);
            int result = 0;
            {
                const AllocationFaults::Armed armed(nth);
                result = call();
            }
            if (result >= 0) return;
            ASSERT_EQ(result, -ENOMEM) << "allocation " << nth << ": " << iommufd_error_text();
        }
    }
};

TEST_F(CapiFaultsTest, WhateverAllocationFailsItIsENOMEMAndNothingIsLeft) {
    OwnedObject object;
    walk([&] { return iommufd_open(&options_, &object); });
    OwnedSpace space;
    walk([&] { return iommufd_space_create(object, nullptr, &space); });
    OwnedMemory memory;
    walk([&] { return iommufd_memory_memfd(4096, nullptr, &memory); });
    OwnedVfio device;
    ASSERT_EQ(iommufd_vfio_open(object, kEdu, nullptr, &device), 0);
    walk([&] { return iommufd_vfio_attach(device, space); });
    const iommufd_map_options at{.size = sizeof at, .flags = IOMMUFD_MAP_AT, .access = 0, .iova = 0x10000};
    OwnedMapping mapping;
    walk([&] { return iommufd_space_map(space, memory, &at, nullptr, &mapping); });
    EXPECT_EQ(iommufd_space_mappings(space, nullptr, 0), 1);
    OwnedReader reader;
    walk([&] { return iommufd_reader_create(space, nullptr, &reader); });
    char byte = 1;
    walk([&] { return iommufd_reader_read(reader, 0x10000, &byte, 1); });
    EXPECT_EQ(byte, 0);
    OwnedRegion bar;
    walk([&] { return iommufd_vfio_region(device, 0, &bar); });
    walk([&] { return iommufd_users(object, nullptr, 0); });
    walk([&] { return iommufd_space_limits(space, nullptr, 0, nullptr); });
    walk([&] { return iommufd_mapping_unmap(mapping.handle, -1); });
    mapping.release();
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi
