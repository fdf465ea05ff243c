// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device's page requests answered in a loop around poll(2). See faulting_device.hpp for where this runs.
#include <poll.h>

#include <cstdio>

#include "faulting_device.hpp"

using namespace examples;

namespace {

// Answers whatever waits in the queue now; returns how many groups that were. Never blocks.
Result<unsigned> answer_requests(const viommu::PageRequests& requests, PagedMemory& memory) {
    unsigned answered = 0;
    for (;;) {
        auto groups = requests.read();
        if (!groups) return groups.error();
        if (groups->empty()) return answered;
        for (viommu::Group& group : *groups) {
            // One answer for the group. One that goes without is answered "invalid".
            const auto response = memory.provide(group);
            std::printf("0x%llx: %s\n", static_cast<unsigned long long>(group.faults().front().address),
                        response == core::Response::success ? "mapped" : "no memory there");
            if (auto sent = std::move(group).answer(response); !sent) return sent.error();
            ++answered;
        }
    }
}

} // namespace

int main() try {
    FaultingDevice device;
    PagedMemory memory(device.ioas());
    device.reach_for(PagedMemory::kStart + 5 * kPage);
    device.reach_for(Iova{0x70000000}); // where no memory is

    pollfd waiting{.fd = device.requests().fd(), .events = POLLIN, .revents = 0};
    for (unsigned answered = 0; answered < 2;) {
        if (::poll(&waiting, 1, -1) < 0 && errno != EINTR) {
            std::perror("fault_queue_poll: poll");
            return 1;
        }
        answered += answer_requests(device.requests(), memory).value();
    }
    return 0;
} catch (const Failure& failure) {
    std::fprintf(stderr, "fault_queue_poll: %s\n", failure.what());
    return 1;
}
