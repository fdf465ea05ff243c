// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device's page requests answered from an Asio event loop. See faulting_device.hpp for where this runs.
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstdio>
#include <functional>

#include "faulting_device.hpp"

using namespace examples;

namespace {

// Answers the faults of a queue for as long as it lives and its loop runs.
class FaultServer {
public:
    // Gives the answer to a group of faults.
    using Handler = std::function<core::Response(std::span<const core::PageFault>)>;
    using OnError = std::function<void(const Error&)>;

    FaultServer(asio::io_context& loop, const core::FaultQueue& queue, Handler handler, OnError on_error)
        : queue_(queue),
          descriptor_(loop, queue.fd()),
          handler_(std::move(handler)),
          on_error_(std::move(on_error)) {
        wait();
    }
    ~FaultServer() { (void)descriptor_.release(); } // the descriptor is the queue's, which closes it
    FaultServer(const FaultServer&) = delete;
    FaultServer& operator=(const FaultServer&) = delete;

private:
    void wait() {
        descriptor_.async_wait(asio::posix::descriptor_base::wait_read,
                               [this](const asio::error_code& error) {
                                   if (error) return; // the server is going
                                   answer();
                                   wait();
                               });
    }

    void answer() {
        core::PageFault buffer[16];
        const auto faults = queue_.read(buffer); // what doesn't fit makes the descriptor readable again
        if (!faults) return on_error_(faults.error());
        for_each_group(*faults, [&](std::span<const core::PageFault> group) {
            if (auto sent = queue_.respond(group.front().cookie, handler_(group)); !sent)
                on_error_(sent.error());
        });
    }

    const core::FaultQueue& queue_;
    asio::posix::stream_descriptor descriptor_;
    Handler handler_;
    OnError on_error_;
};

} // namespace

int main() try {
    FaultingDevice device;
    PagedMemory memory(device.ioas());
    asio::io_context loop;
    unsigned answered = 0;
    bool failed = false;

    const FaultServer server(
        loop, device.queue(),
        [&](std::span<const core::PageFault> group) {
            auto response = core::Response::success;
            for (const core::PageFault& fault : group)
                if (memory.provide(fault) != core::Response::success) response = core::Response::invalid;
            std::printf("0x%llx: %s\n", static_cast<unsigned long long>(group.front().address),
                        response == core::Response::success ? "mapped" : "no memory there");
            if (++answered == 2) loop.stop();
            return response;
        },
        [&](const Error& error) {
            std::fprintf(stderr, "fault_queue_asio: %s\n", error.text().c_str());
            failed = true;
            loop.stop();
        });

    device.reach_for(PagedMemory::kStart + 5 * kPage);
    device.reach_for(Iova{0x70000000}); // where no memory is
    loop.run();
    return failed ? 1 : 0;
} catch (const Failure& failure) {
    std::fprintf(stderr, "fault_queue_asio: %s\n", failure.what());
    return 1;
}
