// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// CAP and ECAP of the VT-d that a machine has: QEMU's, in legacy mode, and with what is described beside that one in
// scalable mode.
#pragma once

#include <algorithm>
#include <cstdint>

#include "iommufd/model/machine.hpp"

namespace iommufd::inline v0_1::model {

struct VtdRegisters {
    static constexpr std::uint64_t kCachingMode = 1ULL << 7;        // CAP.CM
    static constexpr std::uint64_t kFirstStageHuge = 1ULL << 56;    // CAP.FS1GP
    static constexpr std::uint64_t kFiveLevels = 1ULL << 60;        // CAP.FS5LP
    static constexpr std::uint64_t kDeviceTlbs = 1ULL << 2;         // ECAP.DT
    static constexpr std::uint64_t kNested = 1ULL << 26;            // ECAP.NEST
    static constexpr std::uint64_t kPageRequests = 1ULL << 29;      // ECAP.PRS
    static constexpr std::uint64_t kSupervisor = 1ULL << 31;        // ECAP.SRS
    static constexpr std::uint64_t kExtendedAccess = 1ULL << 34;    // ECAP.EAFS
    static constexpr std::uint64_t kScalableMode = 1ULL << 43;      // ECAP.SMTS
    static constexpr std::uint64_t kSecondStageDirty = 1ULL << 45;  // ECAP.SSADS
    static constexpr std::uint64_t kSecondStage = 1ULL << 46;       // ECAP.SSTS
    static constexpr std::uint64_t kFirstStage = 1ULL << 47;        // ECAP.FSTS
    static constexpr std::uint64_t kCoherentWalks = 1ULL << 48;     // ECAP.SMPWCS

    std::uint64_t cap = 0xd2008c222f0686;
    std::uint64_t ecap = 0xf00f4a;

    static VtdRegisters of(const Description& description) {
        VtdRegisters registers;
        constexpr std::uint64_t kScalable = kScalableMode | kSecondStage | kCoherentWalks;
        if (description.dirty_tracking) registers.ecap |= kScalable | kSecondStageDirty;
        if (description.nesting) {
            registers.ecap |= kScalable | kFirstStage | kNested | kSupervisor;
            registers.cap = (registers.cap & ~kCachingMode) | kFirstStageHuge;
        }
        if (std::ranges::any_of(description.devices, &DeviceDescription::page_requests))
            registers.ecap |= kDeviceTlbs | kPageRequests;
        return registers;
    }
};

}  // namespace iommufd::inline v0_1::model
