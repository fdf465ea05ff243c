// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <gmock/gmock.h>

#include <cerrno>
#include <optional>

#include "broker/broker.hpp"
#include "broker/holder.hpp"
#include "broker/testing.hpp"
#include "iommufd/model/machine.hpp"
#include "sys/faulty_kernel.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Handle = std::shared_ptr<Holder>;

constexpr const char* kEdu = "0000:00:10.0";
constexpr const char* kNvme = "0000:00:11.0";
constexpr unsigned long kReset = 0x3b6f, kAttach = 0x3b77, kDetach = 0x3b78, kUnmap = 0x3b86,
                        kMapFile = 0x3b8f;

// Notes the ioctls that go to the model, and lets a test do something before one.
class WatchedKernel final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;
    int ioctl(int fd, unsigned long request, void* argument) override {
        if (before) before(request);
        const int result = FaultyKernel::ioctl(fd, request, argument);
        if (result >= 0) done.push_back(request);
        return result;
    }
    std::function<void(unsigned long request)> before;
    std::vector<unsigned long> done;
};

Tenant tenant(std::string name) {
    Tenant tenant{.name = std::move(name), .peers = {{.user = ::getuid()}}, .mediated = true};
    tenant.devices = {kEdu, kNvme};
    return tenant;
}

class MediatedTest : public ::testing::Test {
protected:
    void TearDown() override {
        broker_.reset();
        waiting_.clear();
        EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    }
    void broker(std::vector<Tenant> tenants, bool waits = false) {
        Broker::Run run;
        if (waits)
            run = [this](Broker::Work work, Broker::Work then) {
                waiting_.emplace_back(std::move(work), std::move(then));
            };
        broker_.emplace(
            Broker::Options{.policy = {.tenants = std::move(tenants)},
                            .kernel = &kernel_,
                            .journal = [this](const Record& record) { journal_.push_back(record); },
                            .run = std::move(run),
                            .iommufd = {}});
    }
    // What was given to run, and what that gives.
    void work() {
        while (!waiting_.empty()) {
            auto [work, then] = std::move(waiting_.front());
            waiting_.erase(waiting_.begin());
            work();
            then();
        }
    }
    Handle admit(uid_t user = ::getuid()) {
        Peer peer = ourselves();
        peer.user = user;
        return broker_->admit(std::move(peer));
    }
    Result<Grant> get(const Handle& client, std::vector<std::string> devices) {
        std::optional<Result<Grant>> answer;
        broker_->get(client, {.mediated = true, .devices = std::move(devices)},
                     [&](Result<Grant> granted) { answer = std::move(granted); });
        work();
        return *std::move(answer);
    }
    Result<Range> map(const Handle& client, const sys::Fd& memory, const MapRequest& wanted) {
        std::optional<Result<Range>> answer;
        broker_->map(client, wanted, sys::Fd(sys::host_kernel(), ::dup(memory.number())),
                     [&](const Result<Grant>& granted) {
                         answer = granted ? Result<Range>(granted->answer.mapped.value()) : granted.error();
                     });
        work();
        return *std::move(answer);
    }
    Result<Range> map(const Handle& client, std::uint64_t size = 1_MiB,
                      std::optional<std::uint64_t> at = {}) {
        return map(client, sealed_memory(size), {.part = {.length = size, .write = true}, .iova = at});
    }
    int unmap(const Handle& client, Iova iova) {
        int code = -1;
        broker_->unmap(client, {.iova = iova.value},
                       [&](const Result<Grant>& granted) { code = granted ? 0 : granted.error().code(); });
        work();
        return code;
    }

    model::Machine machine_{model::parse("devices=edu:name=0000:00:10.0,nvme:name=0000:00:11.0").value()};
    WatchedKernel kernel_{machine_.kernel()};
    std::vector<std::pair<Broker::Work, Broker::Work>> waiting_;
    std::optional<Broker> broker_;
    std::vector<Record> journal_;
};

