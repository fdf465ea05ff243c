// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Interrupts of a VFIO device as eventfds, and waiting for a condition that one of them announces.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "iommufd/vfio/device.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::drivers {

class Interrupts {
public:
    // Enables up to `vectors` vectors of MSI-X, or of MSI where the device has no MSI-X; one where the
    // machine has no more to give, and none if there are none: then wait() only looks.
    static Result<Interrupts> enable(const vfio::Device& device, unsigned vectors);

    // Those that the process before this one enabled: the kernel signals the same eventfds as before.
    static Interrupts adopt(const vfio::Device& device, vfio::Irq irq,
                            std::vector<sys::Fd> eventfds) noexcept;

    Interrupts(Interrupts&&) noexcept = default;
    Interrupts& operator=(Interrupts&&) = delete;
    ~Interrupts();  // disables them

    // Waits until `done` says so: looks at once, after each interrupt of the vector, and now and then
    // besides. ETIMEDOUT.
    Result<void> wait(unsigned vector, std::chrono::milliseconds timeout,
                      const std::function<Result<bool>()>& done);
    // The same without an interrupt to wait for.
    Result<void> wait(std::chrono::milliseconds timeout, const std::function<Result<bool>()>& done);

    // Another process has them now: they stay enabled.
    void leave() noexcept { device_.reset(); }
    vfio::Irq irq() const noexcept { return irq_; }
    std::vector<int> eventfds() const;

    // How many were enabled.
    unsigned vectors() const noexcept { return static_cast<unsigned>(eventfds_.size()); }
    // How many have arrived.
    std::uint64_t count() const noexcept { return count_; }

private:
    Interrupts(std::shared_ptr<vfio::DeviceNode> device, vfio::Irq irq,
               std::vector<sys::Fd> eventfds) noexcept;
    static Result<Interrupts> enable(const vfio::Device& device, vfio::Irq irq, unsigned vectors);
    bool collect(unsigned vector, int timeout_ms);

    std::shared_ptr<vfio::DeviceNode> device_;
    vfio::Irq irq_;
    std::vector<sys::Fd> eventfds_;
    std::uint64_t count_ = 0;
};

}  // namespace iommufd::inline v0_1::drivers
