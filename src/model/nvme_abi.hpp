// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What an NVMe controller and its host say to each other (NVMe base specification 1.4).
#pragma once

#include <cstdint>

namespace iommufd::inline v0_1::model::nvme {

enum Register : std::uint64_t {
    kCapabilities = 0x00,  // 64 bits
    kVersion = 0x08,
    kMaskSet = 0x0c,
    kMaskClear = 0x10,
    kConfiguration = 0x14,
    kStatus = 0x1c,
    kAdminSizes = 0x24,
    kAdminSubmissions = 0x28,  // 64 bits
    kAdminCompletions = 0x30,  // 64 bits
    kDoorbells = 0x1000,       // of each queue's two ends, four bytes each
};

// Of the configuration.
inline constexpr std::uint32_t kEnable = 1;
inline constexpr std::uint32_t kCommandSets = 7U << 4;
inline constexpr std::uint32_t kPageSize = 15U << 7;  // as a power of two, from 4 KiB on
inline constexpr std::uint32_t kShutDown = 3U << 14;

// Of the status.
inline constexpr std::uint32_t kReady = 1;
inline constexpr std::uint32_t kFatal = 2;
inline constexpr std::uint32_t kShutDownDone = 2U << 2;

struct Command {
    std::uint8_t opcode;
    std::uint8_t flags;
    std::uint16_t id;
    std::uint32_t nsid;
    std::uint64_t reserved;
    std::uint64_t metadata;
    std::uint64_t prp1;
    std::uint64_t prp2;
    std::uint32_t cdw10;
    std::uint32_t cdw11;
    std::uint32_t cdw12;
    std::uint32_t cdw13;
    std::uint32_t cdw14;
    std::uint32_t cdw15;
};
static_assert(sizeof(Command) == 64);

struct Completion {
    std::uint32_t result;
    std::uint32_t reserved;
    std::uint16_t sq_head;
    std::uint16_t sq_id;
    std::uint16_t command_id;
    std::uint16_t status;  // above the phase bit
};
static_assert(sizeof(Completion) == 16);

enum AdminOpcode : std::uint8_t {
    kDeleteSubmissions = 0x00,
    kCreateSubmissions = 0x01,
    kDeleteCompletions = 0x04,
    kCreateCompletions = 0x05,
    kIdentify = 0x06,
    kAbort = 0x08,
    kSetFeatures = 0x09,
    kGetFeatures = 0x0a,
    kAwaitEvent = 0x0c,
};
enum IoOpcode : std::uint8_t { kFlush = 0x00, kWrite = 0x01, kRead = 0x02, kWriteZeroes = 0x08 };
enum Identity : std::uint8_t { kOfNamespace = 0, kOfController = 1, kNamespaces = 2, kDescriptors = 3 };

inline constexpr std::uint32_t kContiguous = 1;
inline constexpr std::uint32_t kInterruptsOn = 2;
inline constexpr std::uint32_t kEveryNamespace = 0xffffffff;

inline constexpr std::uint16_t kDoNotRetry = 0x4000;
enum Status : std::uint16_t {
    kSuccess = 0,
    kInvalidOpcode = kDoNotRetry | 0x001,
    kInvalidField = kDoNotRetry | 0x002,
    kTransferError = kDoNotRetry | 0x004,
    kInvalidNamespace = kDoNotRetry | 0x00b,
    kInvalidPrp = kDoNotRetry | 0x013,
    kOutOfRange = kDoNotRetry | 0x080,
    kInvalidCompletionQueue = kDoNotRetry | 0x100,
    kInvalidQueue = kDoNotRetry | 0x101,
    kInvalidQueueSize = kDoNotRetry | 0x102,
    kInvalidVector = kDoNotRetry | 0x108,
    kQueueInUse = 0x10c,
};

}  // namespace iommufd::inline v0_1::model::nvme
