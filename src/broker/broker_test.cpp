// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/broker.hpp"

#include <gmock/gmock.h>

#include <cerrno>
#include <optional>

#include "broker/testing.hpp"
#include "iommufd/core/context.hpp"
#include "iommufd/core/ioas.hpp"
#include "iommufd/model/machine.hpp"
#include "iommufd/vfio/device.hpp"
#include "sys/faulty_kernel.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using ::testing::HasSubstr;
using Handle = std::shared_ptr<Holder>;

constexpr const char* kEdu = "0000:00:10.0";
constexpr const char* kOther = "0000:00:11.0";

model::Description two_devices() {
    model::Description description =
        model::parse("devices=edu:name=0000:00:10.0,edu:name=0000:00:11.0").value();
    return description;
}

Tenant tenant(std::string name) {
    return {.name = std::move(name),
            .peers = {{.user = ::getuid()}},
            .iommufd = true,
            .devices = {kEdu, kOther},
            .vdpa = {}};
}

class BrokerTest : public ::testing::Test {
protected:
    explicit BrokerTest(const model::Description& description = two_devices()) : machine_(description) {}

    void TearDown() override {
        broker_.reset();
        EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    }

    Broker& broker(std::vector<Tenant> tenants) {
        broker_.emplace(
            Broker::Options{.policy = {.tenants = std::move(tenants)},
                            .kernel = &machine_.kernel(),
                            .journal = [this](const Record& record) { journal_.push_back(record); },
                            .run = {},
                            .iommufd = shared_});
        return *broker_;
    }
    Handle admit() { return broker_->admit(ourselves()); }
    Result<Grant> get(const Handle& client, Request request) {
        std::optional<Result<Grant>> answer;
        broker_->get(client, std::move(request), [&](Result<Grant> granted) { answer = std::move(granted); });
        EXPECT_TRUE(answer);
        return *std::move(answer);
    }
    std::string refusal(const Handle& client, Request request) {
        auto granted = get(client, std::move(request));
        EXPECT_FALSE(granted);
        return granted ? std::string() : granted.error().line();
    }
    // What a client does with what it got.
    core::Context iommufd(const Grant& grant) {
        return core::Context::from(DupFd{grant.descriptors.at(0)},
                                   {.report = {}, .kernel = &machine_.kernel()})
            .value();
    }
    Backend backend(const Grant& grant) {
        return Backend::open({.id = "client",
                              .fd = DupFd{grant.descriptors.at(0)},
                              .report = {},
                              .kernel = &machine_.kernel()})
            .value();
    }
    vfio::Device bind(const Grant& grant, const Backend& to) {
        return vfio::Cdev::from(DupFd{grant.descriptors.at(1)}, {.kernel = &machine_.kernel()})
            .value()
            .bind(to)
            .value();
    }
    const Record& last() { return journal_.back(); }

    model::Machine machine_;
    std::function<Result<int>()> shared_;
    std::optional<Broker> broker_;
    std::vector<Record> journal_;
};

TEST_F(BrokerTest, a_client_gets_an_iommufd_that_is_accounted_to_it_and_a_device_that_binds_to_it) {
    broker({tenant("a")});
    const auto client = admit();
    const auto grant = get(client, {.iommufd = true, .devices = {"00:10.0"}});
    ASSERT_TRUE(grant) << grant.error().line();
    EXPECT_EQ(grant->answer.given,
              (std::vector<Given>{{GivenKind::iommufd, "iommufd"}, {GivenKind::vfio, kEdu}}));
    EXPECT_EQ(iommufd(*grant).rlimit_mode().value(), core::RlimitMode::per_process);
    const Backend its = backend(*grant);
    EXPECT_EQ(bind(*grant, its).id(), DeviceId{1});
    EXPECT_EQ(last().outcome, Outcome::given);
    EXPECT_EQ(last().what, "iommufd,'0000:00:10.0'");
    EXPECT_THAT(last().who, HasSubstr("'a' (uid " + std::to_string(::getuid())));
    broker_->release(client);
    EXPECT_EQ(last().outcome, Outcome::returned);
}

