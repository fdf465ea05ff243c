// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The exchange by which KubeVirt's device plugin hands an iommufd to a pod, on a socket of its own:
//
//     client  connects
//     broker  one byte, 0, with an iommufd (SCM_RIGHTS); or hangs up, since the exchange has no words for a refusal: the journal has it
//     client  one byte, whichever: it has it
//     broker  closes its own, and hangs up
//
// Other than the plugin, which gives one iommufd to whoever comes first, it serves everybody whom the policy allows an iommufd, each
// with one of its own. It stays the client's, whatever becomes of the connection, and counts for its tenant until the process that has
// connected ends. One that isn't confirmed in time is taken back.
//
// Threads: that of the loop.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "broker/broker.hpp"
#include "sys/fd.hpp"

namespace asio {
class io_context;
}  // namespace asio

namespace iommufd::inline v0_1::broker {

class KubevirtSocket {
public:
    // `listening` is a Unix stream socket. Of more than `most_clients`, with those whose iommufd still counts, the last ones are
    // hung up on.
    KubevirtSocket(asio::io_context& loop, sys::Fd listening, Broker& broker, std::size_t most_clients,
                   std::chrono::milliseconds patience);
    ~KubevirtSocket();
    KubevirtSocket(const KubevirtSocket&) = delete;
    KubevirtSocket& operator=(const KubevirtSocket&) = delete;

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace iommufd::inline v0_1::broker
