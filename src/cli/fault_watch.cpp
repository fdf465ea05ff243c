// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/fault_watch.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include "iommufd/vfio/device.hpp"
#include "iommufd/viommu/page_requests.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr std::chrono::seconds kPause{1};  // after a failure, while which the devices wait

// Empty: it is in none.
std::string space_of(const object::Registry& registry, std::string_view device) {
    for (const object::ObjectInfo& info : registry.list())
        if (info.definition.id == device)
            if (const std::string* const space = info.definition.find("space")) return *space;
    return {};
}

bool has_others(const object::Registry& registry, std::string_view space, std::string_view device) {
    return std::ranges::any_of(registry.list(), [&](const object::ObjectInfo& info) {
        const std::string* const its_space = info.definition.find("space");
        return its_space && *its_space == space && info.definition.id != device &&
               registry.get<vfio::Device>(info.definition.id);
    });
}

}  // namespace

struct FaultWatch::Watched {
    Watched(asio::io_context& loop, std::string id) : space(std::move(id)), queue(loop), timer(loop) {}
    ~Watched() { (void)queue.release(); }  // the descriptor is the queue's
    Watched(const Watched&) = delete;
    Watched& operator=(const Watched&) = delete;

    const std::string space;
    asio::posix::stream_descriptor queue;
    asio::steady_timer timer;
};

FaultWatch::FaultWatch(asio::io_context& loop, monitor::Monitor& monitor) : loop_(loop), monitor_(monitor) {}
FaultWatch::~FaultWatch() = default;

void FaultWatch::watch(const std::string& device) {
    const std::string space = space_of(monitor_.registry(), device);
    const viommu::PageRequests* const requests = monitor_.registry().page_requests(space);
    if (!requests || watched_.contains(space)) return;
    const auto watched = std::make_shared<Watched>(loop_, space);
    asio::error_code error;
    watched->queue.assign(requests->fd(), error);
    if (error) {
        fmt::print(stderr, "iommufd: error: cannot watch '{}' for faults: {}\n", space, error.message());
        return;
    }
    watched_.emplace(space, watched);
    wait(watched);
}

void FaultWatch::leave(const std::string& device) {
    const std::string space = space_of(monitor_.registry(), device);
    const auto watched = watched_.find(space);
    if (watched == watched_.end() || has_others(monitor_.registry(), space, device)) return;
    watched_.erase(watched);
    monitor_.end_faults(space);
}

void FaultWatch::wait(const Handle& watched) {
    watched->queue.async_wait(asio::posix::descriptor_base::wait_read,
                              [this, weak = std::weak_ptr(watched)](const asio::error_code& error) {
                                  if (const auto one = weak.lock(); one && !error) serve(one, true);
                              });
}

void FaultWatch::serve(const Handle& watched, bool is_readable) {
    const auto due = monitor_.serve_faults(watched->space);
    if (!due) {
        fmt::print(stderr, "iommufd: error: {}\n", due.error().line());
        return come_back(watched, std::chrono::steady_clock::now() + kPause, is_readable);
    }
    if (*due) come_back(watched, **due, false);
    if (is_readable) wait(watched);
}

void FaultWatch::come_back(const Handle& watched, monitor::RateLimit::Time when, bool is_readable) {
    watched->timer.expires_at(when);
    watched->timer.async_wait(
        [this, weak = std::weak_ptr(watched), is_readable](const asio::error_code& error) {
            if (const auto one = weak.lock(); one && !error) serve(one, is_readable);
        });
}

}  // namespace iommufd::inline v0_1::cli