TEST_F(BrokerTest, what_the_policy_does_not_name_is_refused_with_the_reason_and_written_down) {
    Tenant a = tenant("a");
    a.devices = {kEdu};
    a.iommufd = false;
    broker({a});
    const auto client = admit();
    EXPECT_THAT(refusal(client, {.devices = {kOther}}),
                HasSubstr("EACCES (the policy doesn't allow it to 'a')"));
    EXPECT_EQ(last().outcome, Outcome::refused);
    EXPECT_EQ(last().what, "'0000:00:11.0'");
    EXPECT_THAT(last().why, HasSubstr("the policy doesn't allow it"));
    EXPECT_THAT(refusal(client, {.iommufd = true}), HasSubstr("EACCES"));
    EXPECT_THAT(refusal(client, {.vdpa = {"/dev/vhost-vdpa-0"}}), HasSubstr("EACCES"));
    EXPECT_THAT(refusal(client, {.devices = {"../../etc/passwd"}}), HasSubstr("EACCES"));
    EXPECT_THAT(refusal(client, {.memlock = 1}), HasSubstr("EACCES"));
    EXPECT_TRUE(get(client, {.devices = {kEdu}}));
    broker_->release(client);
}

TEST_F(BrokerTest, all_that_is_asked_for_is_given_or_nothing) {
    Tenant a = tenant("a");
    a.devices.emplace_back("0000:00:1f.0");
    broker({a});
    const auto client = admit();
    EXPECT_FALSE(get(client, {.iommufd = true, .devices = {kEdu, "0000:00:1f.0"}})) << "that isn't there";
    EXPECT_FALSE(Broker::has_anything(*client));
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    EXPECT_TRUE(get(admit(), {.devices = {kEdu}})) << "nothing is left of it in the books";
}

TEST_F(BrokerTest, a_device_is_one_clients_until_it_hangs_up) {
    broker({tenant("a")});
    const auto one = admit();
    const auto other = admit();
    ASSERT_TRUE(get(one, {.devices = {kEdu}}));
    EXPECT_THAT(refusal(other, {.devices = {kEdu}}), HasSubstr("EBUSY (another client has it)"));
    EXPECT_TRUE(get(one, {.devices = {kEdu}})) << "it has it already";
    EXPECT_TRUE(get(other, {.devices = {kOther}}));
}

TEST_F(BrokerTest, clients_do_not_share_an_iommufd_and_so_cannot_attach_to_each_others_spaces) {
    broker({tenant("a")});
    const auto victim = admit();
    const auto attacker = admit();
    const auto first = get(victim, {.iommufd = true}).value();
    const auto second = get(attacker, {.iommufd = true, .devices = {kEdu}}).value();
    const auto context = iommufd(first);
    const auto another = core::Ioas::alloc(context).value();
    const auto theirs = core::Ioas::alloc(context).value();
    const Backend mine = backend(second);
    const auto device = bind(second, mine);
    // Ids are small numbers: where there is one iommufd, this one is right.
    const auto attached = device.attach(theirs.id());
    ASSERT_FALSE(attached) << "the attacker's device reaches the victim's memory";
    EXPECT_EQ(attached.error().code(), ENOENT);
}

TEST_F(BrokerTest, clients_that_trust_each_other_share_one_and_are_told) {
    Tenant a = tenant("a");
    a.trusted = true;
    broker({a});
    const auto one = admit();
    const auto other = admit();
    const auto first = get(one, {.iommufd = true}).value();
    const auto second = get(other, {.iommufd = true}).value();
    EXPECT_THAT(second.answer.notes,
                ::testing::ElementsAre(HasSubstr("shared with the tenant's other clients")));
    const auto space = core::Ioas::alloc(iommufd(first)).value();
    EXPECT_EQ(core::Ioas::alloc(iommufd(second)).value().id().value, space.id().value + 1);
    broker_->release(one);
    EXPECT_TRUE(core::Ioas::alloc(iommufd(second)));
}

