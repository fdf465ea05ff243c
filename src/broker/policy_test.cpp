// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/policy.hpp"

#include <gmock/gmock.h>

#include <cerrno>

#include "broker/config.hpp"
#include "broker/protocol.hpp"
#include "broker/testing.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using ::testing::HasSubstr;

TEST(Policy, who_is_in_no_rule_is_refused_and_told_so) {
    const Peer peer = ourselves();
    Policy policy{
        .tenants = {{.name = "other", .peers = {{.user = peer.user + 1}, {.group = peer.group + 1}, {}}}}};
    const auto found = policy.find(peer);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code(), EACCES);
    EXPECT_THAT(found.error().line(), HasSubstr("uid " + std::to_string(peer.user)));
    EXPECT_EQ(Policy{}.find(peer).error().code(), EACCES);
}

TEST(Policy, all_that_a_rule_says_must_hold) {
    const Peer peer = ourselves();
    EXPECT_TRUE(describes({.user = peer.user}, peer, ""));
    EXPECT_TRUE(describes({.user = peer.user, .group = peer.group}, peer, ""));
    EXPECT_FALSE(describes({.user = peer.user, .group = peer.group + 1}, peer, ""));
    EXPECT_TRUE(describes({.user = peer.user, .unit = "a.service"}, peer, "/system.slice/a.service"));
    EXPECT_FALSE(describes({.user = peer.user, .unit = "a.service"}, peer, "/system.slice/b.service"));
    EXPECT_FALSE(describes({}, peer, "/"));
}

TEST(Policy, a_cgroup_stands_for_those_below_it_and_not_for_those_that_begin_alike) {
    const Peer peer = ourselves();
    EXPECT_TRUE(describes({.cgroup = "/machine.slice"}, peer, "/machine.slice"));
    EXPECT_TRUE(describes({.cgroup = "/machine.slice"}, peer, "/machine.slice/a"));
    EXPECT_FALSE(describes({.cgroup = "/machine.slice"}, peer, "/machine.slices"));
    EXPECT_FALSE(describes({.cgroup = "/machine.slice"}, peer, "/"));
    EXPECT_TRUE(describes({.cgroup = "/"}, peer, "/a"));
}

TEST(Config, all_of_it_is_read) {
    const auto config = read_config(
        R"({"socket": "/run/b.sock", "mode": "0660", "kubevirt": {"socket": "/run/k.sock", "mode": "0600"}, "tenants": [
        {"name": "a", "peers": [{"uid": 1000, "unit": "a.service"}, {"gid": 36}, {"cgroup": "/machine.slice"}],
         "iommufd": true, "devices": ["02:00.0"], "vdpa": ["/dev/vhost-vdpa-0"], "trusted": true, "unreset": true,
         "accounting": "user", "memlock": "64G", "quotas": {"clients": 1, "devices": 2, "iommufds": 3}},
        {"name": "b", "peers": [{"uid": 0}], "memlock": "unlimited"}]})");
    ASSERT_TRUE(config) << config.error().line();
    EXPECT_EQ(config->socket.path, "/run/b.sock");
    EXPECT_EQ(config->socket.mode, 0660U);
    EXPECT_EQ(config->kubevirt.path, "/run/k.sock");
    EXPECT_EQ(config->kubevirt.mode, 0600U);
    const Tenant& a = config->policy.tenants.at(0);
    EXPECT_EQ(a.peers.size(), 3U);
    EXPECT_EQ(a.peers[0].user, 1000U);
    EXPECT_EQ(a.peers[0].unit, "a.service");
    EXPECT_EQ(a.devices, std::vector<std::string>{"0000:02:00.0"});
    EXPECT_TRUE(a.iommufd && a.trusted && a.unreset && a.accounted_per_user);
    EXPECT_EQ(a.memlock, std::uint64_t{64} << 30);
    EXPECT_EQ(a.quotas.iommufds, 3U);
    const Tenant& b = config->policy.tenants.at(1);
    EXPECT_EQ(b.memlock, kUnlimited);
    EXPECT_FALSE(b.iommufd || b.trusted || b.unreset || b.accounted_per_user)
        << "what isn't said isn't allowed";
}

TEST(Config, nobody_gets_anything_where_the_list_is_empty) {
    const auto config = read_config(R"({"tenants": []})");
    ASSERT_TRUE(config) << config.error().line();
    EXPECT_EQ(config->policy.find({.user = 0}).error().code(), EACCES);
}

TEST(Config, what_makes_no_sense_is_refused_with_its_place) {
    const auto refused = [](std::string_view text) { return read_config(text).error().line(); };
    EXPECT_THAT(refused("{"), HasSubstr("it is no JSON"));
    EXPECT_THAT(refused("1e900"), HasSubstr("a number that is too large"));
    EXPECT_THAT(refused("[]"), HasSubstr("the configuration is no object"));
    EXPECT_THAT(refused("{}"), HasSubstr("tenants are missing"));
    EXPECT_THAT(refused(R"({"tenants": [{"name": "a", "peers": [{}]}]})"),
                HasSubstr("tenants[0].peers[0] says nothing"));
    EXPECT_THAT(refused(R"({"tenants": [{"name": "a"}]})"), HasSubstr("tenants[0] has no peers"));
    EXPECT_THAT(refused(R"({"tenants": [{"name": "a", "peers": [{"uid": -1}]}]})"),
                HasSubstr("tenants[0].peers[0].uid is no number"));
    EXPECT_THAT(refused(R"({"tenants": [{"name": "a", "peers": [{"uid": 4294967295}]}]})"),
                HasSubstr("uid is no number"));
    EXPECT_THAT(refused(R"({"tenants": [{"name": "a", "peers": [{"user": 1}]}]})"),
                HasSubstr("tenants[0].peers[0] has no 'user': its members are uid, gid, unit and cgroup"));
    EXPECT_THAT(
        refused(
            R"({"tenants": [{"name": "a", "peers": [{"uid": 1}]}, {"name": "a", "peers": [{"uid": 2}]}]})"),
        HasSubstr("the name of another"));
    EXPECT_THAT(refused(R"({"mode": "888"})"), HasSubstr("mode is none"));
    EXPECT_THAT(refused(R"({"kubevirt": {}})"), HasSubstr("kubevirt has no socket"));
    EXPECT_THAT(refused(R"({"kubevirt": {"socket": "/a", "mode": 6}})"),
                HasSubstr("kubevirt.mode is no text"));
}

}  // namespace
}  // namespace iommufd::inline v0_1::broker
