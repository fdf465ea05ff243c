// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From a guest's PASID-table entry and invalidation descriptors to its device's DMA, on the model of a VT-d that nests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "iommufd/dma/space.hpp"
#include "iommufd/viommu/batch.hpp"
#include "iommufd/viommu/vtd.hpp"
#include "model/guest_world.hpp"
#include "support/raw_device.hpp"

namespace iommufd::viommu {
namespace {

using model::testing::GuestTables;

constexpr std::uint64_t kGuest = 0x40000000;
constexpr std::uint64_t kSize = 4ULL << 20;
constexpr std::uint64_t kData = kGuest + kSize / 2;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kIova = 0x123456000;
constexpr std::uint16_t kDomain = 5;  // the guest's number

vtd::PasidEntry first_stage_entry(std::uint64_t table) {
    vtd::PasidEntry entry{};
    entry[0] = 1 | 1ULL << 6;  // present; first stage
    entry[1] = kDomain;
    entry[2] = table;  // of four levels
    return entry;
}

// By PASID 0: a device's requests without one. `pages`: 2^n.
vtd::Descriptor pages_of_pasid(std::uint64_t iova, unsigned pages = 0, bool leaf = true) {
    return {6 | 3ULL << 4 | std::uint64_t{kDomain} << 16, iova | std::uint64_t{leaf} << 6 | pages, 0, 0};
}

// It tells of pages of 4 KiB, however the memory lies.
model::Description a_vtd_that_nests() {
    model::Description description =
        model::parse("devices=edu:dma-bits=64,nesting=on,dirty-tracking=on").value();
    description.page_sizes = kPage;
    return description;
}

class NestedDmaTest : public ::testing::Test {
protected:
    void SetUp() override {
        map(kGuest, memory_).leave();
        const std::uint16_t master = 0x106;
        (void)machine_.kernel().pwrite(device_->fd().number(), &master, sizeof master, (7ULL << 40) + 4);
        std::memset(at(kData), kByte, kPage);
        dma(kData, 0x40000, kPage, 1);  // into its buffer
    }

    dma::Mapping map(std::uint64_t guest_physical, const model::testing::Memory& memory) {
        return space_
            .map(dma::Memory::borrow(memory.bytes(), memory.size()).value(), {.iova = Iova{guest_physical}})
            .value();
    }
    unsigned char* at(std::uint64_t guest_physical) const {
        return memory_.bytes() + (guest_physical - kGuest);
    }

    void dma(std::uint64_t from, std::uint64_t to, std::uint64_t length, std::uint64_t command) {
        for (const auto& [where, value] :
             {std::pair{0x80, from}, std::pair{0x88, to}, std::pair{0x90, length}, std::pair{0x98, command}})
            (void)machine_.kernel().pwrite(device_->fd().number(), &value, sizeof value,
                                           static_cast<std::uint64_t>(where));
    }
    // Whether what edu writes to an address arrives there.
    bool writes(std::uint64_t iova, std::uint64_t guest_physical) {
        *at(guest_physical) = 0;
        dma(0x40000, iova, 1, 3);
        return *at(guest_physical) == kByte;
    }
    Result<void> configure(const vtd::PasidEntry& words) {
        const auto entry = vtd::decode(words, hardware_);
        if (!entry) return entry.error();
        switch (entry->translation) {
            case Translation::nested:
                return guest_.install(entry->table);
            case Translation::bypass:
                return guest_.bypass();
            default:
                return guest_.block();
        }
    }
    // As at the guest's wait descriptor.
    Result<void> invalidate(std::initializer_list<vtd::Descriptor> queue) {
        Batch<vtd::Invalidation> batch;
        for (const vtd::Descriptor& descriptor : queue) {
            const auto request = vtd::decode(descriptor);
            if (!request) return request.error();
            if (request->kind == vtd::Request::Kind::translations) (void)batch.add(request->invalidation);
        }
        return batch.flush(guest_);
    }

    static constexpr unsigned char kByte = 0x5a;

    model::Machine machine_{a_vtd_that_nests()};
    model::testing::Memory memory_{kSize};
    GuestTables tables_{memory_.bytes(), kGuest};
    Backend backend_ =
        Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &machine_.kernel()}).value();
    dma::Space space_ = dma::Space::on(backend_, {.id = "dma0"}).value();
    std::shared_ptr<support::RawDevice> device_ = support::RawDevice::bind(backend_);
    GuestDevice guest_ = GuestDevice::of(device_).value();
    dma::Attachment joined_ = space_.attach(guest_).value();
    vtd::Hardware hardware_ =
        vtd::hardware(core::hw_info(core::Context(device_->context()), guest_.id()).value()).value();
};

TEST_F(NestedDmaTest, TheRegistersSayWhatTheGuestMayBeShown) {
    EXPECT_TRUE(hardware_.nests);
    EXPECT_TRUE(hardware_.huge_pages);
    EXPECT_TRUE(hardware_.supervisor);
    EXPECT_TRUE(hardware_.dirty_tracking);
    EXPECT_FALSE(hardware_.five_levels);
    EXPECT_FALSE(hardware_.extended_access);
    EXPECT_EQ(hardware_.guest_bits, 48U);
    EXPECT_EQ(hardware_.pasid_bits, 0U);
}

