// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The conversation of the two processes, within one.
#include "iommufd/live/channel.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "live/testing.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::live {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class ChannelTest : public testing::LiveTest {
protected:
    ChannelTest() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_), 0); }
    ~ChannelTest() override {
        close_old();
        close_new();
    }
    void close_old() { close(ends_[0]); }
    void close_new() { close(ends_[1]); }
    int old_end() const { return ends_[0]; }
    int new_end() const { return ends_[1]; }
    void write(const void* bytes, std::size_t length) {
        ASSERT_EQ(::write(old_end(), bytes, length), static_cast<ssize_t>(length));
    }

private:
    static void close(int& fd) {
        if (fd >= 0) ::close(fd);
        fd = -1;
    }
    int ends_[2] = {-1, -1};
};

TEST_F(ChannelTest, AStateAndMoreDescriptorsThanOneMessageTakesArrive) {
    Package package;
    package.state.resize(300'000);
    for (std::size_t i = 0; i < package.state.size(); ++i) package.state[i] = static_cast<std::byte>(i * 31);
    for (unsigned i = 0; i < 300; ++i) package.fds.push_back(::eventfd(i + 1, EFD_CLOEXEC));
    Result<void> sent;
    std::thread sender([&] { sent = send(old_end(), package, {}); });
    const auto received = receive(new_end());
    sender.join();
    ASSERT_TRUE(sent) << sent.error().text();
    ASSERT_TRUE(received) << received.error().text();
    EXPECT_EQ(received->state, package.state);
    ASSERT_EQ(received->fds.size(), 300U);
    for (unsigned i = 0; i < 300; ++i) {
        eventfd_t count = 0;
        EXPECT_EQ(::eventfd_read(received->fds[i], &count), 0);
        EXPECT_EQ(count, i + 1);
        EXPECT_EQ(::fcntl(received->fds[i], F_GETFD), FD_CLOEXEC);
        ::close(received->fds[i]);
        ::close(package.fds[i]);
    }
}

TEST_F(ChannelTest, AnAnswerAndALastWordArrive) {
    ASSERT_TRUE(answer(new_end(), {}));
    EXPECT_TRUE(receive_answer(old_end(), {}));
    ASSERT_TRUE(answer(new_end(), Error::refused(ENOMEM, "cannot account", "the limit", "raise it")));
    const auto refused = receive_answer(old_end(), {});
    EXPECT_EQ(refused.error().code(), ECANCELED);
    EXPECT_THAT(refused.error().line(), HasSubstr("cannot account: ENOMEM (the limit)"));
    ASSERT_TRUE(say(old_end(), Word::not_yours));
    EXPECT_EQ(receive_word(new_end()).value(), Word::not_yours);
    ASSERT_TRUE(say(old_end(), Word::yours));
    EXPECT_EQ(receive_word(new_end()).value(), Word::yours);
}

TEST_F(ChannelTest, AnOldProcessThatEndsWithoutALastWordHasHandedOver) {
    close_old();
    EXPECT_EQ(receive_word(new_end()).value(), Word::yours);
}

TEST_F(ChannelTest, WhatIsNoHandOverIsRefused) {
    write("GET / HTTP/1.1\r\nHost: example\r\n", 31);
    EXPECT_EQ(receive(new_end()).error().code(), EPROTO);
}

TEST_F(ChannelTest, AHandOverThatBreaksOffIsAnError) {
    write("IOMMUHOV", 8);
    close_old();
    EXPECT_EQ(receive(new_end()).error().code(), EPIPE);
}

TEST_F(ChannelTest, AHeaderThatPromisesMoreThanThereIsIsRefused) {
    struct {
        char magic[8] = {'I', 'O', 'M', 'M', 'U', 'H', 'O', 'V'};
        std::uint32_t version = 1;
        std::uint32_t descriptors = 5;
        std::uint64_t bytes = 8;
    } header;
    write(&header, sizeof header);
    EXPECT_THAT(receive(new_end()).error().line(), HasSubstr("5 descriptors, and has 0"));
    header.descriptors = 0;
    header.bytes = ~std::uint64_t{0};
    write(&header, sizeof header);
    EXPECT_EQ(receive(new_end()).error().code(), EPROTO);
    header.bytes = 8;
    header.version = 2;
    write(&header, sizeof header);
    EXPECT_THAT(receive(new_end()).error().line(), HasSubstr("it is of version 2"));
}

TEST_F(ChannelTest, ASuccessorThatIsGoneOrSilentLeavesTheOldProcessAsItWas) {
    const Backend backend = open();
    const vfio::Device device = bind(backend);
    const dma::Space space = dma::Space::on(backend, {.id = "dma0"}).value();
    const auto joined = space.attach(device).value();
    const dma::Memory memory = memfd();
    const Instance instance{backend, {&space}, {&device}, {}};
    EXPECT_EQ(hand_over(instance, old_end(), {.patience = 20ms}).error().code(), ETIMEDOUT);
    EXPECT_TRUE(space.map(memory, {.iova = testing::kBase}));
    close_new();
    const auto gone = hand_over(instance, old_end(), {.patience = 20ms});
    EXPECT_THAT(gone.error().code(), ::testing::AnyOf(EPIPE, ECONNRESET));
    EXPECT_TRUE(space.map(memory, {.iova = testing::kBase}));
    EXPECT_EQ(backend.notices(), 0U);
}

TEST_F(ChannelTest, AnInstanceGoesFromOneEndToTheOther) {
    Backend backend = open();
    std::optional<vfio::Device> device = bind(backend);
    std::optional<dma::Space> space = dma::Space::on(backend, {.id = "dma0"}).value();
    std::optional<dma::Attachment> joined = space->attach(*device).value();
    std::optional<dma::Mapping> mapped = space->map(memfd(), {.iova = testing::kBase}).value();
    Result<Restored> taken = Error(Operation::none, EINVAL);
    std::thread successor([&] { taken = take_over(new_end(), {.report = {}, .kernel = &kernel()}); });
    const auto given = hand_over({backend, {&*space}, {&*device}, {}}, old_end(), {});
    successor.join();
    ASSERT_TRUE(given) << given.error().text();
    ASSERT_TRUE(taken) << taken.error().text();
    mapped.reset();
    joined.reset();
    space.reset();
    device.reset();
    EXPECT_FALSE(backend.is_open());
    EXPECT_EQ(taken->mappings[0].state(), dma::MappingState::mapped);
    EXPECT_EQ(machine_.leaks().pinned, 4_MiB);
}

TEST_F(ChannelTest, ASuccessorThatRefusesIsQuoted) {
    const Backend backend = open();
    const vfio::Device device = bind(backend);
    vfio::Overlay limited(machine_.kernel());
    limited.failing[uapi::kIoasChangeProcess] = ENOMEM;
    Result<Restored> taken = Error(Operation::none, EINVAL);
    std::thread successor([&] { taken = take_over(new_end(), {.report = {}, .kernel = &limited}); });
    const auto refused = hand_over({backend, {}, {&device}, {}}, old_end(), {});
    successor.join();
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code(), ENOMEM);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ECANCELED);
    EXPECT_THAT(refused.error().line(), HasSubstr("RLIMIT_MEMLOCK of the new process"));
    EXPECT_TRUE(check({backend, {}, {&device}, {}}).value().empty());
}

}  // namespace
}  // namespace iommufd::live
