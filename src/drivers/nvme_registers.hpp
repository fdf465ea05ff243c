// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Numbers of the NVMe base specification (2.0): the controller's registers in BAR 0, and what commands say.
#pragma once

#include <cstdint>

namespace iommufd::inline v0_1::drivers::nvme {

// Offsets in BAR 0 (section 3.1.3).
inline constexpr std::uint64_t kCapabilities = 0x00;      // CAP, 64 bits
inline constexpr std::uint64_t kConfiguration = 0x14;     // CC
inline constexpr std::uint64_t kStatus = 0x1c;            // CSTS
inline constexpr std::uint64_t kAdminSizes = 0x24;        // AQA
inline constexpr std::uint64_t kAdminSubmissions = 0x28;  // ASQ, 64 bits
inline constexpr std::uint64_t kAdminCompletions = 0x30;  // ACQ, 64 bits
inline constexpr std::uint64_t kDoorbells = 0x1000;

// Of CAP.
constexpr std::uint32_t max_queue_entries(std::uint64_t capabilities) {
    return static_cast<std::uint32_t>(capabilities & 0xffff) + 1;
}
constexpr std::uint32_t ready_timeout_ms(std::uint64_t capabilities) {
    return 500 * (static_cast<std::uint32_t>(capabilities >> 24 & 0xff) + 1);
}
constexpr std::uint64_t doorbell_stride(std::uint64_t capabilities) {
    return 4U << (capabilities >> 32 & 0xf);
}
constexpr bool has_nvm_commands(std::uint64_t capabilities) { return (capabilities >> 37 & 1) != 0; }
constexpr unsigned min_page_shift(std::uint64_t capabilities) {
    return 12 + static_cast<unsigned>(capabilities >> 48 & 0xf);
}

// Of CC. The pages are of 4 KiB and the commands of NVM: zero.
inline constexpr std::uint32_t kEnable = 1;
inline constexpr std::uint32_t kShutDown = 1U << 14;               // without haste
inline constexpr std::uint32_t kEntrySizes = 6U << 16 | 4U << 20;  // 2^6 and 2^4 bytes

// Of CSTS.
inline constexpr std::uint32_t kReady = 1;
inline constexpr std::uint32_t kFatal = 2;
inline constexpr std::uint32_t kShutDownMask = 3U << 2;
inline constexpr std::uint32_t kShutDownDone = 2U << 2;

enum AdminOpcode : std::uint8_t {
    kCreateSubmissions = 0x01,
    kCreateCompletions = 0x05,
    kIdentify = 0x06,
    kSetFeatures = 0x09,
};
enum IoOpcode : std::uint8_t { kFlush = 0x00, kWrite = 0x01, kRead = 0x02 };

// Of commands.
inline constexpr std::uint32_t kIdentifyNamespace = 0;
inline constexpr std::uint32_t kIdentifyController = 1;
inline constexpr std::uint32_t kFeatureQueues = 0x07;
inline constexpr std::uint32_t kContiguous = 1;
inline constexpr std::uint32_t kInterruptsOn = 2;

// What a completion's status field says, its phase bit left out: 8 bits of code, 3 of type.
constexpr const char* status_text(unsigned status) {
    switch (status & 0x7ff) {
        case 0x002:
            return "a field of the command is invalid";
        case 0x004:
            return "the data could not be transferred: the memory is out of its reach";
        case 0x006:
            return "it has an error of its own";
        case 0x00b:
            return "there is no such namespace";
        case 0x013:
            return "an address in the list of pages is misaligned";
        case 0x080:
            return "the blocks are not within the namespace";
        case 0x281:
            return "the medium could not be read";
        default:
            return "see the specification for it";
    }
}

}  // namespace iommufd::inline v0_1::drivers::nvme
