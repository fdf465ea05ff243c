// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/kubevirt.hpp"

#include <gmock/gmock.h>
#include <poll.h>

#include <array>
#include <asio/io_context.hpp>
#include <cerrno>
#include <optional>

#include "broker/testing.hpp"
#include "iommufd/core/context.hpp"
#include "iommufd/core/ioas.hpp"
#include "iommufd/model/machine.hpp"
#include "sys/socket_message.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

// The loop runs in the test's own thread, whenever something is waited for.
class KubevirtTest : public ::testing::Test {
protected:
    KubevirtTest() : folder_(::testing::TempDir()) {}
    void TearDown() override {
        kubevirt_.reset();
        broker_.reset();
        EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    }

    void start(Tenant tenant, std::chrono::milliseconds patience = 10s, std::size_t most = 100) {
        broker_.emplace(
            Broker::Options{.policy = {.tenants = {std::move(tenant)}},
                            .kernel = &machine_.kernel(),
                            .journal = [this](const Record& record) { journal_.push_back(record); },
                            .run = {},
                            .iommufd = {}});
        kubevirt_.emplace(loop_, folder_.listen(), *broker_, most, patience);
    }
    static Tenant anybody() {
        Tenant tenant{.name = "pods", .peers = {{.user = ::getuid()}}, .iommufd = true};
        tenant.quotas = {.clients = 2, .devices = 0, .iommufds = 1};
        return tenant;
    }
    sys::Fd connect() { return folder_.connect(); }

    // What the broker says next, or that it has hung up (0 bytes).
    sys::Received heard(const sys::Fd& client) {
        for (;;) {
            loop_.restart();
            loop_.run_for(5ms);
            std::array<char, 4> bytes;
            auto received = sys::receive_some(machine_.kernel(), client.number(), bytes, 4);
            if (received.bytes != -EAGAIN) return received;
        }
    }
    void run_until(const std::function<bool()>& condition) {
        for (int i = 0; i < 2000 && !condition(); ++i) {
            loop_.restart();
            loop_.run_for(5ms);
        }
        EXPECT_TRUE(condition());
    }
    static void confirm(const sys::Fd& client) { EXPECT_EQ(sys::send_some(client.number(), "k", {}), 1); }

    model::Machine machine_{model::parse("devices=edu").value()};
    SocketFolder folder_;
    asio::io_context loop_;
    std::vector<Record> journal_;
    std::optional<Broker> broker_;
    std::optional<KubevirtSocket> kubevirt_;
};

TEST_F(KubevirtTest, one_byte_brings_an_iommufd_and_one_byte_confirms_it_and_then_it_is_the_clients) {
    start(anybody());
    const sys::Fd client = connect();
    auto received = heard(client);
    ASSERT_EQ(received.bytes, 1);
    ASSERT_EQ(received.descriptors.size(), 1U);
    const auto mine = core::Context::from(AdoptFd{received.descriptors.front().release()},
                                          {.report = {}, .kernel = &machine_.kernel()})
                          .value();
    const auto space = core::Ioas::alloc(mine).value();
    confirm(client);
    EXPECT_EQ(heard(client).bytes, 0) << "it hangs up";
    kubevirt_.reset();
    broker_.reset();
    EXPECT_NE(core::Ioas::alloc(mine).value().id(), space.id()) << "what is in it stays";
}

TEST_F(KubevirtTest, who_may_not_have_an_iommufd_is_hung_up_on_and_the_journal_says_why) {
    Tenant tenant = anybody();
    tenant.iommufd = false;
    start(tenant);
    EXPECT_EQ(heard(connect()).bytes, 0);
    ASSERT_EQ(journal_.size(), 1U);
    EXPECT_EQ(journal_[0].outcome, Outcome::refused);
    EXPECT_THAT(journal_[0].why, HasSubstr("the policy doesn't allow it to 'pods'"));
    tenant.iommufd = true;
    tenant.peers = {{.user = ::getuid() + 1}};
    kubevirt_.reset();
    start(tenant);
    EXPECT_EQ(heard(connect()).bytes, 0);
    EXPECT_THAT(journal_.back().why, HasSubstr("no tenant of the policy is for uid"));
}

TEST_F(KubevirtTest, an_iommufd_that_is_not_confirmed_is_taken_back_with_all_that_is_in_it) {
    start(anybody(), 100ms);
    const sys::Fd silent = connect();
    auto received = heard(silent);
    ASSERT_EQ(received.descriptors.size(), 1U);
    const auto kept = core::Context::from(AdoptFd{received.descriptors.front().release()},
                                          {.report = {}, .kernel = &machine_.kernel()})
                          .value();
    const auto space = core::Ioas::alloc(kept).value();
    EXPECT_EQ(heard(silent).bytes, 0);
    EXPECT_EQ(journal_.back().outcome, Outcome::returned);
    EXPECT_EQ(core::Ioas::alloc(kept).value().id(), space.id()) << "it was destroyed";
}

TEST_F(KubevirtTest, descriptors_instead_of_a_confirmation_end_the_exchange) {
    start(anybody());
    const sys::Fd client = connect();
    const auto received = heard(client);
    const int ours = STDOUT_FILENO;
    EXPECT_EQ(sys::send_some(client.number(), "k", {&ours, 1}), 1);
    EXPECT_EQ(heard(client).bytes, 0);
    EXPECT_EQ(journal_.back().outcome, Outcome::returned);
}

TEST_F(KubevirtTest, what_was_handed_over_counts_until_its_process_ends) {
    start(anybody());
    int result_pipe[2];
    ASSERT_EQ(::pipe(result_pipe), 0);
    Child child([&] {
        const sys::Fd client = folder_.connect();
        pollfd waiting{.fd = client.number(), .events = POLLIN, .revents = 0};
        (void)::poll(&waiting, 1, -1);
        std::array<char, 4> bytes;
        static auto received = sys::receive_some(sys::host_kernel(), client.number(), bytes, 4);
        (void)sys::send_some(client.number(), "k", {});
        (void)::poll(&waiting, 1, -1);
        (void)::write(result_pipe[1], "x", 1);
        for (;;) ::pause();
    });
    pollfd done{.fd = result_pipe[0], .events = POLLIN, .revents = 0};
    run_until([&] { return ::poll(&done, 1, 0) == 1; });
    EXPECT_EQ(heard(connect()).bytes, 0);
    EXPECT_THAT(journal_.back().why, HasSubstr("has its 1 iommufds"));
    child.end();
    run_until([&] { return journal_.back().outcome == Outcome::returned; });
    EXPECT_EQ(heard(connect()).descriptors.size(), 1U);
    for (const int end : result_pipe) ::close(end);
}

TEST_F(KubevirtTest, more_clients_than_there_may_be_are_hung_up_on) {
    start(anybody(), 10s, 1);
    const sys::Fd first = connect();
    EXPECT_EQ(heard(first).bytes, 1);
    EXPECT_EQ(heard(connect()).bytes, 0);
    EXPECT_EQ(journal_.size(), 1U) << "it wasn't even looked at";
}

}  // namespace
}  // namespace iommufd::inline v0_1::broker
