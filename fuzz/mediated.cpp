// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "mediated.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "broker/broker.hpp"
#include "iommufd/model/machine.hpp"
#include "sys/fd.hpp"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace {

using namespace iommufd;
using namespace iommufd::broker;

constexpr const char* kEdu = "0000:00:10.0";
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMostPages = 64;
constexpr std::uint64_t kPinned = 96 * kPage;  // the quota
constexpr std::uint32_t kMappings = 8;
constexpr std::size_t kMostSteps = 64;

// Bytes as numbers; zeroes when there are no more.
class Numbers {
public:
    explicit Numbers(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    bool any() const { return !bytes_.empty(); }
    template <class Number = std::uint8_t>
    Number take() {
        Number number{};
        const std::size_t count = std::min(sizeof number, bytes_.size());
        if (count != 0) std::memcpy(&number, bytes_.data(), count);
        bytes_ = bytes_.subspan(count);
        return number;
    }
    // Mostly a few whole pages; else any number, or one just beside a page's end.
    std::uint64_t size() {
        const auto how = take();
        const std::uint64_t pages = (take() % (kMostPages + 8)) * kPage;
        if (how % 8 == 0) return take<std::uint64_t>();
        return how % 8 == 1 ? pages + take() - 128 : pages;
    }

private:
    std::span<const std::uint8_t> bytes_;
};

// What a client sends.
struct Sent {
    sys::Fd file;
    bool is_mappable = false;  // sealed in its size, and all allocated
    bool is_writable = false;
    std::uint64_t touched = 0;  // from its beginning on