TEST_F(BrokerTest,
       what_a_client_leaves_in_its_iommufd_and_on_its_device_is_destroyed_though_a_duplicate_lives_on) {
    broker({tenant("a")});
    const auto client = admit();
    const auto grant = get(client, {.iommufd = true, .devices = {kEdu}}).value();
    // Passed on: a duplicate that the broker knows nothing of.
    const auto passed_on = iommufd(grant);
    const Backend its = backend(grant);
    auto device = bind(grant, its);
    auto space = core::Ioas::alloc(passed_on).value();
    ASSERT_TRUE(device.attach(space.id()));
    const std::size_t before = machine_.leaks().objects;
    broker_->release(client);
    EXPECT_EQ(core::Ioas::alloc(passed_on).value().id(), space.id()) << "the lowest id is free again";
    EXPECT_LT(machine_.leaks().objects, before);
    (void)std::move(space).destroy();
}

TEST_F(BrokerTest, what_a_client_leaves_behind_thousands_of_unused_ids_is_destroyed_as_well) {
    broker({tenant("a")});
    const auto client = admit();
    const auto grant = get(client, {.iommufd = true, .devices = {kEdu}}).value();
    const auto passed_on = iommufd(grant);
    {
        std::vector<core::Ioas> first;
        for (int i = 0; i < 5000; ++i) first.push_back(core::Ioas::alloc(passed_on).value());
        auto left = core::Ioas::alloc(passed_on).value();
        first.clear();
        broker_->release(client);
        EXPECT_FALSE(std::move(left).destroy()) << "it is gone";
    }
    EXPECT_EQ(machine_.leaks().objects, 0U);
}

TEST_F(BrokerTest, a_device_that_was_passed_on_is_given_to_nobody_until_a_bind_works_again) {
    Tenant a = tenant("a");
    a.unreset = true;
    broker({a});
    const auto client = admit();
    const auto grant = get(client, {.iommufd = true, .devices = {kEdu}}).value();
    const Backend its = backend(grant);
    std::optional<vfio::Device> passed_on(bind(grant, its));
    broker_->release(client);
    EXPECT_TRUE(broker_->has_devices_to_retry());
    const auto next = admit();
    EXPECT_FALSE(get(next, {.devices = {kEdu}})) << "somebody else drives it";
    passed_on.reset();
    broker_->retry_devices();
    EXPECT_FALSE(broker_->has_devices_to_retry());
    EXPECT_TRUE(get(next, {.devices = {kEdu}}));
}

TEST_F(BrokerTest, a_device_that_cannot_be_reset_goes_to_no_second_client_unless_the_policy_says_so) {
    broker({tenant("a")});
    const auto first = admit();
    ASSERT_TRUE(get(first, {.devices = {kEdu}}));
    broker_->release(first);
    EXPECT_THAT(refusal(admit(), {.devices = {kEdu}}), HasSubstr("EPERM (it can't be reset"));

    for (const bool trusted : {true, false}) {
        Tenant allowed = tenant("a");
        (trusted ? allowed.trusted : allowed.unreset) = true;
        broker({allowed});
        const auto one = admit();
        ASSERT_TRUE(get(one, {.devices = {kEdu}}));
        broker_->release(one);
        EXPECT_TRUE(get(admit(), {.devices = {kEdu}}));
    }
}

TEST_F(BrokerTest, quotas_are_looked_at_before_anything_is_opened) {
    Tenant a = tenant("a");
    a.quotas = {.clients = 2, .devices = 1, .iommufds = 1};
    broker({a});
    const auto one = admit();
    const auto two = admit();
    ASSERT_TRUE(get(one, {.iommufd = true, .devices = {kEdu}}));
    EXPECT_THAT(refusal(two, {.devices = {kOther}}), HasSubstr("EDQUOT ('a' has its 1 devices)"));
    EXPECT_THAT(refusal(two, {.iommufd = true}), HasSubstr("EDQUOT ('a' has its 1 iommufds)"));
    EXPECT_FALSE(Broker::has_anything(*two));
    EXPECT_TRUE(get(one, {.iommufd = true, .devices = {kEdu}})) << "nothing more is asked for";
    broker_->release(one);
    ASSERT_TRUE(get(two, {.iommufd = true}));
    a.quotas = {.clients = 1, .devices = 1, .iommufds = 2};
    broker({a});
    const auto first = admit();
    ASSERT_TRUE(get(first, {.iommufd = true}));
    EXPECT_THAT(refusal(admit(), {.iommufd = true}), HasSubstr("EDQUOT ('a' has its 1 clients)"));
}

