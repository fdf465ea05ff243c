// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <cerrno>
#include <cstring>
#include <thread>

#include "capi/testing.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

constexpr std::uint64_t kIova = 0x4000000;
constexpr std::uint64_t kLength = 0x10000;

class CapiSpaceTest : public CapiTest {
protected:
    CapiSpaceTest() {
        const iommufd_memory_options label{.size = sizeof label, .label = "ram0"};
        EXPECT_EQ(iommufd_space_create(object_, nullptr, &space_), 0) << iommufd_error_text();
        EXPECT_EQ(iommufd_memory_memfd(kLength, &label, &memory_), 0) << iommufd_error_text();
    }
    void attach() {
        ASSERT_EQ(iommufd_vfio_open(object_, kEdu, nullptr, &device_), 0) << iommufd_error_text();
        ASSERT_EQ(iommufd_vfio_attach(device_, space_), 0) << iommufd_error_text();
    }
    int map(std::uint64_t iova, iommufd_mapping** mapping = nullptr) {
        at_.iova = iova;
        return iommufd_space_map(space_, memory_, &at_, nullptr, mapping);
    }
    iommufd_map_options at_{.size = sizeof at_, .flags = IOMMUFD_MAP_AT};
    OwnedMemory memory_;
    OwnedSpace space_;
    OwnedVfio device_;
};

TEST_F(CapiSpaceTest, AMappingIsPlannedUntilADeviceIsThere) {
    OwnedMapping mapping;
    ASSERT_EQ(map(kIova, &mapping), 0) << iommufd_error_text();
    EXPECT_EQ(iommufd_mapping_state(mapping), IOMMUFD_MAPPING_PLANNED);
    std::uint32_t ioas = 0;
    EXPECT_EQ(iommufd_space_ioas(space_, &ioas), -ENOENT);
    attach();
    EXPECT_EQ(iommufd_mapping_state(mapping), IOMMUFD_MAPPING_MAPPED);
    EXPECT_EQ(iommufd_space_ioas(space_, &ioas), 0);
    EXPECT_NE(ioas, 0U);
    EXPECT_EQ(iommufd_mapping_iova(mapping), kIova);
    EXPECT_EQ(iommufd_mapping_length(mapping), kLength);
    EXPECT_EQ(iommufd_mapping_remap(mapping), -EINVAL);  // no dma-buf
    EXPECT_EQ(iommufd_mapping_unmap(mapping.release(), -1), 0);
}

TEST_F(CapiSpaceTest, WhatIsMappedIsListedAndCounted) {
    attach();
    OwnedMapping mapping;
    ASSERT_EQ(map(kIova, &mapping), 0);
    iommufd_mapped mapped{};
    ASSERT_EQ(iommufd_space_mappings(space_, &mapped, 1), 1);
    EXPECT_EQ(mapped.first, kIova);
    EXPECT_EQ(mapped.last, kIova + kLength - 1);
    EXPECT_EQ(mapped.access, std::uint32_t{IOMMUFD_READ_WRITE});
    EXPECT_STREQ(mapped.memory, "ram0");
    iommufd_counters counters{.size = sizeof counters};
    ASSERT_EQ(iommufd_space_get_counters(space_, &counters), 0);
    EXPECT_EQ(counters.mapped, kLength);
    EXPECT_EQ(counters.mapped_by_file, 1U);
    EXPECT_EQ(text_of([&](char* text, std::size_t length) {
                  return iommufd_space_not_released(space_, text, length);
              }),
              "");
    EXPECT_EQ(iommufd_space_retry_releases(space_), 0);
}

TEST_F(CapiSpaceTest, EachRefusalOfAMapHasItsErrno) {
    attach();
    ASSERT_EQ(map(kIova), 0) << iommufd_error_text();
    EXPECT_EQ(map(kIova), -EEXIST);
    EXPECT_EQ(map(kIova + 1), -EINVAL);
    EXPECT_EQ(map(0xfee00000), -EINVAL);  // where interrupts go
    EXPECT_EQ(map(~std::uint64_t{0xfff}), -EOVERFLOW);
    at_.flags = 2;
    EXPECT_EQ(map(kIova), -EINVAL);
    at_.flags = IOMMUFD_MAP_AT;
    at_.access = 4;
    EXPECT_EQ(map(2 * kIova), -EINVAL);
    at_.access = IOMMUFD_READ;
    EXPECT_EQ(map(2 * kIova), 0);
    at_.size = 8;
    EXPECT_EQ(map(3 * kIova), -EINVAL);
}

TEST_F(CapiSpaceTest, MoreThanTheMemoryLimitIsENOMEM) {
    iommufd_space_free(space_.release());
    start("devices=edu,memlock=32K");
    ASSERT_EQ(iommufd_space_create(object_, nullptr, &space_), 0);
    attach();
    EXPECT_EQ(map(kIova), -ENOMEM);
    EXPECT_STREQ(iommufd_error_operation(), "IOMMU_IOAS_MAP_FILE");
    EXPECT_NE(std::string(iommufd_error_what()).find("ram0"), std::string::npos);
}