    bool has(const Part& part) const {
        return part.offset <= touched && part.length <= touched - part.offset;
    }
};

Sent memory(Numbers& numbers) {
    const auto what = numbers.take();
    const std::uint64_t pages = numbers.take() % (kMostPages + 1);
    Sent sent{.file = sys::Fd(sys::host_kernel(), ::memfd_create("sent", MFD_CLOEXEC | MFD_ALLOW_SEALING)),
              .touched = 0};
    const int fd = sent.file.number();
    const auto size = static_cast<off_t>(pages * kPage);
    demand(fd >= 0 && ::ftruncate(fd, size) == 0, "no memory to send");
    std::uint64_t there = pages;
    if ((what & 1) != 0) there = numbers.take() % (pages + 1);   // the rest is sparse,
    const bool is_allocated = (what & 2) != 0 && there < pages;  // or allocated and not touched
    if (is_allocated) demand(::posix_fallocate(fd, 0, size) == 0, "no memory to send");
    for (std::uint64_t page = 0; page < there; ++page)
        demand(::pwrite(fd, "1", 1, static_cast<off_t>(page * kPage)) == 1, "no memory to send");
    int seals = F_SEAL_SHRINK | F_SEAL_GROW;
    const bool lacks_seal = (what & 0x1c) == 0x4;
    if (lacks_seal) seals = numbers.take() % 2 == 0 ? F_SEAL_SHRINK : F_SEAL_GROW;
    const bool is_sealed = (what & 0x60) == 0x20;
    if (is_sealed) seals |= numbers.take() % 2 == 0 ? F_SEAL_WRITE : F_SEAL_FUTURE_WRITE;
    demand(::fcntl(fd, F_ADD_SEALS, seals) == 0, "it can't be sealed");
    const bool is_read_only = (what & 0x80) != 0 && numbers.take() % 4 == 0;
    if (is_read_only) {
        const std::string path = "/proc/self/fd/" + std::to_string(fd);
        sent.file = sys::Fd(sys::host_kernel(), ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    }
    sent.touched = there * kPage;
    sent.is_mappable = !lacks_seal && (there == pages || is_allocated);
    sent.is_writable = sent.is_mappable && !is_sealed && !is_read_only;
    return sent;
}

Sent something(Numbers& numbers) {
    switch (numbers.take() % 16) {
        case 0:
            return {};
        case 1: {
            std::array<int, 2> ends{};
            demand(::pipe2(ends.data(), O_CLOEXEC) == 0, "no pipe");
            ::close(ends[1]);
            return {.file = sys::Fd(sys::host_kernel(), ends[0])};
        }
        case 2:
            return {.file = sys::Fd(sys::host_kernel(), ::open("/dev/zero", O_RDWR | O_CLOEXEC))};
        default:
            return memory(numbers);
    }
}

struct Mapped {
    std::size_t client;
    Range range;
};

class World {
public:
    World() {
        Tenant tenant{.name = "a", .peers = {{.user = ::getuid()}}, .mediated = true};
        tenant.shared = {kEdu};
        tenant.quotas.pinned = kPinned;
        tenant.quotas.mappings = kMappings;
        broker_.emplace(Broker::Options{.policy = {.tenants = {tenant}},
                                        .kernel = &machine_.kernel(),
                                        .journal = {},
                                        .run = {},
                                        .iommufd = {}});
        // One client keeps the device for all inputs: to try whether it is free takes long.
        keeper_ = admit();
    }

    void begin() {
        for (auto& client : clients_) client = admit();
    }
    void step(Numbers& numbers) {
        const auto what = numbers.take();
        const std::size_t client = what % 2;
        if (what % 16 == 14) {
            hang_up(client);
            clients_[client] = admit();  // somebody else, in its place
            return;
        }
        if (what % 8 < 5) return map(client, numbers);
        unmap(client, numbers);
    }
    void end() {
        for (std::size_t client = 0; client < clients_.size(); ++client) hang_up(client);
        const model::Leaks left = machine_.leaks();
        demand(left.mappings == 0 && left.pinned == 0, "a mapping is left");
    }

private:
    std::shared_ptr<Holder> admit() {
        std::array<int, 2> ends{};
        demand(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0, "no sockets");
        auto client = broker_->admit(Peer::of(ends[0]).value());
        for (const int end : ends) ::close(end);
        bool is_given = false;
        broker_->get(client, {.mediated = true, .devices = {kEdu}},
                     [&](const Result<Grant>& granted) { is_given = static_cast<bool>(granted); });
        demand(is_given, "the device is given to nobody");
        return client;
    }

    void map(std::size_t client, Numbers& numbers) {
        Sent sent = something(numbers);
        const auto how = numbers.take();
        MapRequest wanted{
            .part = {.offset = numbers.size(), .length = numbers.size(), .write = how % 2 != 0}};
        if (how % 4 >= 2) wanted.iova = numbers.size();
        std::optional<Result<Range>> mapped;
        broker_->map(clients_[client], wanted, std::move(sent.file), [&](const Result<Grant>& granted) {
            mapped = granted ? Result<Range>(granted->answer.mapped.value()) : granted.error();
        });
        demand(mapped.has_value(), "there is no answer");
        if (!*mapped) return demand(!mapped->error().line().empty(), "it is refused without a reason");
        const Range range = **mapped;
        demand(wanted.part.write ? sent.is_writable : sent.is_mappable, "what may not be is mapped");
        demand(wanted.part.offset % kPage == 0 && wanted.part.length % kPage == 0 &&
                   wanted.part.length != 0 && sent.has(wanted.part),
               "more is mapped than there is");
        demand(range.length() == wanted.part.length && (!wanted.iova || range.first.value == *wanted.iova),
               "it is mapped elsewhere");
        demand(
            std::ranges::none_of(mapped_, [&](const Mapped& other) { return other.range.overlaps(range); }),
            "it is mapped where something is");
        mapped_.push_back({.client = client, .range = range});
        std::uint64_t all = 0;
        for (const Mapped& each : mapped_) all += each.range.length();
        demand(all <= kPinned && mapped_.size() <= kMappings, "it is mapped beyond the quota");
    }

    void unmap(std::size_t client, Numbers& numbers) {
        const auto which = numbers.take();
        std::uint64_t iova = which % 4 == 0 || mapped_.empty()
                                 ? numbers.size()
                                 : mapped_[which % mapped_.size()].range.first.value;
        if (which % 16 == 5) iova += kPage;
        bool is_unmapped = false;
        broker_->unmap(clients_[client], {.iova = iova},
                       [&](const Result<Grant>& granted) { is_unmapped = static_cast<bool>(granted); });
        const auto own = std::ranges::find_if(mapped_, [&](const Mapped& each) {
            return each.client == client && each.range.first.value == iova;
        });
        demand(is_unmapped == (own != mapped_.end()),
               "what is another's, or nobody's, is unmapped, or one's own is not");
        if (is_unmapped) mapped_.erase(own);
    }

    void hang_up(std::size_t client) {
        broker_->release(clients_[client]);
        std::erase_if(mapped_, [&](const Mapped& each) { return each.client == client; });
        std::uint64_t all = 0;
        for (const Mapped& each : mapped_) all += each.range.length();
        demand(machine_.leaks().pinned <= all, "what it had mapped is left");
    }

    model::Machine machine_{model::parse("devices=edu:name=0000:00:10.0").value()};
    std::optional<Broker> broker_;
    std::shared_ptr<Holder> keeper_;
    std::array<std::shared_ptr<Holder>, 2> clients_;
    std::vector<Mapped> mapped_;
};

}  // namespace

void map_and_unmap(std::span<const std::uint8_t> bytes) {
    static World world;
    Numbers numbers(bytes);
    world.begin();
    for (std::size_t steps = 0; numbers.any() && steps < kMostSteps; ++steps) world.step(numbers);
    world.end();
}
