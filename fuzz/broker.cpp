// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Any bytes where the broker reads: a configuration, a client's messages, an answer; and what a mediated client sends to be mapped. What can be read says the same when it is written
// and read again; the broker lives on, gives only what its policy has, and nothing is left when its clients have gone.
//
// The first byte says what the rest is.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "broker/broker.hpp"
#include "broker/config.hpp"
#include "broker/protocol.hpp"
#include "iommufd/core/context.hpp"
#include "iommufd/model/machine.hpp"
#include "mediated.hpp"

void demand(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

namespace {

using namespace iommufd;
using namespace iommufd::broker;

constexpr const char* kOurs = "0000:00:10.0";
constexpr const char* kOthers = "0000:00:11.0";

std::string_view body_of(std::string_view message) { return message.substr(sizeof(Header)); }

Peer ourselves() {
    std::array<int, 2> ends{};
    demand(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0, "no sockets");
    Peer peer = Peer::of(ends[0]).value();
    for (const int end : ends) ::close(end);
    return peer;
}

// The bodies of messages that follow each other, as far as they are whole.
std::vector<std::string_view> bodies(std::string_view stream) {
    std::vector<std::string_view> found;
    while (stream.size() >= sizeof(Header)) {
        const auto length = read_header(std::as_bytes(std::span(stream).first<sizeof(Header)>()));
        if (!length || stream.size() - sizeof(Header) < *length) break;
        found.push_back(body_of(stream).substr(0, *length));
        stream.remove_prefix(sizeof(Header) + *length);
    }
    return found;
}

void ask(Broker& broker, const std::shared_ptr<Holder>& client, std::string_view body) {
    auto request = read_request(body);
    if (!request) return;
    const auto again = read_request(body_of(encode(*request)));
    demand(again && again->iommufd == request->iommufd && again->devices == request->devices &&
               again->vdpa == request->vdpa && again->memlock == request->memlock,
           "a request is another one when it is written and read again");
    request->memlock.reset();  // it would raise this process's own
    broker.get(client, *std::move(request), [](const Result<Grant>& granted) {
        if (!granted) return;
        demand(granted->descriptors.size() == granted->answer.given.size(),
               "more or less is given than said");
        demand(std::ranges::none_of(granted->answer.given,
                                    [](const Given& given) { return given.name == kOthers; }),
               "what the policy doesn't name is given");
    });
}

// Messages of two clients in turn. The iommufd is one that the broker shares, and the device is gone: to empty an iommufd, and to look
// who has a device open, takes so long that the fuzzer would get nowhere.
void converse(std::string_view stream) {
    static model::Machine machine(model::parse("devices=edu:name=0000:00:12.0").value());
    static const auto shared = core::Context::open({.report = {}, .kernel = &machine.kernel()}).value();
    Tenant tenant{.name = "a", .peers = {{.user = ::getuid()}}, .iommufd = true, .devices = {kOurs}};
    tenant.trusted = true;
    Broker broker(
        {.policy = {.tenants = {tenant}},
         .kernel = &machine.kernel(),
         .journal = [](const Record& record) { demand(!record.what.empty(), "a record of nothing"); },
         .run = {},
         .iommufd = []() -> Result<int> { return shared.fd(); }});
    const std::array clients{broker.admit(ourselves()), broker.admit(ourselves())};
    std::size_t turn = 0;
    for (const std::string_view body : bodies(stream)) ask(broker, clients[turn++ % 2], body);
    for (const auto& client : clients) broker.release(client);
    demand(machine.leaks().descriptors == 1, "something is left");
}

void configure(std::string_view text) {
    const auto config = read_config(text);
    if (!config) return demand(!config.error().line().empty(), "it is refused without a reason");
    for (const Tenant& tenant : config->policy.tenants)
        demand(!tenant.name.empty() && !tenant.peers.empty(), "a tenant is nobody's");
}

void answer(std::string_view body) {
    const auto answer = read_answer(body);
    if (!answer) return;
    const auto again = read_answer(body_of(encode(*answer)));
    demand(again && again->given == answer->given && again->notes == answer->notes,
           "an answer is another one when it is written and read again");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return -1;
    const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0]) {
        case 'c':
            configure(rest);
            return 0;
        case 'm':
            converse(rest);
            return 0;
        case 'a':
            answer(rest);
            return 0;
        case 's':
            map_and_unmap({data + 1, size - 1});
            return 0;
        default:
            return -1;
    }
}
