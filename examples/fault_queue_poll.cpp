// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device's page requests answered in a loop around poll(2). See faulting_device.hpp for where this runs.
#include <poll.h>

#include <cstdio>

#include "faulting_device.hpp"

using namespace examples;

namespace {

// Answers whatever waits in the queue now; returns how many groups that were. Never blocks.
Result<unsigned> answer_faults(const core::FaultQueue& queue, PagedMemory& memory) {
    core::PageFault buffer[16]; // as long as the longest group of the device, or read() says EINVAL
    unsigned groups = 0;
    for (;;) {
        const auto faults = queue.read(buffer);
        if (!faults) return faults.error();
        if (faults->empty()) return groups;
        Result<void> failed;
        for_each_group(*faults, [&](std::span<const core::PageFault> group) {
            // One answer for the group: success when all of its pages are there.
            auto response = core::Response::success;
            for (const core::PageFault& fault : group)
                if (memory.provide(fault) != core::Response::success) response = core::Response::invalid;
            std::printf("0x%llx: %s\n", static_cast<unsigned long long>(group.front().address),
                        response == core::Response::success ? "mapped" : "no memory there");
            if (auto sent = queue.respond(group.front().cookie, response); !sent) failed = sent;
            ++groups;
        });
        if (!failed) return failed.error();
    }
}

} // namespace

int main() try {
    FaultingDevice device;
    PagedMemory memory(device.ioas());
    device.reach_for(PagedMemory::kStart + 5 * kPage);
    device.reach_for(Iova{0x70000000}); // where no memory is

    pollfd waiting{.fd = device.queue().fd(), .events = POLLIN, .revents = 0};
    for (unsigned answered = 0; answered < 2;) {
        if (::poll(&waiting, 1, -1) < 0 && errno != EINTR) {
            std::perror("fault_queue_poll: poll");
            return 1;
        }
        answered += answer_faults(device.queue(), memory).value();
    }
    return 0;
} catch (const Failure& failure) {
    std::fprintf(stderr, "fault_queue_poll: %s\n", failure.what());
    return 1;
}
