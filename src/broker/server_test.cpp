// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/server.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/resource.h>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/thread_pool.hpp>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <thread>

#include "broker/testing.hpp"
#include "iommufd/broker/client.hpp"
#include "iommufd/model/machine.hpp"
#include "sys/socket_message.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr const char* kEdu = "0000:00:10.0";

class ServerTest : public ::testing::Test {
protected:
    ServerTest() : path_(folder_.path()) {}
    ~ServerTest() override { stop(); }
    void TearDown() override {
        stop();
        EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    }

    void start(ServerOptions options = {}, bool mediated = false) {
        Tenant tenant{.name = "a", .peers = {{.user = ::getuid()}}, .iommufd = true, .devices = {kEdu}};
        tenant.unreset = true;
        tenant.mediated = mediated;
        tenant.quotas = {.clients = 5000, .devices = 16, .iommufds = 5000};
        server_.emplace(loop_, pool_, folder_.listen(),
                        Broker::Options{.policy = {.tenants = {tenant}},
                                        .kernel = &machine_.kernel(),
                                        .journal = {},
                                        .run = {},
                                        .iommufd = {}},
                        options);
        thread_ = std::thread([this] {
            const auto guard = asio::make_work_guard(loop_);
            loop_.run();
        });
    }
    void stop() {
        if (!thread_.joinable()) return;
        asio::post(loop_, [this] { loop_.stop(); });
        thread_.join();
        pool_.join();
        server_.reset();
        // What the pool has done for those that left has its end here.
        loop_.restart();
        (void)loop_.poll();
    }
    Client connect() { return Client::connect(path_).value(); }
    int raw() { return folder_.connect().release(); }
    // What the server still says until it hangs up.
    static std::string rest(int fd) {
        std::string words;
        std::array<char, 4096> buffer;
        for (;;) {
            const ssize_t count = ::recv(fd, buffer.data(), buffer.size(), 0);
            if (count <= 0) return words;
            words.append(buffer.data(), static_cast<std::size_t>(count));
        }
    }
    // That it serves as before.
    void expect_service() {
        auto client = connect();
        EXPECT_TRUE(client.get({.iommufd = true}));
    }

    model::Machine machine_{model::parse("devices=edu").value()};
    SocketFolder folder_{::testing::TempDir()};
    std::string path_;
    asio::io_context loop_;
    asio::thread_pool pool_{2};
    std::optional<Server> server_;
    std::thread thread_;
};

TEST_F(ServerTest, several_descriptors_come_with_one_answer) {
    start();
    auto client = connect();
    auto given = client.get({.iommufd = true, .devices = {"00:10.0"}});
    ASSERT_TRUE(given) << given.error().line();
    ASSERT_EQ(given->entries().size(), 2U);
    EXPECT_EQ(given->entries()[0].kind, "iommufd");
    EXPECT_EQ(given->entries()[1].name, kEdu);
    const AdoptFd device = given->take_device(kEdu);
    EXPECT_NE(::fcntl(device.number, F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_EQ(given->take_device(kEdu).number, -1) << "it was taken";
    ::close(device.number);
}

TEST_F(ServerTest, a_refusal_arrives_with_its_reason_and_the_connection_stays) {
    start();
    auto client = connect();
    const auto refused = client.get({.devices = {"0000:00:1f.0"}});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), EACCES);
    EXPECT_THAT(refused.error().line(), HasSubstr("the policy doesn't allow it to 'a'"));
    EXPECT_TRUE(client.get({.iommufd = true}));
}

TEST_F(ServerTest, hanging_up_gives_back_what_was_given) {
    start();
    {
        auto client = connect();
        ASSERT_TRUE(client.get({.devices = {kEdu}}));
        auto other = connect();
        EXPECT_EQ(other.get({.devices = {kEdu}}).error().code(), EBUSY);
    }
    auto next = connect();
    Result<Descriptors> given = next.get({.devices = {kEdu}});
    for (int i = 0; i < 1000 && !given && given.error().code() == EBUSY; ++i)
        given = next.get({.devices = {kEdu}});
    EXPECT_TRUE(given) << given.error().line();
}

TEST_F(ServerTest, a_request_that_comes_byte_by_byte_is_understood) {
    start();
    const int fd = raw();
    for (const char byte : encode(Request{.iommufd = true})) ASSERT_EQ(::send(fd, &byte, 1, 0), 1);
    auto client = Client::over(AdoptFd{fd}, {}).value();
    EXPECT_TRUE(client.get({.iommufd = true}));
}