TEST_F(BrokerTest, whose_number_another_process_has_by_now_gets_nothing_that_the_other_could_have) {
    broker({tenant("a")});
    const auto client = broker_->admit(reused());
    EXPECT_THAT(refusal(client, {.iommufd = true, .devices = {kEdu}}), HasSubstr("ESRCH"));
    EXPECT_FALSE(Broker::has_anything(*client));
    EXPECT_TRUE(get(admit(), {.devices = {kEdu}})) << "what was opened for it is free";
}

TEST_F(BrokerTest, a_client_that_has_ended_gets_nothing_and_what_was_opened_for_it_is_closed) {
    std::vector<std::pair<Broker::Work, Broker::Work>> waiting;
    broker_.emplace(Broker::Options{
        .policy = {.tenants = {tenant("a")}},
        .kernel = &machine_.kernel(),
        .journal = {},
        .run = [&](Broker::Work work,
                   Broker::Work then) { waiting.emplace_back(std::move(work), std::move(then)); },
        .iommufd = {}});
    const auto client = admit();
    bool answered = false;
    broker_->get(client, {.iommufd = true, .devices = {kEdu}},
                 [&](const Result<Grant>&) { answered = true; });
    waiting.front().first();
    broker_->release(client);
    waiting.front().second();
    waiting.clear();
    EXPECT_FALSE(answered);
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

// A machine on which devices are plugged anew, each time with the same name and file.
class ReplugKernel final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;
    int stat(const char* path, sys::FileStatus& status) override {
        const int result = FaultyKernel::stat(path, status);
        if (std::string_view(path).find("/vfio-dev/") != std::string_view::npos)
            status.inode += 1000 * times_plugged;
        return result;
    }
    int open(const char* path, int flags) override {
        if (std::string_view(path) == "/dev/iommu") ++trials;  // each has an iommufd of its own
        return FaultyKernel::open(path, flags);
    }

    ino_t times_plugged = 0;
    int trials = 0;
};

TEST_F(BrokerTest, a_device_is_tried_before_it_is_given_unless_it_is_the_one_that_was_tried) {
    ReplugKernel kernel(machine_.kernel());
    Tenant a = tenant("a");
    a.unreset = true;
    broker_.emplace(Broker::Options{
        .policy = {.tenants = {a}}, .kernel = &kernel, .journal = {}, .run = {}, .iommufd = {}});
    const auto give_and_return = [&] {
        const int before = kernel.trials;
        const auto client = admit();
        EXPECT_TRUE(get(client, {.devices = {kEdu}}));
        const int trials = kernel.trials - before;
        broker_->release(client);
        return trials;
    };
    EXPECT_EQ(give_and_return(), 1) << "who had it before, nobody knows";
    EXPECT_EQ(give_and_return(), 0) << "it was tried when it came back";
    ++kernel.times_plugged;
    EXPECT_EQ(give_and_return(), 1);
    EXPECT_EQ(give_and_return(), 0);
}

class BrokerOfOneIommufd : public BrokerTest {
protected:
    BrokerOfOneIommufd() {
        shared_ = [this]() -> Result<int> { return ours_->fd(); };
    }
    void TearDown() override {
        broker_.reset();
        ours_.reset();
        BrokerTest::TearDown();
    }

    std::optional<core::Context> ours_ =
        core::Context::open({.report = {}, .kernel = &machine_.kernel()}).value();
};

// Shows why contexts aren't shared: with a device of that iommufd any address space in it can be had, whoever made it.
TEST_F(BrokerOfOneIommufd, whoever_has_a_device_reaches_every_space_and_so_only_who_is_trusted_gets_either) {
    broker({tenant("a")});
    for (const Request& request : {Request{.iommufd = true}, Request{.devices = {kEdu}}})
        EXPECT_THAT(refusal(admit(), request),
                    HasSubstr("EPERM (whoever has the iommufd, or a device, reaches every address space"));
    Tenant trusted = tenant("a");
    trusted.trusted = true;
    broker({trusted});
    const auto client = admit();
    const auto grant = get(client, {.iommufd = true, .devices = {kEdu}}).value();
    EXPECT_EQ(grant.descriptors.front(), ours_->fd());
    const auto of_the_owner = core::Ioas::alloc(*ours_).value();
    const Backend its = backend(grant);
    EXPECT_TRUE(bind(grant, its).attach(of_the_owner.id()));
    broker_->release(client);
    EXPECT_NE(core::Ioas::alloc(*ours_).value().id(), of_the_owner.id())
        << "what is ours stays when a client leaves";
}

