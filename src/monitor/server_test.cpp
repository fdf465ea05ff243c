// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Clients at the socket, good ones and bad ones. All run in the one thread of the test, which lets the loop do what it can now.
#include "monitor/server.hpp"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <asio/io_context.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "error/compose.hpp"
#include "monitor/testing.hpp"

// UndefinedBehaviorSanitizer looks at an object through a pipe, and takes one that it can't look at for a bad one.
#if defined(__has_feature)
#if __has_feature(undefined_behavior_sanitizer)
#define IOMMUFD_SANITIZER_NEEDS_DESCRIPTORS
#endif
#endif

namespace iommufd::monitor {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kNegotiate = R"({"execute":"qmp_capabilities"})";
constexpr const char* kStatus = R"({"execute":"query-status"})";

std::size_t open_descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
}

class Peer {
public:
    explicit Peer(const std::string& path)
        : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
        sockaddr_un name{};
        name.sun_family = AF_UNIX;
        std::memcpy(name.sun_path, path.data(), path.size());
        EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&name), sizeof name), 0)
            << std::strerror(errno);
    }
    ~Peer() { hang_up(); }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    // The bytes that went out.
    std::size_t send(std::string_view bytes) const {
        const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        return count < 0 ? 0 : static_cast<std::size_t>(count);
    }
    void send(std::string_view bytes, const std::vector<int>& descriptors) const {
        std::vector<char> control(CMSG_SPACE(sizeof(int) * descriptors.size()));
        iovec vector{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
        msghdr message{};
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* const part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
        std::memcpy(CMSG_DATA(part), descriptors.data(), sizeof(int) * descriptors.size());
        EXPECT_EQ(::sendmsg(fd_, &message, 0), static_cast<ssize_t>(bytes.size()));
    }
    // What has come by now.
    std::string read() {
        std::array<char, 65536> buffer;
        std::string text;
        for (;;) {
            const ssize_t count = ::recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (count == 0 || (count < 0 && errno == ECONNRESET)) was_hung_up = true;
            if (count <= 0) return text;
            text.append(buffer.data(), static_cast<std::size_t>(count));
        }
    }
    void hang_up() {
        if (fd_ >= 0) (void)::close(fd_);
        fd_ = -1;
    }
    void end_sending() const { (void)::shutdown(fd_, SHUT_WR); }

    bool was_hung_up = false;

private:
    int fd_;
};

class ServerTest : public MonitorTest {
protected:
    ServerTest() {
        char name[] = "/tmp/server_test.XXXXXX";
        folder_ = ::mkdtemp(name);
        path_ = folder_ + "/socket";
        server_ = Server::listen(loop_, monitor_, {.path = path_}).value();
    }
    void TearDown() override {
        server_.reset();
        EXPECT_FALSE(std::filesystem::exists(path_));
        std::filesystem::remove_all(folder_);
        MonitorTest::TearDown();
    }

    // All that can be done now.
    void run() {
        loop_.restart();
        while (loop_.poll() != 0) {
        }
    }
    std::string answer(Peer& peer) {
        run();
        return peer.read();
    }
    std::string answer(Peer& peer, std::string_view bytes) {
        EXPECT_EQ(peer.send(bytes), bytes.size());
        return answer(peer);
    }
    std::unique_ptr<Peer> negotiated() {
        auto peer = std::make_unique<Peer>(path_);
        EXPECT_THAT(answer(*peer), StartsWith(R"({"QMP": )"));
        EXPECT_EQ(answer(*peer, kNegotiate), "{\"return\": {}}\r\n");
        return peer;
    }
    void expect_service() {
        const auto peer = negotiated();
        EXPECT_THAT(answer(*peer, kStatus), HasSubstr("running"));
    }

    asio::io_context loop_;
    std::string folder_;
    std::string path_;
    std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, ServesSeveralClientsAndTellsAllOfThemOfADevice) {
    const auto one = negotiated();
    const auto two = negotiated();
    EXPECT_THAT(
        answer(*one, R"({"execute":"object-add","arguments":{"qom-type":"iommufd","id":"iommufd0"}})"),
        "{\"return\": {}}\r\n");
    EXPECT_THAT(
        answer(
            *two,
            R"({"execute":"device_add","arguments":{"driver":"vfio-pci","id":"edu0","host":"0000:00:10.0","iommufd":"iommufd0"}})"),
        "{\"return\": {}}\r\n");
    EXPECT_THAT(answer(*one, R"({"execute":"device_del","arguments":{"id":"edu0"}})"),
                HasSubstr("DEVICE_DELETED"));
    EXPECT_THAT(answer(*two), HasSubstr("DEVICE_DELETED"));
    monitor_.tell_unplug_request("edu0");
    EXPECT_THAT(answer(*two), HasSubstr("DEVICE_UNPLUG_REQUEST"));
}

TEST_F(ServerTest, OnlyItsOwnerMayConnect) {
    struct stat status{};
    ASSERT_EQ(::lstat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600U);
}