TEST_F(ServerTest, many_requests_at_once_are_answered_one_after_another) {
    start();
    const int fd = raw();
    std::string many;
    for (int i = 0; i < 200; ++i) many += encode(Request{.devices = {"none"}});
    ASSERT_EQ(::send(fd, many.data(), many.size(), 0), static_cast<ssize_t>(many.size()));
    ::shutdown(fd, SHUT_WR);
    const std::string words = rest(fd);
    std::size_t answers = 0;
    for (std::size_t at = 0; at < words.size(); ++answers)
        at += sizeof(Header) +
              read_header(std::as_bytes(std::span(words).subspan(at).first<sizeof(Header)>())).value();
    EXPECT_EQ(answers, 200U);
    ::close(fd);
    expect_service();
}

TEST_F(ServerTest, half_a_message_ends_the_connection_when_patience_does_however_slowly_it_grows) {
    start({.most_clients = 100, .patience = 200ms, .retry = 50ms});
    const int still = raw();
    const int slow = raw();
    const std::string message = encode(Request{.iommufd = true, .devices = {std::string(200, 'a')}});
    ASSERT_EQ(::send(still, message.data(), 20, 0), 20);
    bool ended = false;
    for (const char byte : message) {
        ended = ::send(slow, &byte, 1, MSG_NOSIGNAL) != 1;
        if (ended) break;
        std::this_thread::sleep_for(10ms);
    }
    EXPECT_TRUE(ended) << "each byte bought it more time";
    EXPECT_EQ(rest(still), "");
    ::close(still);
    ::close(slow);
    expect_service();
}

TEST_F(ServerTest, who_has_something_may_be_silent_but_not_leave_a_message_half_said) {
    start({.most_clients = 100, .patience = 200ms, .retry = 50ms});
    auto silent = connect();
    ASSERT_TRUE(silent.get({.iommufd = true}));
    const int fd = raw();
    const std::string request = encode(Request{.iommufd = true});
    ASSERT_GT(::send(fd, request.data(), request.size(), 0), 0);
    ASSERT_GT(::send(fd, request.data(), request.size() / 2, 0), 0);
    EXPECT_EQ(rest(fd).size(), encode(Answer{.given = {{GivenKind::iommufd, "iommufd"}}}).size());
    ::close(fd);
    EXPECT_TRUE(silent.get({.iommufd = true}));
}

TEST_F(ServerTest, what_is_no_message_is_answered_with_the_reason_and_hung_up_on) {
    start();
    for (std::string message :
         {std::string("GET / HTTP/1.1\r\n\r\n"), encode(Request{}).replace(4, 1, "\x07"),
          encode(Request{}).replace(sizeof(Header), 3, "abc")}) {
        const int fd = raw();
        ASSERT_GT(::send(fd, message.data(), message.size(), 0), 0);
        const std::string answer = rest(fd);
        ASSERT_GT(answer.size(), sizeof(Header));
        EXPECT_FALSE(read_answer(std::string_view(answer).substr(sizeof(Header))));
        ::close(fd);
    }
    expect_service();
}

TEST_F(ServerTest, a_flood_of_descriptors_ends_the_connection_and_leaves_none) {
    start();
    const auto count = [] { return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}); };
    expect_service();
    const auto before = count();
    const std::vector<int> many(60, STDOUT_FILENO);
    for (int i = 0; i < 20; ++i) {
        const int fd = raw();
        const std::string message = encode(Request{.iommufd = true});
        for (const char byte : message)
            if (sys::send_some(fd, {&byte, 1}, many) < 0) break;
        EXPECT_EQ(rest(fd), "");
        ::close(fd);
    }
    expect_service();
    for (int i = 0; i < 100 && count() > before + 2; ++i) std::this_thread::sleep_for(10ms);
    EXPECT_LE(count(), before + 2);
}

TEST_F(ServerTest, a_client_that_never_reads_is_hung_up_on_and_keeps_nobody_waiting) {
    start({.most_clients = 100, .patience = 300ms, .retry = 50ms});
    const int fd = raw();
    const int small = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    const std::string message = encode(Request{.devices = {"none"}});
    // Until the server reads no more of it, or has had enough.
    std::size_t sent = 0;
    for (int i = 0; i < 100000; ++i) {
        const ssize_t count = ::send(fd, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) {
            std::this_thread::sleep_for(1ms);
            continue;
        }
        if (count < 0) break;
        sent += static_cast<std::size_t>(count);
        if (i % 100 == 0) expect_service();
    }
    EXPECT_TRUE(errno == EPIPE || errno == ECONNRESET) << sent << " bytes were taken";
    ::close(fd);
    expect_service();
}