TEST_F(NestedDmaTest, ADeviceGoesThroughTheTableThatItsGuestInstallsAndBack) {
    tables_.map(kIova, kData + kPage);
    ASSERT_TRUE(writes(kData, kData)) << "it starts in bypass";
    ASSERT_TRUE(configure(first_stage_entry(tables_.root())));
    EXPECT_EQ(guest_.translation(), Translation::nested);
    EXPECT_TRUE(writes(kIova, kData + kPage));
    EXPECT_FALSE(writes(kData, kData));
    EXPECT_EQ(tables_.entry(kIova) & (GuestTables::accessed | GuestTables::dirty),
              std::uint64_t{GuestTables::accessed | GuestTables::dirty});
    ASSERT_TRUE(configure({}));
    EXPECT_EQ(guest_.translation(), Translation::blocked);
    EXPECT_FALSE(writes(kIova, kData + kPage));
    ASSERT_TRUE(configure({1 | 4ULL << 6}));
    EXPECT_TRUE(writes(kData, kData));
}

TEST_F(NestedDmaTest, AGuestThatInvalidatesSeesItsNewMapAndOneThatForgetsItsOldOne) {
    tables_.map(kIova, kData + kPage);
    ASSERT_TRUE(configure(first_stage_entry(tables_.root())));
    ASSERT_TRUE(writes(kIova, kData + kPage));
    tables_.map(kIova, kData + 2 * kPage);
    EXPECT_TRUE(writes(kIova, kData + kPage)) << "forgotten";
    ASSERT_TRUE(invalidate({pages_of_pasid(kIova)}));
    EXPECT_TRUE(writes(kIova, kData + 2 * kPage));

    // A batch: pages beside it, and then it.
    tables_.entry(kIova) = 0;
    ASSERT_TRUE(invalidate({pages_of_pasid(kIova + 4 * kPage, 1)}));
    EXPECT_TRUE(writes(kIova, kData + 2 * kPage));
    ASSERT_TRUE(invalidate({pages_of_pasid(kIova + 4 * kPage, 1), pages_of_pasid(kIova)}));
    EXPECT_FALSE(writes(kIova, kData + 2 * kPage));
    EXPECT_EQ(machine_.blocked_dma().back().iova, kIova);
}

TEST_F(NestedDmaTest, EachGranularityOfTheGuestsReachesThePage) {
    const std::uint64_t domain = std::uint64_t{kDomain} << 16;
    const vtd::Descriptor all[] = {{2 | 1ULL << 4, 0, 0, 0},           // the IOTLB, all of it
                                   {2 | 2ULL << 4 | domain, 0, 0, 0},  // of a domain
                                   {6 | 2ULL << 4 | domain, 0, 0, 0},  // of a PASID
                                   pages_of_pasid(kIova),
                                   pages_of_pasid(kIova & ~0x1fffffULL, 9, false)};
    ASSERT_TRUE(configure(first_stage_entry(tables_.root())));
    tables_.map(kIova, kData);
    std::uint64_t page = 0;
    for (const vtd::Descriptor& descriptor : all) {
        ASSERT_TRUE(writes(kIova, kData + page * kPage));
        tables_.map(kIova, kData + ++page * kPage);
        ASSERT_TRUE(invalidate({descriptor}));
    }
    EXPECT_TRUE(writes(kIova, kData + page * kPage));
}

TEST_F(NestedDmaTest, WhatTheSpaceUnmapsIsOutOfReachThroughTheGuestsTableToo) {
    tables_.map(kIova, kData);
    tables_.map(kIova + kPage, kGuest + 2 * kSize);
    ASSERT_TRUE(configure(first_stage_entry(tables_.root())));
    ASSERT_TRUE(writes(kIova, kData));
    const model::testing::Memory more(kPage);
    {
        const dma::Mapping mapping = map(kGuest + 2 * kSize, more);
        dma(0x40000, kIova + kPage, 1, 3);
        EXPECT_EQ(more.bytes()[0], kByte);
    }
    more.bytes()[0] = 0;
    dma(0x40000, kIova + kPage, 1, 3);
    EXPECT_EQ(more.bytes()[0], 0);
    EXPECT_EQ(machine_.blocked_dma_count(), 1U);
}

TEST_F(NestedDmaTest, ATableThatThisIommuCannotWalkIsRefusedBeforeTheKernelIsAsked) {
    vtd::PasidEntry five = first_stage_entry(tables_.root());
    five[2] |= 1U << 2;
    EXPECT_EQ(configure(five).error().code(), EOPNOTSUPP);
    EXPECT_EQ(guest_.translation(), Translation::bypass);
    // The kernel's own answer comes at the attach.
    EXPECT_EQ(guest_.install(vtd::Table{.flags = 0, .address = tables_.root(), .width = 57, .reserved = 0})
                  .error()
                  .code(),
              EINVAL);
    EXPECT_TRUE(writes(kData, kData));
}

TEST_F(NestedDmaTest, TheSpaceLearnsWhatTheDeviceWroteThroughTheGuestsTableAndTheTableItself) {
    tables_.map(kIova, kData + 3 * kPage);
    ASSERT_TRUE(configure(first_stage_entry(tables_.root())));
    const dma::DirtyLog log = space_.track_dirty().value();
    const auto written = [&] {
        std::vector<std::uint64_t> pages;
        EXPECT_TRUE(log.sync([&](std::span<const Range> runs) {
            for (const Range& run : runs)
                for (std::uint64_t page = 0; page < run.length(); page += kPage)
                    pages.push_back(run.first.value + page);
        }));
        return pages;
    };
    (void)written();
    ASSERT_TRUE(writes(kIova, kData + 3 * kPage));
    const std::uint64_t root = tables_.root();
    EXPECT_THAT(written(), ::testing::ElementsAre(root, root + kPage, root + 2 * kPage, root + 3 * kPage,
                                                  kData + 3 * kPage));
    ASSERT_TRUE(writes(kIova, kData + 3 * kPage));
    EXPECT_THAT(written(), ::testing::ElementsAre(kData + 3 * kPage)) << "its bits are set already";
}

}  // namespace
}  // namespace iommufd::viommu