TEST_F(CapiSpaceTest, ASpaceWithoutRoomIsENOSPC) {
    OwnedVfio narrow;
    const iommufd_vfio_options bits{
        .size = sizeof bits, .name = nullptr, .vf_token = nullptr, .dma_bits = 15};
    ASSERT_EQ(iommufd_vfio_open(object_, kEdu, &bits, &narrow), 0);
    ASSERT_EQ(iommufd_vfio_attach(narrow, space_), 0) << iommufd_error_text();
    EXPECT_EQ(iommufd_space_map(space_, memory_, nullptr, nullptr, nullptr), -ENOSPC);
}

TEST_F(CapiSpaceTest, TheSpaceChoosesAnIovaAndTellsIt) {
    attach();
    std::uint64_t iova = 0;
    OwnedMapping mapping;
    ASSERT_EQ(iommufd_space_map(space_, memory_, nullptr, &iova, &mapping), 0) << iommufd_error_text();
    EXPECT_EQ(iova, iommufd_mapping_iova(mapping));
    EXPECT_EQ(iova % 4096, 0U);
}

TEST_F(CapiSpaceTest, UnmapTellsNothingFromASplitFromWhatIsOwned) {
    attach();
    OwnedMapping mapping;
    ASSERT_EQ(map(kIova, &mapping), 0);
    ASSERT_EQ(map(2 * kIova), 0);
    std::uint64_t unmapped = 0;
    EXPECT_EQ(iommufd_space_unmap(space_, kIova, kLength, -1, &unmapped), -EBUSY);
    EXPECT_EQ(iommufd_space_unmap(space_, 3 * kIova, kLength, -1, &unmapped), -ENOENT);
    EXPECT_EQ(iommufd_space_unmap(space_, 2 * kIova, 4096, -1, &unmapped), -EINVAL);
    EXPECT_EQ(iommufd_space_unmap(space_, 2 * kIova, 0, -1, &unmapped), -EINVAL);
    EXPECT_EQ(iommufd_space_unmap(space_, ~std::uint64_t{0}, 2, -1, &unmapped), -EINVAL);
    EXPECT_EQ(unmapped, 0U);
    EXPECT_EQ(iommufd_space_unmap(space_, 2 * kIova, kLength, -1, &unmapped), 0);
    EXPECT_EQ(unmapped, kLength);
    iommufd_mapping_leave(mapping.release());
    EXPECT_EQ(iommufd_space_unmap(space_, kIova, kLength, -1, nullptr), 0);
}

TEST_F(CapiSpaceTest, AnotherSpaceTakesThePinsOver) {
    attach();
    at_.pinned_by = space_;
    ASSERT_EQ(map(kIova), 0);
    ASSERT_EQ(map(2 * kIova), 0) << iommufd_error_text();
    iommufd_counters counters{.size = sizeof counters};
    ASSERT_EQ(iommufd_space_get_counters(space_, &counters), 0);
    EXPECT_EQ(counters.mapped_by_copy, 1U);
}

TEST_F(CapiSpaceTest, LimitsAreThoseOfTheDevices) {
    attach();
    iommufd_range ranges[4] = {};
    std::uint64_t alignment = 0;
    ASSERT_EQ(iommufd_space_limits(space_, ranges, 4, &alignment), 2);
    EXPECT_EQ(alignment, 4096U);
    EXPECT_EQ(ranges[0].last, 0xfedfffffU);
    EXPECT_EQ(iommufd_space_limits(space_, nullptr, 0, nullptr), 2);
}

TEST_F(CapiSpaceTest, MemoryIsOfManyKinds) {
    OwnedMemory memory;
    EXPECT_EQ(iommufd_memory_memfd(0, nullptr, &memory), -EINVAL);
    EXPECT_EQ(iommufd_memory_file("/no/such/file", 4096, nullptr, &memory), -ENOENT);
    EXPECT_EQ(iommufd_memory_fd(-1, 4096, nullptr, &memory), -EBADF);
    EXPECT_EQ(iommufd_memory_fd(iommufd_memory_file_fd(memory_), 2 * kLength, nullptr, &memory), -EINVAL);
    const iommufd_memory_options wrong{.size = sizeof wrong, .label = nullptr, .flags = 64};
    EXPECT_EQ(iommufd_memory_memfd(4096, &wrong, &memory), -EINVAL);
    const iommufd_memory_options pages{.size = sizeof pages, .label = nullptr, .flags = 0, .huge_pages = 4};
    EXPECT_EQ(iommufd_memory_memfd(4096, &pages, &memory), -EINVAL);
    ASSERT_EQ(iommufd_memory_fd(iommufd_memory_file_fd(memory_), kLength, nullptr, &memory), 0);
    std::strcpy(static_cast<char*>(iommufd_memory_data(memory)), "the same pages");
    EXPECT_STREQ(static_cast<char*>(iommufd_memory_data(memory_)), "the same pages");
    EXPECT_EQ(iommufd_memory_size(memory), kLength);
    OwnedMemory anonymous;
    ASSERT_EQ(iommufd_memory_anonymous(1, nullptr, &anonymous), 0);
    EXPECT_EQ(iommufd_memory_size(anonymous), 4096U);
    EXPECT_EQ(iommufd_memory_file_fd(anonymous), -EBADF);
    OwnedMemory borrowed;
    ASSERT_EQ(iommufd_memory_borrow(iommufd_memory_data(anonymous), 4096, nullptr, &borrowed), 0);
    EXPECT_EQ(iommufd_memory_data(borrowed), iommufd_memory_data(anonymous));
}

