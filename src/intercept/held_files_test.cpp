// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/held_files.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "intercept/huge_pages.hpp"
#include "model/safe_copy.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

constexpr std::uint64_t kPage = 4096;

class HeldFilesTest : public testing::Test {
protected:
    void SetUp() override {
        const std::filesystem::directory_iterator maps("/proc/self/map_files");
        if (::access(maps->path().c_str(), F_OK) < 0)
            GTEST_SKIP() << "only a privileged process may open the files behind a map";
    }

    static char* map(int flags) {
        void* const memory = ::mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
        for (unsigned page = 0; page < 4; ++page)
            std::memset(static_cast<char*>(memory) + page * kPage, "abcd"[page], kPage);
        return static_cast<char*>(memory);
    }
    static std::uint64_t address(const char* memory) { return reinterpret_cast<std::uint64_t>(memory); }
    void hold(const char* memory, std::uint64_t first_page, std::uint64_t count) {
        const std::uint64_t first = address(memory) + first_page * kPage;
        files.hold(model::read_maps("/proc/self/maps"), first, first + count * kPage - 1);
    }

    const LastCloses made;
    HeldFiles files{{sys::host_kernel(), ::open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC)}, made};
};

TEST_F(HeldFilesTest, SharedMemoryStaysAfterItIsUnmapped) {
    char* const memory = map(MAP_SHARED);
    hold(memory, 1, 3);
    ASSERT_EQ(::munmap(memory, 4 * kPage), 0);
    std::vector<char> read(2 * kPage);
    EXPECT_EQ(files.read(read.data(), address(memory) + 2 * kPage - 1, 3), 3U);
    EXPECT_EQ(std::string(read.data(), 3), "bcc");
    EXPECT_EQ(files.write(address(memory) + 3 * kPage, "xyz", 3), 3U);
    EXPECT_EQ(files.read(read.data(), address(memory) + 3 * kPage, 2 * kPage), kPage) << "no more is held";
    EXPECT_EQ(std::string(read.data(), 4), "xyzd");
    EXPECT_EQ(files.read(read.data(), address(memory), 1), 0U) << "that page was not to be held";
}

TEST_F(HeldFilesTest, PrivateMemoryIsNotHeld) {
    char* const memory = map(MAP_PRIVATE);
    hold(memory, 0, 4);
    char byte = 0;
    EXPECT_EQ(files.read(&byte, address(memory), 1), 0U);
    ::munmap(memory, 4 * kPage);
}

TEST_F(HeldFilesTest, WhatIsMappedInItsPlaceTakesItsPlaceOnlyThere) {
    char* const memory = map(MAP_SHARED);
    hold(memory, 0, 4);
    ASSERT_NE(
        ::mmap(memory + kPage, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
        MAP_FAILED);
    hold(memory, 1, 1);
    char bytes[2] = {};
    EXPECT_EQ(files.read(bytes, address(memory) + kPage - 1, 2), 1U);
    EXPECT_EQ(bytes[0], 'a');
    EXPECT_EQ(files.read(bytes, address(memory) + kPage, 1), 0U);
    EXPECT_EQ(files.read(bytes, address(memory) + 3 * kPage - 1, 2), 2U);
    EXPECT_EQ(std::string(bytes, 2), "cd");
    ::munmap(memory, 4 * kPage);
}

// Of which no folder of /proc tells.
TEST(HeldFilesOfPrograms, AMemfdIsHeldUntilItIsMappedNoMoreAndThenItIsGone) {
    LastCloses made;
    HeldFiles files{sys::Fd(), made};
    int gone = 0;
    const auto see = [&] { made.see([&](const model::FileIdentity&) { ++gone; }); };
    const int file = made.open_for_programs(::memfd_create("kept", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file, 2 * kPage), 0);
    const auto mapped = [&](std::uint64_t pages) {
        void* const memory = ::mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        files.hold(model::read_maps("/proc/self/maps"), reinterpret_cast<std::uint64_t>(memory),
                   reinterpret_cast<std::uint64_t>(memory) + pages * kPage - 1);
        (void)::munmap(memory, pages * kPage);
        return reinterpret_cast<std::uint64_t>(memory);
    };
    char byte = 0;
    const std::uint64_t first = mapped(3);
    EXPECT_EQ(files.write(first + kPage, "x", 1), 1U);
    EXPECT_EQ(::pread(file, &byte, 1, kPage), 1);
    EXPECT_EQ(byte, 'x');
    EXPECT_EQ(files.read(&byte, first + 2 * kPage, 1), 0U) << "the file ends before";
    ASSERT_EQ(::ftruncate(file, 4 * kPage), 0);
    const std::uint64_t longer = mapped(4);
    EXPECT_EQ(files.read(&byte, longer + 3 * kPage, 1), 1U) << "it has grown";
    ASSERT_EQ(::ftruncate(file, kPage), 0);
    model::expect_faults();
    EXPECT_EQ(files.read(&byte, longer + 3 * kPage, 1), 0U) << "it has shrunk";

    ASSERT_EQ(::close(file), 0);
    see();
    EXPECT_EQ(gone, 0);
    files.hold({}, 0, ~std::uint64_t{0});
    see();
    EXPECT_EQ(gone, 1);
}

TEST(HugePagesTest, AFileOfHugePagesIsKnownByItsContainer) {
    struct stat found{};
    const sys::Fd ordinary(sys::host_kernel(), ::memfd_create("ordinary", MFD_CLOEXEC));
    ASSERT_EQ(::fstat(ordinary.number(), &found), 0);
    EXPECT_EQ(page_size_of(found.st_dev), 4096U);
    const sys::Fd huge(sys::host_kernel(), ::memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | 21U << 26));
    if (!huge) GTEST_SKIP() << "this kernel has no pages of 2 MiB";
    ASSERT_EQ(::fstat(huge.number(), &found), 0);
    EXPECT_EQ(page_size_of(found.st_dev), 2U << 20);
}

}  // namespace
}  // namespace iommufd::inline v0_1::intercept