TEST_F(MediatedTest, a_client_gets_memory_mapped_for_its_device_and_unmapped_again) {
    broker({tenant("a")});
    const auto client = admit();
    const auto grant = get(client, {"00:10.0"});
    ASSERT_TRUE(grant) << grant.error().line();
    EXPECT_THAT(grant->answer.attached, ElementsAre(kEdu));
    EXPECT_TRUE(grant->descriptors.empty());
    EXPECT_THAT(grant->answer.notes, ElementsAre(HasSubstr("the policy gives no descriptor of")));
    const auto first = map(client, 4_MiB);
    ASSERT_TRUE(first) << first.error().line();
    const auto second = map(client, 64_KiB);
    ASSERT_TRUE(second) << second.error().line();
    EXPECT_FALSE(first->overlaps(*second));
    EXPECT_EQ(first->first.value % 2_MiB, 0U);
    EXPECT_THAT(journal_.back().what, HasSubstr("a mapping of 64 KiB at 0x"));
    EXPECT_EQ(unmap(client, first->first), 0);
    EXPECT_EQ(unmap(client, first->first), ENOENT) << "it is unmapped";
    EXPECT_EQ(unmap(client, second->first + 4096), ENOENT) << "it doesn't begin there";
    EXPECT_EQ(map(client, 4_MiB, first->first.value).value(), *first);
    EXPECT_EQ(map(client, 64_KiB, first->first.value + 1_MiB).error().code(), EEXIST);
    EXPECT_EQ(map(client, 64_KiB, ~std::uint64_t{0} - 64_KiB + 1).error().code(), EINVAL);
    broker_->release(client);
    EXPECT_EQ(journal_.back().what, "mediated '0000:00:10.0',2 mappings");
}

TEST_F(MediatedTest, each_has_a_context_of_its_own_where_another_ones_device_and_memory_are_not) {
    Tenant a = tenant("a");
    a.descriptors = true;
    broker({a});
    const auto victim = admit();
    const auto attacker = admit();
    ASSERT_TRUE(get(victim, {kNvme}));
    const auto grant = get(attacker, {kEdu}).value();
    ASSERT_EQ(grant.descriptors.size(), 1U);
    const auto theirs = map(victim, 1_MiB).value();
    EXPECT_EQ(map(attacker, 1_MiB).value(), theirs) << "the same address is free in both";
    EXPECT_EQ(unmap(attacker, theirs.first), 0);
    EXPECT_EQ(unmap(attacker, theirs.first), ENOENT) << "the victim's is out of reach";
    // Its own IOAS, and page table, and beyond.
    int attached = 0;
    for (std::uint32_t id = 1; id < 64; ++id) {
        struct {
            std::uint32_t argsz, flags, table;
        } command{12, 0, id};
        attached += kernel_.ioctl(grant.descriptors[0], kAttach, &command) == 0 ? 1 : 0;
    }
    EXPECT_EQ(attached, 2) << "of both clients there are twice as many";
}

TEST_F(MediatedTest, without_an_iommufd_in_the_policy_a_device_comes_mediated_or_not_at_all) {
    Tenant plain = tenant("b");
    plain.mediated = false;
    plain.iommufd = true;
    plain.peers = {{.user = 4711}};
    broker({tenant("a"), plain});
    std::optional<int> code;
    const auto client = admit();
    const auto refused = [&](const Handle& who, Request request) {
        broker_->get(who, std::move(request),
                     [&](const Result<Grant>& granted) { code = granted ? 0 : granted.error().code(); });
        return *code;
    };
    EXPECT_EQ(refused(client, {.devices = {kEdu}}), EACCES);
    EXPECT_EQ(refused(client, {.iommufd = true}), EACCES);
    EXPECT_EQ(refused(client, {.iommufd = true, .mediated = true}), EACCES);
    EXPECT_EQ(refused(client, {.mediated = true}), EINVAL) << "no device";
    const auto other = admit(4711);
    EXPECT_EQ(refused(other, {.mediated = true, .devices = {kEdu}}), EACCES);
    EXPECT_EQ(map(other).error().code(), EACCES);
    EXPECT_EQ(map(client).error().code(), ENODEV) << "no device would see it";
}

TEST_F(MediatedTest, one_connection_has_an_iommufd_or_is_mediated) {
    Tenant both = tenant("a");
    both.iommufd = true;
    broker({both});
    const auto mediated = admit();
    ASSERT_TRUE(get(mediated, {kEdu}));
    const auto plain = admit();
    int code = -1;
    const auto done = [&](const Result<Grant>& granted) { code = granted ? 0 : granted.error().code(); };
    broker_->get(mediated, {.iommufd = true}, done);
    EXPECT_EQ(code, EINVAL);
    broker_->get(plain, {.iommufd = true}, done);
    EXPECT_EQ(code, 0);
    EXPECT_EQ(get(plain, {kNvme}).error().code(), EINVAL);
}

