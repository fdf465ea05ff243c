// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Interrupts of a VFIO device as eventfds, and waiting for a condition that one of them announces.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "iommufd/vfio/device.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::drivers {

class Interrupts {
public:
    // Enables `vectors` vectors of MSI-X, or of MSI where the device has no MSI-X; none if it has neither.
    static Result<Interrupts> enable(const vfio::Device& device, unsigned vectors);

    // Waits until `done` says so: looks at once, after each interrupt of the vector, and now and then besides.
    // ETIMEDOUT.
    Result<void> wait(unsigned vector, std::chrono::milliseconds timeout,
                      const std::function<Result<bool>()>& done);

    bool enabled() const noexcept { return !eventfds_.empty(); }
    std::uint64_t count() const noexcept { return count_; }

private:
    explicit Interrupts(std::vector<sys::Fd> eventfds) : eventfds_(std::move(eventfds)) {}
    void collect(unsigned vector, int timeout_ms);

    std::vector<sys::Fd> eventfds_;
    std::uint64_t count_ = 0;
};

}  // namespace iommufd::inline v0_1::drivers
