// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/run.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/signal_set.hpp>
#include <csignal>
#include <cstdint>
#include <map>

#include "cli/workplace.hpp"
#include "iommufd/vfio/device.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

// Watches the request interrupt of each VFIO device.
class Requests {
public:
    Requests(asio::io_context& loop, object::Registry& registry) : loop_(loop), registry_(registry) {
        for (const object::ObjectInfo& info : registry.list()) watch(info.definition.id);
    }

private:
    void watch(const std::string& id) {
        const auto device = registry_.get<vfio::Device>(id);
        if (!device || (*device)->request_fd() < 0) return;
        // The descriptor is the device's: let go of before the device closes it.
        auto [entry, inserted] = waiting_.try_emplace(id, loop_, (*device)->request_fd());
        entry->second.async_wait(asio::posix::descriptor_base::wait_read,
                                 [this, id](const asio::error_code& error) {
                                     if (!error) give_back(id);
                                 });
    }

    void give_back(const std::string& id) {
        fmt::print(stderr, "iommufd: the kernel asks for '{}' back\n", id);
        const auto entry = waiting_.find(id);
        std::uint64_t times = 0;
        [[maybe_unused]] const auto got = ::read(entry->second.native_handle(), &times, sizeof times);
        (void)entry->second.release();
        waiting_.erase(entry);
        if (auto removed = registry_.remove(id)) {
            fmt::print(stderr, "iommufd: '{}' is detached and closed\n", id);
        } else {
            fmt::print(stderr, "iommufd: error: {}\n", removed.error().line());
            watch(id);  // the kernel goes on asking, every few seconds
        }
    }

    asio::io_context& loop_;
    object::Registry& registry_;
    std::map<std::string, asio::posix::stream_descriptor> waiting_;

public:
    // Before the devices close them.
    ~Requests() {
        for (auto& [id, descriptor] : waiting_) (void)descriptor.release();
    }
    Requests(const Requests&) = delete;
    Requests& operator=(const Requests&) = delete;
};

}  // namespace

int run(const Arguments& arguments) {
    asio::io_context loop;
    asio::signal_set signals(loop, SIGINT, SIGTERM);
    signals.async_wait([&](const asio::error_code&, int) { loop.stop(); });

    auto place = Workplace::open(arguments);
    if (!place) {
        fmt::print(stderr, "iommufd: {}\n", place.error().line());
        return kFailed;
    }
    {
        const Requests requests(loop, (*place)->registry());
        const std::size_t count = (*place)->registry().list().size();
        fmt::print(stderr, "iommufd: {} {} ready\n", count, count == 1 ? "object is" : "objects are");
        loop.run();
    }
    return (*place)->close() ? kDone : kFailed;
}

}  // namespace iommufd::inline v0_1::cli