TEST_F(ServerTest, AClientThatFloodsAndNeverReadsIsNotListenedToAndHarmsNobody) {
    const auto flood = negotiated();
    const auto good = negotiated();
    std::string bytes;
    for (int i = 0; i < 100; ++i) bytes += "}]1x{'execute':'query-commands'}";
    std::size_t sent = 0;
    for (int quiet = 0; quiet < 3;) {
        const std::size_t count = flood->send(bytes);
        sent += count;
        quiet = count == 0 ? quiet + 1 : 0;
        EXPECT_THAT(answer(*good, kStatus), HasSubstr("running"));
        // Its questions are still with the kernel.
        ASSERT_LT(sent, 8U << 20);
    }
    EXPECT_EQ(server_->clients(), 2U);
    // It is served again when it reads.
    std::size_t read = 0;
    for (int i = 0; i < 10'000 && !flood->send(bytes); ++i) read += answer(*flood).size();
    EXPECT_GT(read, 0U);
    expect_service();
}

TEST_F(ServerTest, OthersGetTheirTurnBetweenTheMessagesOfAFlood) {
    const auto flood = negotiated();
    const auto good = negotiated();
    // As much as one read takes.
    std::string bytes;
    while (bytes.size() < 4000) bytes += "{'execute':'nosuch'}";
    (void)flood->send(bytes);
    (void)good->send(kStatus);
    loop_.restart();
    std::string answers;
    std::size_t steps = 0;
    while (answers.empty() && loop_.poll_one() != 0) {
        ++steps;
        answers = good->read();
    }
    EXPECT_THAT(answers, HasSubstr("running"));
    EXPECT_LT(steps, 20U);
}

TEST_F(ServerTest, AClientThatStallsWithinAMessageHarmsNobody) {
    const auto stalled = negotiated();
    EXPECT_EQ(answer(*stalled, R"({"execute":"query-st)"), "");
    expect_service();
    EXPECT_THAT(answer(*stalled, R"(atus"})"), HasSubstr("running"));
}

TEST_F(ServerTest, AClientThatHangsUpWithinAMessageOrWithoutReadingTheAnswerHarmsNobody) {
    const std::string add = R"({"execute":"object-add","arguments":{"qom-type":"iommufd","id":"iommufd0"}})";
    for (std::size_t length = 0; length <= add.size(); ++length) {
        Peer peer(path_);
        (void)peer.send(kNegotiate);
        (void)peer.send(std::string_view(add).substr(0, length));
        if (length % 2 == 0) run();
        peer.hang_up();
        run();
        EXPECT_EQ(server_->clients(), 0U);
    }
    // The command was whole in the end, and nobody waited for its answer.
    EXPECT_TRUE(registry_.find("iommufd0"));
    expect_service();
}

TEST_F(ServerTest, AClientThatHasEndedItsSentencesStillGetsTheAnswers) {
    Peer peer(path_);
    (void)peer.send(kNegotiate);
    (void)peer.send(kStatus);
    peer.end_sending();
    EXPECT_THAT(answer(peer), HasSubstr("running"));
    EXPECT_TRUE(peer.was_hung_up);
    EXPECT_EQ(server_->clients(), 0U);
}

TEST_F(ServerTest, AClientThatDoesNotReadEventsIsDroppedWhenThereAreTooMany) {
    const auto lazy = negotiated();
    const auto good = negotiated();
    for (int i = 0; i < 100'000 && server_->clients() == 2; ++i) {
        monitor_.tell_device_error("edu0");
        if (i % 100 == 0) (void)answer(*good);
    }
    EXPECT_EQ(server_->clients(), 1U);
    EXPECT_THAT(answer(*good, kStatus), HasSubstr("running"));
}

TEST_F(ServerTest, AClientThatPassesTooManyDescriptorsIsDroppedAndTheyAreClosed) {
    const auto good = negotiated();
    auto bad = negotiated();
    const std::size_t before = open_descriptors();
    for (int i = 0; i < 50; ++i) {
        bad->send(kStatus, std::vector<int>(PassedDescriptors::kMostInAMessage, STDERR_FILENO));
        EXPECT_THAT(answer(*bad), HasSubstr("running"));
        EXPECT_EQ(open_descriptors(), before + PassedDescriptors::kMostInAMessage);
    }
    bad->send(kStatus, std::vector<int>(PassedDescriptors::kMostInAMessage + 1, STDERR_FILENO));
    (void)answer(*bad);
    EXPECT_TRUE(bad->was_hung_up);
    bad.reset();
    EXPECT_EQ(open_descriptors() + 2, before);
    EXPECT_THAT(answer(*good, kStatus), HasSubstr("running"));
}

TEST_F(ServerTest, OfTooManyClientsTheLastOnesAreHungUpOn) {
    std::vector<std::unique_ptr<Peer>> clients;
    for (std::size_t i = 0; i < kMostClients; ++i) clients.push_back(negotiated());
    for (int i = 0; i < 100; ++i) {
        Peer one_more(path_);
        EXPECT_EQ(answer(one_more), "");
        EXPECT_TRUE(one_more.was_hung_up);
    }
    EXPECT_THAT(answer(*clients.front(), kStatus), HasSubstr("running"));
    clients.pop_back();
    run();
    expect_service();
}

TEST_F(ServerTest, DeepNestingIsRefusedAndTheClientGoesOn) {
    const auto client = negotiated();
    std::string text;
    for (int i = 0; i < 25; ++i) text += answer(*client, std::string(4000, '['));
    EXPECT_THAT(text, HasSubstr("JSON nesting depth limit exceeded"));
    (void)answer(*client, "\xff");
    EXPECT_THAT(answer(*client, kStatus), HasSubstr("running"));
}

TEST_F(ServerTest, AMessageThatIsTooLongIsRefusedAndTheClientGoesOn) {
    const auto client = negotiated();
    std::string text;
    (void)client->send("'");
    for (int i = 0; i < 300; ++i) text += answer(*client, std::string(4000, 'x'));
    EXPECT_EQ(text,
              "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON token size limit exceeded\"}}\r\n");
    (void)answer(*client, "\xff");
    EXPECT_THAT(answer(*client, kStatus), HasSubstr("running"));
}

TEST_F(ServerTest, WithoutDescriptorsNobodyIsLetInUntilThereAreSome) {
#ifdef IOMMUFD_SANITIZER_NEEDS_DESCRIPTORS
    GTEST_SKIP() << "the sanitizer has no descriptors then either";
#endif
    Peer peer(path_);
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlimit none{.rlim_cur = 0, .rlim_max = limit.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    run();
    EXPECT_EQ(server_->clients(), 0U);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (server_->clients() == 0) {
        loop_.restart();
        loop_.run_one();
    }
    EXPECT_THAT(answer(peer), StartsWith(R"({"QMP": )"));
}

TEST_F(ServerTest, APathThatSomebodyListensAtIsRefusedAndOneThatWasLeftBehindIsTaken) {
    auto second = Server::listen(loop_, monitor_, {.path = path_});
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().line(), HasSubstr("EADDRINUSE (another process listens there)"));
    expect_service();
    // As a process that was killed leaves it.
    const std::string abandoned = folder_ + "/abandoned";
    std::filesystem::rename(path_, abandoned);
    server_.reset();
    EXPECT_TRUE(std::filesystem::exists(abandoned));
    {
        const auto taken = Server::listen(loop_, monitor_, {.path = abandoned}).value();
        Peer peer(abandoned);
        EXPECT_THAT(answer(peer), StartsWith(R"({"QMP": )"));
    }
    EXPECT_FALSE(std::filesystem::exists(abandoned));
    server_ = Server::listen(loop_, monitor_, {.path = path_}).value();
}

TEST_F(ServerTest, NothingThatIsNoSocketIsRemovedAndNoLinkIsFollowed) {
    const std::string other = folder_ + "/other";
    std::ofstream(other) << "mine";
    const std::string link = folder_ + "/link";
    std::filesystem::create_symlink(path_, link);
    for (const std::string& path : {other, link, folder_}) {
        auto refused = Server::listen(loop_, monitor_, {.path = path});
        ASSERT_FALSE(refused) << path;
        EXPECT_THAT(refused.error().line(), HasSubstr("EEXIST (something that is no socket is there)"));
    }
    EXPECT_TRUE(std::filesystem::exists(other));
    EXPECT_TRUE(std::filesystem::is_symlink(link));
    auto nowhere = Server::listen(loop_, monitor_, {.path = folder_ + "/no/such"});
    ASSERT_FALSE(nowhere);
    EXPECT_THAT(nowhere.error().line(), HasSubstr("ENOENT"));
}

TEST_F(ServerTest, ASocketOfSomebodyElseAtItsPathStays) {
    std::filesystem::remove(path_);
    std::ofstream(path_) << "somebody else's";
    server_.reset();
    EXPECT_TRUE(std::filesystem::exists(path_));
    std::filesystem::remove(path_);
}

TEST(ParseAddress, ReadsWhatQemuReads) {
    EXPECT_EQ(parse_address("unix:/run/a")->path, "/run/a");
    EXPECT_EQ(parse_address("unix:/run/a,server=on,wait=off")->path, "/run/a");
    EXPECT_EQ(parse_address("unix:/run/a,,b,server")->path, "/run/a,b");
    for (const auto& [text, why] : std::initializer_list<std::pair<const char*, const char*>>{
             {"/run/a", "it is no Unix socket"},
             {"tcp:localhost:1", "it is no Unix socket"},
             {"unix:", "its path is empty"},
             {"unix:a,server=off", "'server=off' is not what this command does"},
             {"unix:a,wait=on", "'wait=on' is not what this command does"},
             {"unix:a,server=maybe", "'server=maybe' is not what this command does"},
             {"unix:a,pretty=on", "it has no option 'pretty'"}}) {
        auto refused = parse_address(text);
        ASSERT_FALSE(refused) << text;
        EXPECT_THAT(refused.error().line(), HasSubstr(why));
    }
    EXPECT_THAT(parse_address("unix:" + std::string(108, 'x')).error().line(),
                HasSubstr("more than 107 bytes"));
}

}  // namespace
}  // namespace iommufd::monitor