TEST_F(MediatedTest, quotas_are_looked_at_before_the_kernel_is_asked) {
    Tenant a = tenant("a");
    a.quotas.pinned = 3_MiB;
    a.quotas.mappings = 2;
    a.quotas.iommufds = 1;
    a.quotas.devices = 1;
    broker({a});
    const auto client = admit();
    ASSERT_TRUE(get(client, {kEdu}));
    EXPECT_EQ(get(client, {kNvme}).error().code(), EDQUOT);
    EXPECT_EQ(get(admit(), {kNvme}).error().code(), EDQUOT);
    const auto first = map(client, 2_MiB).value();
    const auto maps = std::ranges::count(kernel_.done, kMapFile);
    const auto over = map(client, 2_MiB);
    EXPECT_THAT(over.error().line(), HasSubstr("EDQUOT (of the 3 MiB that may be pinned for 'a' 2 MiB are"));
    ASSERT_TRUE(map(client, 1_MiB));
    ASSERT_EQ(unmap(client, first.first), 0);
    ASSERT_TRUE(map(client, 64_KiB));
    EXPECT_THAT(map(client, 64_KiB).error().line(), HasSubstr("EDQUOT ('a' has its 2 mappings)"));
    EXPECT_EQ(std::ranges::count(kernel_.done, kMapFile), maps + 2);
    broker_->release(client);
    const auto next = admit();
    ASSERT_TRUE(get(next, {kEdu}));
    EXPECT_TRUE(map(next, 3_MiB)) << "all is free again";
}

TEST_F(MediatedTest, what_is_no_memory_or_not_as_it_must_be_is_refused_and_written_down) {
    broker({tenant("a")});
    const auto client = admit();
    ASSERT_TRUE(get(client, {kEdu}));
    const auto [one, other] = socket_pair();
    EXPECT_EQ(map(client, one, {.part = {.length = 4096}}).error().code(), EBADF);
    EXPECT_EQ(map(client, sealed_memory(1_MiB, 0), {.part = {.length = 4096}}).error().code(), EPERM);
    EXPECT_EQ(journal_.back().outcome, Outcome::refused);
    EXPECT_THAT(journal_.back().why, HasSubstr("its size isn't sealed"));
    EXPECT_EQ(std::ranges::count(kernel_.done, kMapFile), 0);
}

TEST_F(MediatedTest, memory_that_is_sealed_against_writing_while_it_is_mapped_is_unmapped_again) {
    broker({tenant("a")});
    const auto client = admit();
    ASSERT_TRUE(get(client, {kEdu}));
    const sys::Fd memory = sealed_memory(1_MiB);
    // Between the look at the seals and the kernel's pins, which keep it from being sealed.
    kernel_.before = [&](unsigned long request) {
        if (request == kMapFile) EXPECT_EQ(::fcntl(memory.number(), F_ADD_SEALS, F_SEAL_WRITE), 0);
    };
    EXPECT_EQ(map(client, memory, {.part = {.length = 1_MiB, .write = true}}).error().code(), EPERM);
    kernel_.before = {};
    EXPECT_EQ(std::ranges::count(kernel_.done, kMapFile), std::ranges::count(kernel_.done, kUnmap));
}

TEST_F(MediatedTest, a_client_that_hangs_up_has_its_memory_unmapped_then_its_device_detached_and_reset) {
    broker({tenant("a")});
    const auto client = admit();
    ASSERT_TRUE(get(client, {kNvme}));
    ASSERT_TRUE(map(client));
    ASSERT_TRUE(map(client));
    kernel_.done.clear();
    broker_->release(client);
    std::vector<unsigned long> order;
    for (const unsigned long request : kernel_.done)
        if (request == kUnmap || request == kDetach || request == kReset) order.push_back(request);
    ASSERT_GE(order.size(), 4U);
    EXPECT_THAT((std::vector(order.begin(), order.begin() + 4)),
                ElementsAre(kUnmap, kUnmap, kDetach, kReset));
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    EXPECT_TRUE(get(admit(), {kNvme}));
}