TEST_F(BrokerOfOneIommufd, clients_of_two_tenants_do_not_get_it_at_once_though_each_trusts_its_own) {
    Tenant a = tenant("a");
    a.trusted = true;
    a.peers = {{.user = ::getuid()}};
    Tenant b = a;
    b.name = "b";
    b.peers = {{.user = ::getuid() + 1}};
    broker({a, b});
    const auto one = admit();
    Peer stranger = ourselves();
    stranger.user = ::getuid() + 1;
    const auto other = broker_->admit(std::move(stranger));
    ASSERT_TRUE(get(one, {.iommufd = true}));
    ASSERT_TRUE(get(admit(), {.iommufd = true, .devices = {kEdu}}));
    EXPECT_THAT(refusal(other, {.iommufd = true}), HasSubstr("EPERM (a client of 'a' has the iommufd"));
    EXPECT_THAT(refusal(other, {.devices = {kOther}}), HasSubstr("EPERM (a client of 'a' has the iommufd"));
}

class BrokerOfVdpa : public BrokerTest {
protected:
    BrokerOfVdpa() : BrokerTest(model::parse("devices=vdpa-blk").value()) {}
    static constexpr unsigned long kSetOwner = 0xaf01;
    static constexpr const char* kNode = "/dev/vhost-vdpa-0";
};

TEST_F(BrokerOfVdpa, a_node_comes_without_an_owner_which_the_client_becomes_each_time_anew) {
    Tenant a = tenant("a");
    a.vdpa = {kNode};
    broker({a});
    for (int i = 0; i < 2; ++i) {
        const auto client = admit();
        const auto grant = get(client, {.vdpa = {kNode}});
        ASSERT_TRUE(grant) << grant.error().line();
        EXPECT_EQ(grant->answer.given, (std::vector<Given>{{GivenKind::vdpa, kNode}}));
        EXPECT_THAT(refusal(admit(), {.vdpa = {kNode}}), HasSubstr("EBUSY (another client has it)"));
        EXPECT_EQ(machine_.kernel().ioctl(grant->descriptors[0], kSetOwner, nullptr), 0);
        EXPECT_EQ(machine_.kernel().ioctl(grant->descriptors[0], kSetOwner, nullptr), -EBUSY);
        broker_->release(client);
    }
}

TEST_F(BrokerOfVdpa, a_node_that_was_passed_on_is_given_to_nobody_until_it_is_closed) {
    Tenant a = tenant("a");
    a.vdpa = {kNode};
    broker({a});
    const auto client = admit();
    sys::Fd passed_on(machine_.kernel(),
                      machine_.kernel().dup(get(client, {.vdpa = {kNode}}).value().descriptors[0]));
    broker_->release(client);
    EXPECT_THAT(refusal(admit(), {.vdpa = {kNode}}), HasSubstr("EBUSY"));
    (void)passed_on.close();
    EXPECT_TRUE(get(admit(), {.vdpa = {kNode}}));
}

class BrokerWithoutRights : public BrokerTest {
protected:
    BrokerWithoutRights() : BrokerTest(model::parse("devices=edu,sys-resource=off").value()) {}
};

TEST_F(BrokerWithoutRights, an_iommufd_that_its_user_is_charged_for_is_given_only_where_the_policy_says_so) {
    broker({tenant("a")});
    EXPECT_THAT(refusal(admit(), {.iommufd = true}), HasSubstr("EPERM (without CAP_SYS_RESOURCE"));
    Tenant a = tenant("a");
    a.accounted_per_user = true;
    broker({a});
    EXPECT_TRUE(get(admit(), {.iommufd = true}));
}

}  // namespace
}  // namespace iommufd::inline v0_1::broker
