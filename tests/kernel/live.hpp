// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the old process and its successor both know: where things are, and what the disk holds.
#pragma once

#include <sys/resource.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <span>
#include <string>

#include "drivers/nvme.hpp"
#include "iommufd/core/types.hpp"

namespace iommufd::inline v0_1::kernel_tests {

inline constexpr const char* kSlowNvme =
    "0000:00:16.0";  // with the VM's `--qemu "... -device nvme,addr=0x16"`
inline constexpr Iova kRam{0x4000000};
inline constexpr std::uint64_t kRamSize = 4_MiB;
inline constexpr std::uint64_t kRomSize = 1_MiB;  // a second mapping, for devices to read

inline constexpr std::uint16_t kEntries = 128;
inline constexpr std::uint64_t kWindowSize = drivers::Nvme::window_bytes(kEntries);
inline constexpr std::uint64_t kBlock = 4_KiB;
inline constexpr std::uint64_t kData = 1_MiB;  // where the reads go to, in the memory

inline drivers::Window window_in(std::byte* memory) {
    return {.memory = memory, .iova = kRam, .size = kWindowSize};
}

inline std::array<std::byte, kBlock> block_of_disk(std::uint64_t number) {
    std::array<std::byte, kBlock> block;
    for (std::size_t i = 0; i < block.size(); ++i)
        block[i] = static_cast<std::byte>(i * 13 + number * 101 + (i >> 8) * 7 + 1);
    return block;
}

inline bool holds_block(const std::byte* memory, std::uint64_t number) {
    const auto expected = block_of_disk(number);
    return std::memcmp(memory, expected.data(), expected.size()) == 0;
}

// In bytes, of any process.
struct Locked {
    std::uint64_t pinned = 0;  // VmPin
    std::uint64_t locked = 0;  // VmLck
    bool operator==(const Locked&) const = default;
};

inline Locked locked_by(const std::string& process) {
    std::ifstream status("/proc/" + process + "/status");
    Locked found;
    for (std::string word; status >> word;) {
        if (word == "VmPin:" && status >> found.pinned) found.pinned <<= 10;
        if (word == "VmLck:" && status >> found.locked) found.locked <<= 10;
    }
    return found;
}

}  // namespace iommufd::inline v0_1::kernel_tests
