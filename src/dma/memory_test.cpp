// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/dma/memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace iommufd::dma