TEST_F(MediatedTest, a_client_that_hangs_up_in_the_middle_of_a_call_leaves_nothing) {
    for (const int calls : {0, 1, 2, 3}) {
        broker({tenant("a")}, true);
        const auto client = admit();
        int answers = 0;
        const auto done = [&](const Result<Grant>&) { ++answers; };
        if (calls == 0) {
            broker_->get(client, {.mediated = true, .devices = {kEdu}}, done);
        } else {
            ASSERT_TRUE(get(client, {kEdu}));
            const auto mapped = map(client);
            if (calls == 1)
                broker_->map(client, {.part = {.length = 1_MiB}, .iova = {}}, sealed_memory(1_MiB), done);
            if (calls == 2)  // that fails
                broker_->map(client, {.part = {.length = 1_MiB}, .iova = mapped->first.value},
                             sealed_memory(1_MiB), done);
            if (calls == 3) broker_->unmap(client, {.iova = mapped->first.value}, done);
        }
        ASSERT_EQ(waiting_.size(), 1U);
        broker_->release(client);
        EXPECT_EQ(waiting_.size(), 1U) << "the call is not overtaken";
        EXPECT_TRUE(broker_->has_devices_to_retry()) << "its device may turn out to be somebody's";
        work();
        EXPECT_FALSE(broker_->has_devices_to_retry());
        EXPECT_EQ(answers, 0) << calls;
        EXPECT_FALSE(machine_.leaks().any()) << calls << ": " << machine_.leaks().text();
        EXPECT_TRUE(get(admit(), {kEdu})) << calls;
    }
}

TEST_F(MediatedTest,
       a_shared_device_stays_with_the_broker_and_its_clients_are_told_that_they_are_not_isolated) {
    Tenant a = tenant("a");
    a.devices = {};
    a.shared = {kEdu};
    a.descriptors = true;
    broker({a});
    const auto one = admit();
    const auto other = admit();
    ASSERT_TRUE(get(one, {kEdu}));
    const auto grant = get(other, {kEdu}).value();
    EXPECT_TRUE(grant.descriptors.empty());
    EXPECT_THAT(grant.answer.notes, ElementsAre(HasSubstr("2 now: they are not isolated from each other")));
    const auto first = map(one).value();
    const auto second = map(other).value();
    EXPECT_FALSE(first.overlaps(second)) << "it is one address space";
    EXPECT_EQ(unmap(other, first.first), ENOENT) << "but each unmaps its own only";
    kernel_.done.clear();
    broker_->release(one);
    EXPECT_EQ(std::ranges::count(kernel_.done, kUnmap), 1);
    EXPECT_EQ(std::ranges::count(kernel_.done, kDetach), 0) << "the other still has it";
    EXPECT_EQ(map(other, 1_MiB, first.first.value).value(), first) << "what was the first one's is free";
    broker_->release(other);
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    EXPECT_TRUE(get(admit(), {kEdu})) << "and it can begin anew";
}

TEST_F(MediatedTest, a_device_without_a_reset_goes_on_to_others_only_if_nobody_but_the_broker_had_it) {
    Tenant a = tenant("a");
    Tenant b = tenant("b");
    b.peers = {{.user = 4711}};
    for (const bool gives : {false, true}) {
        a.descriptors = gives;
        broker({a, b});
        const auto first = admit();
        ASSERT_TRUE(get(first, {kEdu}));
        broker_->release(first);
        const auto next = get(admit(4711), {kEdu});
        EXPECT_EQ(next.operator bool(), !gives);
        if (!next) EXPECT_THAT(next.error().line(), HasSubstr("EPERM (it can't be reset"));
        EXPECT_FALSE(!next && machine_.leaks().any()) << machine_.leaks().text();
    }
}

TEST_F(MediatedTest, a_mapping_that_takes_longer_than_it_may_ends_between_two_steps_and_leaves_nothing) {
    const auto space = MediatedSpace::open(kernel_, "a").value();
    const sys::Fd memory = sealed_memory(1_MiB);
    const Part part{.offset = 0, .length = 1_MiB, .write = false};
    const auto now = MediatedSpace::Clock::now();
    const auto late = space->map(memory.number(), part, Iova{1_MiB}, now, 64_KiB);
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code(), ETIMEDOUT);
    EXPECT_EQ(std::ranges::count(kernel_.done, kMapFile), 1);
    const auto range = space->map(memory.number(), part, Iova{1_MiB}, now + std::chrono::hours(1), 64_KiB);
    ASSERT_TRUE(range) << range.error().line();
    EXPECT_EQ(range->length(), 1_MiB);
    EXPECT_EQ(std::ranges::count(kernel_.done, kMapFile), 17);
    space->unmap(*range);
}

}  // namespace
}  // namespace iommufd::inline v0_1::broker