TEST_F(CapiSpaceTest, AReaderTranslatesBothWaysWhileItHasEntered) {
    ASSERT_EQ(map(kIova), 0);
    OwnedReader reader;
    ASSERT_EQ(iommufd_reader_create(space_, nullptr, &reader), 0);
    void* address = nullptr;
    EXPECT_EQ(iommufd_reader_translate(reader, kIova, 8, IOMMUFD_READ, &address), -EINVAL);
    EXPECT_EQ(iommufd_reader_leave(reader), -EINVAL);
    ASSERT_EQ(iommufd_reader_enter(reader), 0);
    EXPECT_EQ(iommufd_reader_enter(reader), -EALREADY);
    EXPECT_EQ(iommufd_reader_translate(reader, kIova + 16, 2 * kLength, IOMMUFD_READ, &address),
              std::int64_t{kLength - 16});
    EXPECT_EQ(address, static_cast<char*>(iommufd_memory_data(memory_)) + 16);
    EXPECT_EQ(iommufd_reader_translate(reader, 2 * kIova, 8, IOMMUFD_READ, &address), 0);
    EXPECT_EQ(iommufd_reader_translate(reader, kIova, 8, 0, &address), -EINVAL);
    EXPECT_EQ(iommufd_reader_translate(reader, kIova, 0, IOMMUFD_READ, &address), -EINVAL);
    std::uint64_t iova = 0;
    EXPECT_EQ(iommufd_reader_iova_of(reader, iommufd_memory_data(memory_), kLength, &iova), 0);
    EXPECT_EQ(iova, kIova);
    EXPECT_EQ(iommufd_reader_iova_of(reader, &iova, 8, &iova), -ENOENT);
    EXPECT_EQ(iommufd_space_unmap(space_, kIova, kLength, -1, nullptr), -EDEADLK);
    EXPECT_EQ(iommufd_reader_leave(reader), 0);
    EXPECT_EQ(iommufd_space_unmap(space_, kIova, kLength, -1, nullptr), 0);
}

TEST_F(CapiSpaceTest, AnUnmapWaitsForAReaderNoLongerThanItIsTold) {
    ASSERT_EQ(map(kIova), 0);
    OwnedReader reader;
    ASSERT_EQ(iommufd_reader_create(space_, "slow", &reader), 0);
    std::thread([&] { ASSERT_EQ(iommufd_reader_enter(reader), 0); }).join();
    EXPECT_EQ(iommufd_space_unmap(space_, kIova, kLength, 1, nullptr), -ETIMEDOUT);
    EXPECT_NE(std::string(iommufd_error_text()).find("slow"), std::string::npos);
    OwnedMapping mapping;
    ASSERT_EQ(map(2 * kIova, &mapping), 0);
    EXPECT_EQ(iommufd_mapping_unmap(mapping.release(), 1),
              -ETIMEDOUT);  // it is unmapped, and the handle gone
    EXPECT_EQ(iommufd_space_mappings(space_, nullptr, 0), 0);
    EXPECT_EQ(iommufd_reader_leave(reader), 0);
}

TEST_F(CapiSpaceTest, BytesAreCopiedFromAndToIovasOrNone) {
    at_.length = 4096;
    ASSERT_EQ(map(kIova), 0);
    at_.offset = 8192;  // side by side for a device, and not here
    at_.access = IOMMUFD_READ;
    ASSERT_EQ(map(kIova + 4096), 0);
    OwnedReader reader;
    ASSERT_EQ(iommufd_reader_create(space_, nullptr, &reader), 0);
    auto* const bytes = static_cast<char*>(iommufd_memory_data(memory_));
    std::memcpy(bytes + 4092, "left", 4);
    std::memcpy(bytes + 8192, "right", 6);
    char text[10] = "";
    EXPECT_EQ(iommufd_reader_read(reader, kIova + 4092, text, sizeof text), 0) << iommufd_error_text();
    EXPECT_STREQ(text, "leftright");
    EXPECT_EQ(iommufd_reader_write(reader, kIova, "written", 8), 0);
    EXPECT_STREQ(bytes, "written");
    EXPECT_EQ(iommufd_reader_write(reader, kIova + 4092, "too far", 8), -EFAULT);
    EXPECT_EQ(std::string_view(bytes + 4092, 4), "left");
    EXPECT_EQ(iommufd_reader_read(reader, kIova + 8192, text, 1), -EFAULT);
    EXPECT_EQ(iommufd_reader_read(reader, ~std::uint64_t{0}, text, 2), -EFAULT);
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi
