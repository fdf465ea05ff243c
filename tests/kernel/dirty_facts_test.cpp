// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the kernel does with dirty bits where its documentation says nothing: each of these is why the library reads
// them as it does. Bare ioctls on the kernel's own mock device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>

#include "iommufd/dma/memory.hpp"
#include "kernel/dirty_mock.hpp"
#include "kernel/recorder.hpp"

namespace iommufd::kernel_tests {
namespace {

using namespace core;
using ::testing::Each;
using ::testing::ElementsAre;

constexpr Iova kBase{0x10000000};
constexpr std::uint64_t kPage = 4_KiB;

class DirtyFactsTest : public ::testing::Test {
protected:
    void SetUp() override {
        context_.emplace(
            Context::open({.label = "iommufd0", .report = {}, .kernel = &Recorder::instance()}).value());
        ioas_.emplace(Ioas::alloc(*context_).value());
        auto device = MockDevice::make(*context_, ioas_->id());
        if (!device) GTEST_SKIP() << "this kernel has no mock device of our version";
        device_.emplace(std::move(*device));
        auto hwpt = Hwpt::alloc(*context_, device_->id(), *ioas_, {.dirty_tracking = true});
        if (!hwpt) GTEST_SKIP() << "this kernel tracks no dirty pages";
        hwpt_.emplace(std::move(*hwpt));
        ASSERT_EQ(device_->replace(hwpt_->id()), 0);
    }

    void map(std::uint64_t page, std::uint64_t count) {
        ASSERT_TRUE(ioas_->map(memory_.data() + page * kPage, count * kPage, Access::read_write,
                               kBase + page * kPage));
    }
    void write(std::initializer_list<std::uint64_t> pages) {
        for (const std::uint64_t page : pages)
            ASSERT_EQ(set_dirty(*context_, hwpt_->id(), kBase + page * kPage), 0) << page;
    }
    // As a program would that knows nothing of this library: 0 or a negative errno.
    int read_into(const void* bitmap, std::uint64_t page, std::uint64_t count, std::uint32_t flags = 0) {
        uapi::HwptGetDirtyBitmap command{.size = sizeof command,
                                         .hwpt_id = hwpt_->id().value,
                                         .flags = flags,
                                         .reserved = 0,
                                         .iova = (kBase + page * kPage).value,
                                         .length = count * kPage,
                                         .page_size = kPage,
                                         .data = reinterpret_cast<std::uintptr_t>(bitmap)};
        return context_->node()->ioctl(uapi::kHwptGetDirtyBitmap, &command);
    }
    // The numbers of the pages that are dirty, among those in [page, page + count).
    std::vector<std::uint64_t> read(std::uint64_t page, std::uint64_t count, std::uint32_t flags = 0) {
        std::vector<std::uint64_t> bitmap(count / 64 + 1);
        EXPECT_EQ(read_into(bitmap.data(), page, count, flags), 0);
        std::vector<std::uint64_t> pages;
        for (std::uint64_t bit = 0; bit < bitmap.size() * 64; ++bit)
            if (bitmap[bit / 64] >> bit % 64 & 1) pages.push_back(page + bit);
        return pages;
    }

    std::optional<Context> context_;
    std::optional<Ioas> ioas_;
    std::optional<MockDevice> device_;
    std::optional<Hwpt> hwpt_;
    dma::Memory memory_ = dma::Memory::memfd(16_MiB, {.label = "ram", .prealloc = true}).value();
};

TEST_F(DirtyFactsTest, AReadStopsAtAHoleAndReportsSuccess) {
    ASSERT_TRUE(ioas_->set_huge_pages(false));
    map(0, 16);
    map(32, 16);
    ASSERT_TRUE(hwpt_->set_dirty_tracking(true));
    write({1, 40});
    EXPECT_THAT(read(0, 48), ElementsAre(1)) << "page 40 is behind the hole";
    EXPECT_THAT(read(20, 28), ElementsAre()) << "it starts in the hole";
    EXPECT_THAT(read(32, 16), ElementsAre(40)) << "neither has lost it";
}

TEST_F(DirtyFactsTest, ABitmapThatCannotBeWrittenIsSuccessAndLosesTheBits) {
    ASSERT_TRUE(ioas_->set_huge_pages(false));
    map(0, 16);
    ASSERT_TRUE(hwpt_->set_dirty_tracking(true));
    void* const readonly = ::mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(readonly, MAP_FAILED);
    for (const void* const bad : {static_cast<const void*>(nullptr), static_cast<const void*>(readonly)}) {
        write({3});
        EXPECT_EQ(read_into(bad, 0, 16, uapi::kDirtyBitmapNoClear), 0);
        EXPECT_THAT(read(0, 16, uapi::kDirtyBitmapNoClear), ElementsAre(3));
        EXPECT_EQ(read_into(bad, 0, 16), 0);
        EXPECT_THAT(read(0, 16), ElementsAre()) << "lost";
    }
    ::munmap(readonly, kPage);
}

TEST_F(DirtyFactsTest, BitsStayWithNoClearAndAreAddedToThoseInTheBitmap) {
    ASSERT_TRUE(ioas_->set_huge_pages(false));
    map(0, 64);
    ASSERT_TRUE(hwpt_->set_dirty_tracking(true));
    write({3});
    EXPECT_THAT(read(0, 64, uapi::kDirtyBitmapNoClear), ElementsAre(3));
    EXPECT_THAT(read(0, 64, uapi::kDirtyBitmapNoClear), ElementsAre(3));
    std::uint64_t word = 0x80;
    EXPECT_EQ(read_into(&word, 0, 64), 0);
    EXPECT_EQ(word, 0x88U);
    EXPECT_THAT(read(0, 64), ElementsAre());
}

TEST_F(DirtyFactsTest, UnmappingForgetsBitsAndStartingAgainClearsThem) {
    ASSERT_TRUE(ioas_->set_huge_pages(false));
    map(0, 16);
    ASSERT_TRUE(hwpt_->set_dirty_tracking(true));
    write({3});
    ASSERT_TRUE(ioas_->unmap(kBase, 16 * kPage));
    map(0, 16);
    EXPECT_THAT(read(0, 16), ElementsAre());
    write({3});
    ASSERT_TRUE(hwpt_->set_dirty_tracking(false));
    ASSERT_TRUE(hwpt_->set_dirty_tracking(true));
    EXPECT_THAT(read(0, 16), ElementsAre());
}

TEST_F(DirtyFactsTest, BothTablesOfAnIoasHaveBitsOfTheirOwn) {
    ASSERT_TRUE(ioas_->set_huge_pages(false));
    map(0, 16);
    const Hwpt other = Hwpt::alloc(*context_, device_->id(), *ioas_, {.dirty_tracking = true}).value();
    ASSERT_TRUE(hwpt_->set_dirty_tracking(true));
    ASSERT_TRUE(other.set_dirty_tracking(true));
    write({3});
    ASSERT_EQ(set_dirty(*context_, other.id(), kBase + 5 * kPage), 0);
    EXPECT_THAT(read(0, 16), ElementsAre(3));
    std::uint64_t word = 0;
    ASSERT_TRUE(other.read_dirty(*Range::of(kBase, 16 * kPage), kPage, {&word, 1}));
    EXPECT_EQ(word, 1U << 5);
}

// One entry of the page table covers 2 MiB here, and has one dirty bit.
TEST_F(DirtyFactsTest, AReadThatCutsALargeIoPageLosesItOrWritesBehindTheBitmap) {
    dma::Memory huge =
        dma::Memory::anonymous(4_MiB, {.label = "huge", .huge_pages = dma::Memory::HugePages::transparent})
            .value();
    const std::uint64_t skew = -reinterpret_cast<std::uintptr_t>(huge.data()) % 2_MiB;
    std::byte* const start = huge.data() + skew;
    ASSERT_EQ(::madvise(start, 2_MiB, MADV_HUGEPAGE), 0);
    std::fill_n(start, 2_MiB, std::byte{1});
    ASSERT_TRUE(ioas_->map(start, 2_MiB, Access::read_write, kBase));
    ASSERT_TRUE(hwpt_->set_dirty_tracking(true));
    write({100});
    if (read(0, 512, uapi::kDirtyBitmapNoClear).size() != 512)
        GTEST_SKIP() << "the memory is not in one piece";

    EXPECT_THAT(read(100, 8), ElementsAre()) << "it starts within the page";
    EXPECT_THAT(read(0, 512), ElementsAre()) << "and is lost";

    write({100});
    std::vector<std::uint64_t> bitmap(8);
    EXPECT_EQ(read_into(bitmap.data(), 0, 128), 0);
    EXPECT_THAT(bitmap, Each(~std::uint64_t{0})) << "128 bits were asked for, and 512 are written";
    EXPECT_THAT(read(0, 512), ElementsAre());
}

}  // namespace
}  // namespace iommufd::kernel_tests
