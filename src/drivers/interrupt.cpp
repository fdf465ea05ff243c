// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "drivers/interrupt.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "vfio/device_node.hpp"

namespace iommufd::inline v0_1::drivers {
namespace {

constexpr int kSliceMs = 20;  // how long an interrupt may be late before we look ourselves
constexpr auto kPause = std::chrono::microseconds(200);

}  // namespace

Result<Interrupts> Interrupts::enable(const vfio::Device& device, unsigned vectors) {
    return guarded(Operation::vfio_set_irqs, [&]() -> Result<Interrupts> {
        for (const vfio::Irq irq : {vfio::Irq::msix, vfio::Irq::msi}) {
            const auto info = device.irq_info(irq);
            if (!info || info->count == 0) continue;
            std::vector<sys::Fd> eventfds;
            std::vector<int> numbers;
            for (unsigned i = 0; i < std::min(vectors, info->count); ++i) {
                sys::Fd eventfd(device.node()->fd().kernel(), ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
                if (!eventfd)
                    return failed(Operation::vfio_set_irqs, errno,
                                  [&] { return compose("cannot make an eventfd for ", device.name()); });
                numbers.push_back(eventfd.number());
                eventfds.push_back(std::move(eventfd));
            }
            if (auto set = device.set_irqs(irq, 0, numbers); !set) return set.error();
            return Interrupts(std::move(eventfds));
        }
        return Interrupts({});
    });
}

void Interrupts::collect(unsigned vector, int timeout_ms) {
    if (vector >= eventfds_.size()) {
        std::this_thread::sleep_for(kPause);
        return;
    }
    pollfd waiting{.fd = eventfds_[vector].number(), .events = POLLIN, .revents = 0};
    std::uint64_t fired = 0;
    if (::poll(&waiting, 1, timeout_ms) > 0 && ::read(waiting.fd, &fired, sizeof fired) == sizeof fired)
        count_ += fired;
}

Result<void> Interrupts::wait(unsigned vector, std::chrono::milliseconds timeout,
                              const std::function<Result<bool>()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    for (;;) {
        auto is_done = done();
        if (!is_done) return is_done.error();
        collect(vector, *is_done ? 0 : kSliceMs);  // the interrupt of what is done may still be under way
        if (*is_done) return {};
        if (std::chrono::steady_clock::now() >= deadline)
            return Error::refused(ETIMEDOUT, "the device does not answer",
                                  compose("nothing came within ", timeout.count(), " ms"),
                                  "reset the device, and look at the kernel's log for faults of it");
    }
}

}  // namespace iommufd::inline v0_1::drivers
