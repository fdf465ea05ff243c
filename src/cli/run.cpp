// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/run.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/signal_set.hpp>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <map>

#include "cli/fail.hpp"
#include "cli/fault_watch.hpp"
#include "cli/fd_servers.hpp"
#include "cli/workplace.hpp"
#include "iommufd/vfio/device.hpp"
#include "monitor/server.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

// Waits for the request and error interrupts of the VFIO devices.
class Interrupts {
public:
    using Handler = void (Interrupts::*)(const std::string& id);

    Interrupts(asio::io_context& loop, monitor::Monitor& monitor) : loop_(loop), monitor_(monitor) {}
    // The descriptors are the devices'.
    ~Interrupts() {
        for (auto& [id, descriptor] : requests_) (void)descriptor.release();
        for (auto& [id, descriptor] : errors_) (void)descriptor.release();
    }
    Interrupts(const Interrupts&) = delete;
    Interrupts& operator=(const Interrupts&) = delete;

    void watch(const std::string& id) {
        const auto device = monitor_.registry().get<vfio::Device>(id);
        if (!device) return;
        watch(requests_, id, (*device)->request_fd(), &Interrupts::give_back);
        watch(errors_, id, (*device)->error_fd(), &Interrupts::tell_error);
    }
    void leave(const std::string& id) {
        for (Waiting* const waiting : {&requests_, &errors_})
            if (const auto entry = waiting->find(id); entry != waiting->end()) {
                (void)entry->second.release();
                waiting->erase(entry);
            }
    }

private:
    using Waiting = std::map<std::string, asio::posix::stream_descriptor>;

    void watch(Waiting& waiting, const std::string& id, int fd, Handler handler) {
        if (fd < 0) return;
        asio::error_code error;
        const auto entry = waiting.try_emplace(id, loop_).first;
        entry->second.assign(fd, error);
        if (!error) return wait(waiting, id, handler);
        waiting.erase(entry);
        fmt::print(stderr, "iommufd: error: cannot watch '{}' for interrupts: {}\n", id, error.message());
    }

    // Until the next interrupt.
    void wait(Waiting& waiting, const std::string& id, Handler handler) {
        waiting.at(id).async_wait(
            asio::posix::descriptor_base::wait_read,
            [this, &waiting, id, handler](const asio::error_code& error) {
                // It may have left since, and another device be watched by that id.
                const auto entry = error ? waiting.end() : waiting.find(id);
                std::uint64_t times = 0;
                if (entry == waiting.end() ||
                    ::read(entry->second.native_handle(), &times, sizeof times) != sizeof times)
                    return;
                (this->*handler)(id);
            });
    }

    void give_back(const std::string& id) {
        fmt::print(stderr, "iommufd: the kernel asks for '{}' back\n", id);
        monitor_.tell_unplug_request(id);
        // Afterwards it is watched no more, or anew: the kernel goes on asking, every few seconds.
        if (auto removed = monitor_.remove(id))
            fmt::print(stderr, "iommufd: '{}' is detached and closed\n", id);
        else
            fmt::print(stderr, "iommufd: error: {}\n", removed.error().line());
    }

    void tell_error(const std::string& id) {
        fmt::print(stderr, "iommufd: error: '{}' reports an uncorrectable error\n", id);
        monitor_.tell_device_error(id);
        wait(errors_, id, &Interrupts::tell_error);
    }

    asio::io_context& loop_;
    monitor::Monitor& monitor_;
    Waiting requests_;
    Waiting errors_;
};

monitor::Version version() {
    monitor::Version version{.package = "libiommufd " IOMMUFD_VERSION};
    const char* text = IOMMUFD_VERSION;
    const char* const end = text + sizeof IOMMUFD_VERSION - 1;
    for (unsigned* const part : {&version.major, &version.minor, &version.micro}) {
        text = std::from_chars(text, end, *part).ptr;
        if (text != end) ++text;
    }
    return version;
}

// Serves until somebody ends it; the exit status.
int serve(asio::io_context& loop, asio::signal_set& signals, const Arguments& arguments,
          object::Registry& registry) {
    Interrupts* watching = nullptr;
    FaultWatch* watching_faults = nullptr;
    const auto watch = [&](const std::string& id) {
        watching->watch(id);
        watching_faults->watch(id);
    };
    const auto leave = [&](const std::string& id) {
        watching->leave(id);
        watching_faults->leave(id);
    };
    monitor::Monitor monitor(
        registry,
        {.version = version(),
         .quit = [&] { loop.stop(); },
         .device_added = watch,
         .device_leaves = leave,
         .unheard = [](const std::string& line) { fmt::print(stderr, "iommufd: fault: {}\n", line); }});
    Interrupts interrupts(loop, monitor);
    watching = &interrupts;
    FaultWatch faults(loop, monitor);
    watching_faults = &faults;
    for (const object::ObjectInfo& info : registry.list()) watch(info.definition.id);

    std::vector<std::unique_ptr<monitor::Server>> servers;
    for (const monitor::SocketAddress& address : arguments.control_sockets) {
        auto server = monitor::Server::listen(loop, monitor, address);
        if (!server) return fail(kFailed, server.error());
        servers.push_back(*std::move(server));
    }
    // Also of one that has come meanwhile.
    signals.async_wait([&](const asio::error_code& error, int) {
        if (error) return;
        monitor.shut_down("host-signal");
        loop.stop();
    });

    const std::size_t count = registry.list().size();
    fmt::print(stderr, "iommufd: {} {} ready\n", count, count == 1 ? "object is" : "objects are");
    loop.run();
    for (const auto& server : servers) server->flush();
    return kDone;
}

}  // namespace

int run(const Arguments& arguments) {
    asio::io_context loop;
    asio::signal_set signals(loop, SIGINT, SIGTERM);

    FdServers fd_servers(loop);
    auto place = Workplace::open(arguments, [&](const object::FdServerOptions& options, sys::Kernel& kernel) {
        return fd_servers.serve(options, kernel);
    });
    if (!place) return fail(kFailed, place.error());
    const int status = serve(loop, signals, arguments, (*place)->registry());
    const bool is_closed = (*place)->close();
    fd_servers.finish();
    return is_closed ? status : kFailed;
}

}  // namespace iommufd::inline v0_1::cli
