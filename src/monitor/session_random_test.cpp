// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Many random messages, and every allocation of a conversation failed once: the monitor lives on, and nothing is left.
#include <filesystem>
#include <memory>

#include "monitor/random_messages.hpp"
#include "monitor/testing.hpp"
#include "support/allocation_faults.hpp"

namespace iommufd::monitor {
namespace {

using namespace testing;
using ::testing::HasSubstr;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kMessages = 100'000;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr std::size_t kMessages = 100'000;
#else
constexpr std::size_t kMessages = 1'000'000;
#endif
#else
constexpr std::size_t kMessages = 1'000'000;
#endif

std::size_t open_descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
}

class RandomSessionTest : public MonitorTest {
protected:
    // The objects that may be left when the clients have gone.
    void clear() {
        monitor_.dirty_logs().clear();
        EXPECT_TRUE(registry_.clear().empty());
    }
};

TEST_F(RandomSessionTest, AMillionMessagesLeaveItAliveAndNothingBehind) {
    const std::size_t before = open_descriptors();
    RandomMessages random(20'251);
    std::vector<std::unique_ptr<Client>> clients(4);
    std::size_t answered = 0;
    std::size_t done = 0;
    for (std::size_t i = 0; i < kMessages; ++i) {
        auto& client = clients[random.below(clients.size())];
        if (!client || client->session.is_broken() || random.chance(500)) {
            client = std::make_unique<Client>(monitor_);
            if (!random.chance(10)) client->negotiated();
        }
        std::vector<sys::Fd> passed;
        if (random.chance(30))
            passed.push_back(open(random.chance(2)   ? "/dev/iommu"
                                  : random.chance(2) ? "/dev/vfio/devices/vfio0"
                                                     : "/dev/vhost-vdpa-0"));
        const std::string said = client->say(random.next(), std::move(passed));
        answered += said.empty() ? 0 : 1;
        done += said.starts_with("{\"return\": ") ? 1 : 0;
        // What a message has left open.
        if (random.chance(20)) (void)client->say("\n\xff\n");
    }
    // It isn't only complained about.
    EXPECT_GT(answered, kMessages / 2);
    EXPECT_GT(done, kMessages / 20);
    clients.clear();
    {
        Client client(monitor_);
        EXPECT_THAT(client.negotiated().say(R"({"execute":"query-status"})"), HasSubstr("running"));
    }
    clear();
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    EXPECT_EQ(open_descriptors(), before);
}

constexpr const char* kConversation[] = {
    R"({"execute":"qmp_capabilities","id":{"a":[1,2,3]}})",
    R"({"execute":"object-add","arguments":{"qom-type":"iommufd","id":"iommufd-with-a-name-that-no-string-holds"}})",
    R"({"execute":"object-add","arguments":{"qom-type":"memory-backend-memfd","id":"ram","size":1048576}})",
    R"({"execute":"object-add","arguments":{"qom-type":"dma-space","id":"dma0","iommufd":"iommufd-with-a-name-that-no-string-holds"}})",
    R"({"execute":"object-add","arguments":{"qom-type":"dma-mapping","id":"map0","space":"dma0","memdev":"ram"}})",
    R"({"execute":"getfd","arguments":{"fdname":"a-name-that-no-string-holds-in-itself"}})",
    R"({"execute":"device_add","arguments":{"driver":"vfio-pci","id":"edu0","fd":"a-name-that-no-string-holds-in-itself","iommufd":"iommufd-with-a-name-that-no-string-holds","space":"dma0"}})",
    R"({"execute":"query-iommufd"})",
    R"({"execute":"query-address-spaces"})",
    R"({"execute":"query-devices"})",
    R"({"execute":"qom-list","arguments":{"path":"/machine/peripheral"}})",
    R"({"execute":"qom-get","arguments":{"path":"edu0","property":"iommufd"}})",
    R"({"execute":"dirty-log-start","arguments":{"id":"dma0"}})",
    R"({"execute":"dirty-log-sync","arguments":{"id":"dma0"}})",
    R"({"execute":"dirty-log-stop","arguments":{"id":"dma0"}})",
    R"({"execute":"device_del","arguments":{"id":"edu0"}})",
    R"({"execute":"nosuch"} } x)",
};

TEST_F(RandomSessionTest, LeavesNothingWhicheverAllocationFails) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "the sanitizer owns operator new";
    Client other(monitor_);
    other.negotiated();
    std::uint64_t n = 1;
    for (bool struck = true; struck; ++n) {
        const std::size_t before = open_descriptors();
        {
            std::vector<sys::Fd> passed;
            passed.push_back(open("/dev/vfio/devices/vfio0"));
            const AllocationFaults::Armed armed(n);
            try {
                Session session(monitor_);
                for (const char* const message : kConversation) {
                    session.receive(message, std::exchange(passed, {}));
                    while (session.handle_one()) {
                    }
                    session.sent(session.output().size());
                    if (session.is_broken()) break;
                }
            } catch (const std::bad_alloc&) {
                // There was no memory for the greeting.
            }
            struck = armed.struck();
        }
        clear();
        ASSERT_FALSE(machine_.leaks().any()) << "at allocation " << n << ": " << machine_.leaks().text();
        ASSERT_EQ(open_descriptors(), before) << "at allocation " << n;
        (void)other.take();
        if (other.session.is_broken()) break;
        devices_.clear();
    }
    EXPECT_GT(n, 1000U);
    EXPECT_THAT(other.say(R"({"execute":"query-status"})"), HasSubstr("running"));
}

}  // namespace
}  // namespace iommufd::monitor
