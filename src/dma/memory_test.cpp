// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/dma/memory.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace iommufd::dma {
namespace {

// The flags of the mapping at an address, as /proc/self/smaps has them: "rd wr mr mw me ac nh".
std::string flags_at(const void* address) {
    std::ifstream maps("/proc/self/smaps");
    bool here = false;
    for (std::string line; std::getline(maps, line);) {
        std::uint64_t first = 0;
        std::uint64_t end = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &end) == 2) {
            const auto wanted = reinterpret_cast<std::uintptr_t>(address);
            here = first <= wanted && wanted < end;
        }
        if (here && line.starts_with("VmFlags:")) return line + " ";
    }
    return {};
}

class MemoryHugePagesTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage"))
            GTEST_SKIP() << "this kernel has no transparent huge pages";
    }
    static std::string flags_with(Memory::HugePages huge_pages) {
        const Memory memory = Memory::anonymous(4_MiB, {.huge_pages = huge_pages}).value();
        return flags_at(memory.data());
    }
};

TEST_F(MemoryHugePagesTest, TheKernelIsAdvisedToMakeThemOrNotTo) {
    EXPECT_THAT(flags_with(Memory::HugePages::transparent), ::testing::HasSubstr(" hg "));
    EXPECT_THAT(flags_with(Memory::HugePages::never), ::testing::HasSubstr(" nh "));
}

TEST_F(MemoryHugePagesTest, OrLeftToTheMachinesSetting) {
    const std::string flags = flags_with(Memory::HugePages::standard);
    EXPECT_THAT(flags, ::testing::Not(::testing::HasSubstr(" hg ")));
    EXPECT_THAT(flags, ::testing::Not(::testing::HasSubstr(" nh ")));
}

// A memfd, of which parts are allocated by fallocate() and none is touched.
class AllocatedMemfd {
public:
    explicit AllocatedMemfd(std::uint64_t size) : fd_(::memfd_create("test", MFD_CLOEXEC)) {
        EXPECT_EQ(::ftruncate(fd_, static_cast<off_t>(size)), 0);
    }
    ~AllocatedMemfd() { (void)::close(fd_); }
    AllocatedMemfd(const AllocatedMemfd&) = delete;
    AllocatedMemfd& operator=(const AllocatedMemfd&) = delete;

    int fd() const { return fd_; }
    void allocate(std::uint64_t offset, std::uint64_t length) const {
        EXPECT_EQ(::posix_fallocate(fd_, static_cast<off_t>(offset), static_cast<off_t>(length)), 0);
    }
    // The kernel says so of pages that would be cleared at the first touch.
    std::uint64_t first_hole(std::uint64_t from = 0) const {
        const off_t position = ::lseek(fd_, 0, SEEK_CUR);
        const off_t hole = ::lseek(fd_, static_cast<off_t>(from), SEEK_HOLE);
        (void)::lseek(fd_, position, SEEK_SET);
        return static_cast<std::uint64_t>(hole);
    }
    std::uint64_t allocated() const {
        struct stat status{};
        (void)::fstat(fd_, &status);
        return static_cast<std::uint64_t>(status.st_blocks) * 512;
    }

private:
    int fd_;
};

TEST(MemoryOfSomebodysFile, PagesThatFallocateMadeAreTouchedSoThatNobodyElsesTouchClearsThem) {
    const AllocatedMemfd file(8_MiB);
    file.allocate(0, 8_MiB);
    EXPECT_EQ(file.first_hole(), 0U);
    ASSERT_EQ(::lseek(file.fd(), 123, SEEK_SET), 123);
    const Memory memory = Memory::fd(file.fd(), 8_MiB, {}).value();
    EXPECT_EQ(file.first_hole(), 8_MiB);
    EXPECT_EQ(::lseek(file.fd(), 0, SEEK_CUR), 123) << "its position is its owner's";
}

TEST(MemoryOfSomebodysFile, WhatIsSparseStaysSparseAndWhatIsOutsideIsLeftAlone) {
    constexpr long kCachestat = 451;  // of every architecture
    if (::syscall(kCachestat, -1, nullptr, nullptr, 0U) < 0 && errno == ENOSYS)
        GTEST_SKIP() << "this kernel has no cachestat(2)";
    const AllocatedMemfd file(64_MiB);
    file.allocate(1_MiB, 64_KiB);
    file.allocate(9_MiB + 12_KiB, 4_KiB);
    file.allocate(40_MiB, 4_KiB);
    const std::uint64_t before = file.allocated();
    {
        const Memory memory = Memory::fd(file.fd(), 31_MiB, {.offset = 1_MiB}).value();
        EXPECT_EQ(file.allocated(), before);
        EXPECT_EQ(file.first_hole(1_MiB), 1_MiB + 64_KiB);
        EXPECT_EQ(file.first_hole(9_MiB + 12_KiB), 9_MiB + 16_KiB);
        EXPECT_EQ(file.first_hole(40_MiB), 40_MiB);
    }
    const AllocatedMemfd sparse(64_MiB);
    const Memory memory = Memory::fd(sparse.fd(), 64_MiB, {}).value();
    EXPECT_EQ(sparse.allocated(), 0U);
}

TEST(MemoryOfSomebodysFile, PagesArePrivateCopiesWhereItIsNotShared) {
    const AllocatedMemfd file(1_MiB);
    file.allocate(0, 1_MiB);
    const Memory memory = Memory::fd(file.fd(), 1_MiB, {.shared = false}).value();
    EXPECT_EQ(file.first_hole(), 0U) << "devices don't write to the file";
}

}  // namespace
}  // namespace iommufd::dma