TEST_F(ServerTest, memory_is_mapped_for_a_client_that_sends_it) {
    start({}, true);
    auto client = connect();
    EXPECT_EQ(client.map({.memory = sealed_memory(1_MiB).number(), .length = 1_MiB}).error().code(), ENODEV);
    const auto given = client.get({.devices = {kEdu}, .mediated = true});
    ASSERT_TRUE(given) << given.error().line();
    EXPECT_THAT(given->attached(), ::testing::ElementsAre(kEdu));
    const sys::Fd memory = sealed_memory(1_MiB);
    const auto mapped = client.map({.memory = memory.number(), .length = 1_MiB, .write = true});
    ASSERT_TRUE(mapped) << mapped.error().line();
    EXPECT_EQ(mapped->length, 1_MiB);
    const auto above =
        client.map({.memory = memory.number(), .length = 4096, .iova = mapped->iova + 16_MiB}).value();
    EXPECT_EQ(above.iova, mapped->iova + 16_MiB);
    EXPECT_EQ(client.unmap(mapped->iova).value(), 1_MiB);
    EXPECT_EQ(client.unmap(mapped->iova).error().code(), ENOENT);
    for (const int wrong : {STDOUT_FILENO, client.fd()})
        EXPECT_EQ(client.map({.memory = wrong, .length = 4096}).error().code(), EBADF);
    EXPECT_TRUE(client.map({.memory = memory.number(), .length = 4096})) << "the connection is as it was";
}

TEST_F(ServerTest, who_sends_more_than_one_descriptor_or_may_send_none_is_hung_up_on) {
    start({}, true);
    Request request;
    request.mapping = MapRequest{.part = {.length = 4096}, .iova = {}};
    const std::string message = encode(request);
    const sys::Fd memory = sealed_memory(4096);
    for (const std::size_t count : {2U, 3U, 60U}) {
        const sys::Fd client = folder_.connect();
        const std::vector<int> many(count, memory.number());
        (void)sys::send_some(client.number(), message, many);
        EXPECT_EQ(rest(client.number()), "") << count;
    }
    // One by one, with no message that takes them.
    const sys::Fd client = folder_.connect();
    const int one = memory.number();
    for (int i = 0; i < 2; ++i)
        (void)sys::send_some(client.number(), message.substr(static_cast<std::size_t>(i), 1), {&one, 1});
    EXPECT_EQ(rest(client.number()), "");
    expect_service();
}

TEST_F(ServerTest, a_thousand_clients_that_ask_at_once_are_all_served) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < 8000) GTEST_SKIP() << "a thousand clients and the model take 8000 descriptors";
    const rlimit more{.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &more);
    start();
    std::vector<int> clients;
    for (int i = 0; i < 1000; ++i) clients.push_back(raw());
    const std::string request = encode(Request{.iommufd = true});
    for (const int client : clients)
        ASSERT_EQ(::send(client, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
    int served = 0;
    for (const int client : clients) {
        pollfd waiting{.fd = client, .events = POLLIN, .revents = 0};
        ASSERT_EQ(::poll(&waiting, 1, 30'000), 1);
        std::array<char, 4096> answer;
        served +=
            static_cast<int>(sys::receive_some(sys::host_kernel(), client, answer, 1).descriptors.size());
    }
    EXPECT_EQ(served, 1000);
    for (const int client : clients) ::close(client);
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

TEST_F(ServerTest, a_path_that_is_a_symbolic_link_is_not_followed) {
    start();
    const std::string link = folder_.name() + "/link";
    std::filesystem::create_symlink(path_, link);
    const auto refused = Client::connect(link);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ELOOP);
    EXPECT_THAT(refused.error().line(), HasSubstr("somebody else's socket"));
    EXPECT_EQ(Client::connect("/dev/null").error().code(), ENOTSOCK);
    EXPECT_EQ(Client::connect(folder_.name() + "/none").error().code(), ENOENT);
}

TEST_F(ServerTest, a_client_does_not_talk_to_somebody_elses_broker) {
    start();
    const auto refused = Client::connect(path_, {.broker_user = ::getuid() + 1});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), EPERM);
    expect_service();
}

TEST_F(ServerTest, clients_keep_what_they_have_when_the_server_ends) {
    start();
    auto client = connect();
    auto given = client.get({.iommufd = true});
    ASSERT_TRUE(given);
    stop();
    EXPECT_GE(::fcntl(given->entries()[0].number, F_GETFD), 0);
    const auto refused = client.get({.iommufd = true});
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().code() == EPIPE || refused.error().code() == ECONNRESET);
    {
        const auto dropped = std::move(*given);
    }
}

}  // namespace
}  // namespace iommufd::inline v0_1::broker
