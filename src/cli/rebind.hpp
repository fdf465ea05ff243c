// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Moves a PCI device from one driver to another and back, by driver_override, so that no other device of its kind is moved.
//
//     bind     record what it was --> driver_override --> its driver's unbind --> VFIO's bind
//     unbind   driver_override as it was --> VFIO's unbind --> its driver's bind --> forget the record
//
// Each step can be the last one that is done: what is recorded then is the way back.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "cli/bind_records.hpp"
#include "iommufd/error/result.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::cli {

// Who has a device now.
struct Driven {
    std::string driver;           // empty: none
    std::string driver_override;  // empty: none
    bool by_vfio;                 // the driver is one of VFIO's
};

Driven driven(sys::Kernel& kernel, const std::string& device);

// One write to sysfs.
struct Write {
    std::string path;
    std::string text;
};

// "echo TEXT > PATH"
std::string text(const Write& write);

std::vector<Write> writes_to_bind(const std::string& device, const Driven& now, const std::string& driver);
// By the record of what it was; without one the kernel chooses a driver.
std::vector<Write> writes_to_unbind(const std::string& device, const Driven& now,
                                    const std::optional<BindRecord>& record);

// ENODEV: no driver of VFIO's has it, and nothing is recorded, so there is nothing to give back.
Result<void> check_taken(const std::string& device, const Driven& now,
                         const std::optional<BindRecord>& record);

class Rebinder {
public:
    // Each write may take as long as `limit`. The records must be locked.
    Rebinder(sys::Kernel& kernel, const BindRecords& records, std::chrono::milliseconds limit)
        : kernel_(kernel), records_(records), limit_(limit) {}

    // On failure the device is given back; where that fails too the record stays, and unbind() may be tried again. ETIMEDOUT: its
    // driver hasn't let go of it, and the kernel waits until it does.
    Result<void> bind(const std::string& device, const std::string& driver) const;
    // ENODEV of check_taken(); ETIMEDOUT as above. The record stays after any failure.
    Result<void> unbind(const std::string& device) const;

private:
    Result<void> perform(const std::string& what, const std::string& device,
                         const std::vector<Write>& writes) const;

    sys::Kernel& kernel_;
    const BindRecords& records_;
    std::chrono::milliseconds limit_;
};

}  // namespace iommufd::inline v0_1::cli
