// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "drivers/interrupt.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/vfio.hpp"
#include "vfio/device_node.hpp"

namespace iommufd::inline v0_1::drivers {
namespace {

using Clock = std::chrono::steady_clock;

// How long an interrupt may be late: before we look ourselves, and after what it announces.
constexpr int kSliceMs = 20;
// Between two looks where there are no interrupts.
constexpr auto kPause = std::chrono::microseconds(200);
constexpr unsigned kNoVector = ~0U;

}  // namespace

Interrupts::Interrupts(std::shared_ptr<vfio::DeviceNode> device, vfio::Irq irq,
                       std::vector<sys::Fd> eventfds) noexcept
    : device_(std::move(device)), irq_(irq), eventfds_(std::move(eventfds)) {}

Interrupts::~Interrupts() {
    if (!device_ || eventfds_.empty()) return;
    if (auto disabled = device_->set_irqs(uapi::vfio::kIrqSetDataNone | uapi::vfio::kIrqSetTrigger, irq_, 0,
                                          0, {}, "disable the interrupts");
        !disabled)
        device_->context()->notice(Severity::warning, disabled.error());
}

Result<Interrupts> Interrupts::enable(const vfio::Device& device, unsigned vectors) {
    return guarded(Operation::vfio_set_irqs, [&]() -> Result<Interrupts> {
        for (const vfio::Irq irq : {vfio::Irq::msix, vfio::Irq::msi}) {
            const auto info = device.irq_info(irq);
            if (!info || info->count == 0) continue;
            for (const unsigned count : {std::min(vectors, info->count), 1U})
                if (auto enabled = enable(device, irq, count)) return enabled;
        }
        return Interrupts(device.node(), vfio::Irq::msix, {});
    });
}

Result<Interrupts> Interrupts::enable(const vfio::Device& device, vfio::Irq irq, unsigned vectors) {
    std::vector<sys::Fd> eventfds;
    std::vector<int> numbers;
    for (unsigned i = 0; i < vectors; ++i) {
        sys::Fd eventfd(device.node()->kernel(), ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!eventfd)
            return failed(Operation::vfio_set_irqs, errno,
                          [&] { return compose("cannot make an eventfd for ", device.name()); });
        numbers.push_back(eventfd.number());
        eventfds.push_back(std::move(eventfd));
    }
    if (auto set = device.set_irqs(irq, 0, numbers); !set) return set.error();
    return Interrupts(device.node(), irq, std::move(eventfds));
}

Interrupts Interrupts::adopt(const vfio::Device& device, vfio::Irq irq,
                             std::vector<sys::Fd> eventfds) noexcept {
    return {device.node(), irq, std::move(eventfds)};
}

std::vector<int> Interrupts::eventfds() const {
    std::vector<int> numbers;
    for (const sys::Fd& eventfd : eventfds_) numbers.push_back(eventfd.number());
    return numbers;
}

// Whether there was one.
bool Interrupts::collect(unsigned vector, int timeout_ms) {
    if (vector >= eventfds_.size()) {
        if (timeout_ms > 0) std::this_thread::sleep_for(kPause);
        return false;
    }
    const sys::Fd& eventfd = eventfds_[vector];
    pollfd waiting{.fd = eventfd.number(), .events = POLLIN, .revents = 0};
    std::uint64_t fired = 0;
    if (eventfd.kernel().poll(std::span(&waiting, 1), timeout_ms) <= 0 ||
        eventfd.kernel().read(eventfd.number(), &fired, sizeof fired) != sizeof fired)
        return false;
    count_ += fired;
    return true;
}

Result<void> Interrupts::wait(unsigned vector, std::chrono::milliseconds timeout,
                              const std::function<Result<bool>()>& done) {
    const auto deadline = Clock::now() + timeout;
    bool came = false;
    for (;;) {
        const bool late = Clock::now() >= deadline;  // then this look is the last one
        auto is_done = done();
        if (!is_done) return is_done.error();
        if (*is_done) {
            // The interrupt of what is done may still be under way.
            if (!came && vector < eventfds_.size()) (void)collect(vector, kSliceMs);
            return {};
        }
        if (late)
            return guarded(Operation::none, [&]() -> Result<void> {
                return Error::refused(ETIMEDOUT, "the device does not answer",
                                      compose("nothing came within ", timeout.count(), " ms"),
                                      "reset the device, and look at the kernel's log for faults of it");
            });
        came |= collect(vector, kSliceMs);
    }
}

Result<void> Interrupts::wait(std::chrono::milliseconds timeout, const std::function<Result<bool>()>& done) {
    return wait(kNoVector, timeout, done);
}

}  // namespace iommufd::inline v0_1::drivers
