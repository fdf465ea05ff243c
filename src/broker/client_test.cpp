// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the library does with brokers that aren't what they say.
#include "iommufd/broker/client.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>

#include <cerrno>
#include <filesystem>
#include <optional>

#include "broker/protocol.hpp"
#include "broker/testing.hpp"
#include "iommufd/core/context.hpp"
#include "sys/socket_message.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

std::ptrdiff_t open_descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

std::string gives(std::size_t count) {
    Answer answer;
    for (std::size_t i = 0; i < count; ++i)
        answer.given.push_back(i == 0 ? Given{GivenKind::iommufd, "iommufd"}
                                      : Given{GivenKind::vfio, std::to_string(i)});
    return encode(answer);
}

// A client, and the other end of its connection, at which the test plays the broker. What is said before the client asks is there when it does.
class ClientTest : public ::testing::Test {
protected:
    ClientTest() : before_(open_descriptors()) {
        auto [one, other] = socket_pair();
        client_.emplace(Client::over(AdoptFd{one.release()}, {.patience = 200ms}).value());
        broker_ = std::move(other);
    }
    void TearDown() override {
        client_.reset();
        broker_ = {};
        EXPECT_EQ(open_descriptors(), before_) << "something stays open";
    }
    void say(std::string_view words, const std::vector<int>& descriptors = {}) {
        EXPECT_EQ(sys::send_some(broker_.number(), words, descriptors), static_cast<ssize_t>(words.size()));
    }

    std::ptrdiff_t before_;
    std::optional<Client> client_;
    sys::Fd broker_;
};

TEST_F(ClientTest, what_it_gets_as_an_iommufd_and_is_something_else_is_refused_when_it_is_taken_into_use) {
    const sys::Fd memory(sys::host_kernel(), ::memfd_create("memory", MFD_CLOEXEC));
    say(gives(1), {memory.number()});
    auto given = client_->get({.iommufd = true});
    ASSERT_TRUE(given);
    const auto refused = core::Context::from(given->take_iommufd(), {.report = {}, .kernel = nullptr});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ENOTTY);
    EXPECT_GE(::fcntl(memory.number(), F_GETFD), 0);
}

TEST_F(ClientTest,
       a_broker_that_gives_more_or_fewer_descriptors_than_it_says_is_refused_and_none_stays_open) {
    const std::vector<int> three(3, STDOUT_FILENO);
    for (const std::size_t said : {std::size_t{1}, std::size_t{4}}) {
        say(gives(said), three);
        const auto refused = client_->get({.iommufd = true});
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code(), EPROTO);
        EXPECT_THAT(refused.error().line(), HasSubstr("descriptors, and gives 3"));
    }
}

TEST_F(ClientTest, descriptors_without_end_are_not_kept) {
    const std::string answer = gives(1);
    const std::vector<int> many(sys::kMostDescriptors, STDOUT_FILENO);
    for (const char byte : answer) say({&byte, 1}, many);
    EXPECT_FALSE(client_->get({.iommufd = true}));
}

TEST_F(ClientTest, a_broker_that_answers_half_is_waited_for_as_long_as_patience_lasts) {
    say(std::string_view(gives(1)).substr(0, 20), {STDOUT_FILENO});
    const auto late = client_->get({.iommufd = true});
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code(), ETIMEDOUT);
}

TEST_F(ClientTest, what_is_no_answer_is_refused_with_the_reason) {
    say("HTTP/1.1 200 OK\r\n\r\n");
    EXPECT_EQ(client_->get({.iommufd = true}).error().code(), EPROTO);
}

}  // namespace
}  // namespace iommufd::inline v0_1::broker
