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

// Answers page requests for as long as it lives and its loop runs.
class FaultServer {
public:
    // Answers a group, now or later: a group that goes without is answered "invalid".
    using Handler = std::function<void(viommu::Group)>;
    using OnError = std::function<void(const Error&)>;

    FaultServer(asio::io_context& loop, const viommu::PageRequests& requests, Handler handler,
                OnError on_error)
        : requests_(requests),
          descriptor_(loop, requests.fd()),
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
        auto groups = requests_.read(); // what doesn't fit makes the descriptor readable again
        if (!groups) return on_error_(groups.error());
        for (viommu::Group& group : *groups) handler_(std::move(group));
    }

    const viommu::PageRequests& requests_;
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

    const auto on_error = [&](const Error& error) {
        std::fprintf(stderr, "fault_queue_asio: %s\n", error.text().c_str());
        failed = true;
        loop.stop();
    };

    const FaultServer server(
        loop, device.requests(),
        [&](viommu::Group group) {
            const auto response = memory.provide(group);
            std::printf("0x%llx: %s\n", static_cast<unsigned long long>(group.faults().front().address),
                        response == core::Response::success ? "mapped" : "no memory there");
            if (auto sent = std::move(group).answer(response); !sent) return on_error(sent.error());
            if (++answered == 2) loop.stop();
        },
        on_error);

    device.reach_for(PagedMemory::kStart + 5 * kPage);
    device.reach_for(Iova{0x70000000}); // where no memory is
    loop.run();
    return failed ? 1 : 0;
} catch (const Failure& failure) {
    std::fprintf(stderr, "fault_queue_asio: %s\n", failure.what());
    return 1;
}
