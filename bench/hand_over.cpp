// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How long a client waits for what the broker hands over, from its connect() on, beside a server that knows nothing and sends
// as many descriptors of files that are open already, and beside one that first opens the same nodes for each. Each
// server is a process of its own. They take turns, and each time waits until what was given back before has been dealt with: one
// client, which is alone. The end of a distribution is where the machine's other work shows, so it is taken of each batch, and of those
// the median.
//
//     hand_over BATCHES CLIENTS [DEVICE]       on this machine's /dev/iommu, where it has one; else on the model
//
// prints JSON: microseconds. (Google Benchmark knows no percentiles.)
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/io_context.hpp>
#include <asio/thread_pool.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "broker/protocol.hpp"
#include "broker/server.hpp"
#include "host/device_nodes.hpp"
#include "iommufd/broker/client.hpp"
#include "iommufd/model/machine.hpp"
#include "sys/kernel.hpp"
#include "sys/socket_message.hpp"

namespace iommufd::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::duration<double, std::micro>;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "hand_over: %s\n", what.c_str());
    std::exit(1);
}

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

sys::Fd stream_socket() { return {sys::host_kernel(), ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)}; }

sys::Fd connect_to(const std::string& path) {
    sys::Fd socket = stream_socket();
    const sockaddr_un address = address_of(path);
    if (::connect(socket.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
        fail("cannot connect: " + std::string(std::strerror(errno)));
    return socket;
}

// A process that serves a socket until it is ended.
class ServerProcess {
public:
    ServerProcess(std::string path, const std::function<void(sys::Fd)>& serve) : path_(std::move(path)) {
        sys::Fd listening = stream_socket();
        const sockaddr_un address = address_of(path_);
        if (::bind(listening.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
            ::listen(listening.number(), SOMAXCONN) < 0)
            fail("cannot listen: " + std::string(std::strerror(errno)));
        process_ = ::fork();
        if (process_ != 0) return;
        (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(std::move(listening));
        std::_Exit(0);
    }
    ServerProcess(const ServerProcess&) = delete;
    ServerProcess& operator=(const ServerProcess&) = delete;
    ~ServerProcess() {
        (void)::kill(process_, SIGKILL);
        (void)::waitpid(process_, nullptr, 0);
    }
    const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
    pid_t process_ = -1;
};

// A byte for descriptors, each time.
void serve_barely(const sys::Fd& listening, const std::function<std::vector<sys::Fd>()>& files) {
    for (;;) {
        const sys::Fd client(sys::host_kernel(),
                             ::accept4(listening.number(), nullptr, nullptr, SOCK_CLOEXEC));
        char byte = 0;
        if (::read(client.number(), &byte, 1) != 1) continue;
        const std::vector<sys::Fd> its = files();
        std::vector<int> numbers;
        for (const sys::Fd& file : its) numbers.push_back(file.number());
        (void)sys::send_some(client.number(), {&byte, 1}, numbers);
    }
}

void serve_as_broker(sys::Kernel& kernel, const std::string& device, sys::Fd listening) {
    broker::Tenant tenant{.name = "bench", .peers = {{.user = ::getuid()}}, .iommufd = true};
    if (!device.empty()) tenant.devices = {device};
    tenant.unreset = true;
    tenant.accounted_per_user = true;
    tenant.quotas = {.clients = 100'000, .devices = 16, .iommufds = 100'000};
    asio::io_context loop;
    asio::thread_pool pool(std::size_t{4});
    const broker::Server server(loop, pool, std::move(listening),
                                {.policy = {.tenants = {tenant}}, .kernel = &kernel});
    loop.run();
}

std::vector<sys::Fd> opened(sys::Kernel& kernel, const std::vector<std::string>& nodes) {
    std::vector<sys::Fd> files;
    for (const std::string& node : nodes) files.emplace_back(kernel, kernel.open(node.c_str(), O_RDWR));
    return files;
}

std::vector<std::string> nodes_of(sys::Kernel& kernel, const std::string& device) {
    std::vector<std::string> nodes{"/dev/iommu"};
    if (device.empty()) return nodes;
    const auto its = host::device_nodes(kernel, device).value();
    const auto node =
        std::ranges::find_if(its, [](const host::DeviceNode& each) { return each.name.starts_with("vfio"); });
    if (node == its.end()) fail("there is no node of " + device);
    nodes.push_back("/dev/vfio/devices/" + node->name);
    return nodes;
}

constexpr int kBatch = 100;
constexpr int kMostBatchesOfDevice = 5;  // each exchange waits for the last one's device
// Until the broker has taken back what a batch, or a device's client, has left.
constexpr std::chrono::milliseconds kRest{300}, kRestOfDevice{20};

double share(std::vector<double> values, double which) {
    std::ranges::sort(values);
    return values[static_cast<std::size_t>(which * static_cast<double>(values.size() - 1))];
}

// Microseconds of each exchange, by batch.
class Times {
public:
    void begin_batch() { batches_.emplace_back(); }
    void add(Clock::time_point start, Clock::time_point end) {
        batches_.back().push_back(Microseconds(end - start).count());
    }
    double at(double which) const {
        std::vector<double> each;
        for (const std::vector<double>& batch : batches_) each.push_back(share(batch, which));
        return share(each, 0.5);
    }
    void print(const char* name) const {
        std::printf("\"%s\": {\"p50\": %.1f, \"p99\": %.1f}", name, at(0.5), at(0.99));
    }

private:
    std::vector<std::vector<double>> batches_;
};

std::vector<sys::Fd> receive(const sys::Fd& socket, std::size_t count) {
    for (;;) {
        std::array<char, 16> buffer;
        sys::Received received =
            sys::receive_some(sys::host_kernel(), socket.number(), buffer, sys::kMostDescriptors);
        if (received.bytes > 0 && received.descriptors.size() == count)
            return std::move(received.descriptors);
        if (received.bytes != -EAGAIN) fail("the bare server sent something else");
        pollfd waiting{.fd = socket.number(), .events = POLLIN, .revents = 0};
        (void)::poll(&waiting, 1, -1);
    }
}

// What a client holds until its batch is over.
struct Held {
    std::vector<sys::Fd> files;
    std::vector<broker::Client> clients;
    std::vector<broker::Descriptors> given;
};

void exchange_barely(const std::string& path, std::size_t count, Times& times, Held& held) {
    const auto start = Clock::now();
    sys::Fd socket = connect_to(path);
    if (::write(socket.number(), "", 1) != 1) fail("cannot ask the bare server");
    for (sys::Fd& file : receive(socket, count)) held.files.push_back(std::move(file));
    times.add(start, Clock::now());
    held.files.push_back(std::move(socket));
}

// Until it is granted: a device of the last round may not be free yet.
void get_from_broker(const std::string& path, const broker::Wanted& wanted, Times& times, Held& held) {
    for (;;) {
        const auto start = Clock::now();
        auto client = broker::Client::connect(path);
        if (!client) fail(client.error().line());
        auto given = client->get(wanted);
        if (given) {
            times.add(start, Clock::now());
            held.clients.push_back(*std::move(client));
            held.given.push_back(*std::move(given));
            return;
        }
        if (given.error().code() != EBUSY) fail(given.error().line());
        std::this_thread::sleep_for(kRestOfDevice);
    }
}

// All have connected; then all ask; then all are waited for. The time of the last one, and of each.
void ask_together(const ServerProcess& server, std::string_view request, int clients, Times& times) {
    std::vector<sys::Fd> sockets;
    for (int i = 0; i < clients; ++i) sockets.push_back(connect_to(server.path()));
    std::vector<pollfd> waiting;
    const auto start = Clock::now();
    for (const sys::Fd& socket : sockets) {
        if (sys::send_some(socket.number(), request, {}) != static_cast<ssize_t>(request.size()))
            fail("a client could not ask");
        waiting.push_back({.fd = socket.number(), .events = POLLIN, .revents = 0});
    }
    std::vector<sys::Fd> given;
    while (given.size() < sockets.size()) {
        (void)::poll(waiting.data(), waiting.size(), -1);
        for (pollfd& one : waiting) {
            if (one.revents == 0) continue;
            std::array<char, 4096> buffer;
            sys::Received received = sys::receive_some(sys::host_kernel(), one.fd, buffer, 1);
            if (received.bytes == -EAGAIN) continue;
            if (received.descriptors.size() != 1) fail("one of many clients got nothing");
            times.add(start, Clock::now());
            given.push_back(std::move(received.descriptors.front()));
            one.fd = -1;
        }
    }
}

void measure_one_client(const std::string& folder, sys::Kernel& kernel, const std::string& device,
                        int batches) {
    const std::size_t count = device.empty() ? 1 : 2;
    const std::string suffix = device.empty() ? "" : "-device";
    const ServerProcess broker(folder + "/broker" + suffix,
                               [&](sys::Fd socket) { serve_as_broker(kernel, device, std::move(socket)); });
    const sys::Fd any_file(sys::host_kernel(), sys::host_kernel().open("/dev/null", O_RDWR));
    const ServerProcess bare(folder + "/bare" + suffix, [&](const sys::Fd& socket) {
        serve_barely(socket, [&] {
            std::vector<sys::Fd> files;
            while (files.size() < count) files.emplace_back(sys::host_kernel(), ::dup(any_file.number()));
            return files;
        });
    });
    const std::vector<std::string> nodes = nodes_of(kernel, device);
    const ServerProcess opening(folder + "/opening" + suffix, [&](const sys::Fd& socket) {
        serve_barely(socket, [&] { return opened(kernel, nodes); });
    });
    broker::Wanted wanted{.iommufd = true};
    if (!device.empty()) wanted.devices = {device};
    Times ours, barely, with_opening;
    for (int batch = 0; batch < batches; ++batch) {
        for (Times* each : {&ours, &barely, &with_opening}) each->begin_batch();
        Held held;
        for (int i = 0; i < kBatch; ++i) {
            exchange_barely(bare.path(), count, barely, held);
            exchange_barely(opening.path(), count, with_opening, held);
            if (!device.empty()) {
                held = {};
                std::this_thread::sleep_for(kRestOfDevice);
            }
            get_from_broker(broker.path(), wanted, ours, held);
            if (device.empty()) continue;
            held = {};
            std::this_thread::sleep_for(kRestOfDevice);
        }
        held = {};
        std::this_thread::sleep_for(kRest);
    }
    std::printf("{\"exchanges\": %d, ", batches * kBatch);
    ours.print("broker");
    std::printf(", ");
    barely.print("bare");
    std::printf(", ");
    with_opening.print("bare, opening");
    std::printf("}");
}

void measure_many_clients(const std::string& folder, sys::Kernel& kernel, int clients) {
    const ServerProcess broker(folder + "/many",
                               [&](sys::Fd socket) { serve_as_broker(kernel, {}, std::move(socket)); });
    const ServerProcess opening(folder + "/many-bare", [&](const sys::Fd& socket) {
        serve_barely(socket, [&] { return opened(kernel, {"/dev/iommu"}); });
    });
    const std::string request = broker::encode(broker::Request{.iommufd = true});
    Times ours, bare;
    ours.begin_batch();
    bare.begin_batch();
    ask_together(broker, request, clients, ours);
    ask_together(opening, std::string_view("\0", 1), clients, bare);
    std::printf("{\"clients\": %d, \"broker\": %.1f, \"bare, opening\": %.1f}", clients, ours.at(1),
                bare.at(1));
}

void measure(const std::string& folder, int batches, int clients, std::string device) {
    model::Machine machine(model::parse("devices=edu").value());
    const bool is_real = ::access("/dev/iommu", R_OK | W_OK) == 0;
    sys::Kernel& kernel = is_real ? sys::host_kernel() : machine.kernel();
    if (!is_real) device = "0000:00:10.0";
    std::printf("{\"kernel\": \"%s\", \"iommufd\": ", is_real ? "linux" : "model");
    measure_one_client(folder, kernel, {}, batches);
    if (!device.empty()) {
        std::printf(", \"iommufd and device\": ");
        measure_one_client(folder, kernel, device, std::min(batches, kMostBatchesOfDevice));
    }
    std::printf(", \"many\": ");
    measure_many_clients(folder, kernel, clients);
    std::printf("}\n");
}

}  // namespace
}  // namespace iommufd::bench

int main(int count, char** arguments) {
    using namespace iommufd::bench;
    if (count < 3) fail("BATCHES CLIENTS [DEVICE]");
    // The machine's other work stays out, where this process may do that.
    const sched_param priority{.sched_priority = 50};
    (void)::sched_setscheduler(0, SCHED_FIFO, &priority);
    rlimit limit{};
    (void)::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
    std::string folder = std::filesystem::temp_directory_path() / "hand-overXXXXXX";
    if (!::mkdtemp(folder.data())) fail("there is no folder for temporary files");
    measure(folder, std::atoi(arguments[1]), std::atoi(arguments[2]), count > 3 ? arguments[3] : "");
    std::filesystem::remove_all(folder);
}
