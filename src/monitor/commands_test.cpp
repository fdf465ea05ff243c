// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What commands show of objects.
#include "monitor/commands.hpp"
#include "error/compose.hpp"
#include "iommufd/dma/space.hpp"
#include "monitor/testing.hpp"

namespace iommufd::monitor {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class CommandsTest : public MonitorTest {
protected:
    CommandsTest() {
        client_.negotiated();
        create_objects(client_);
    }
    void TearDown() override {
        held_.reset();
        MonitorTest::TearDown();
    }

    // What a command returns, or its error.
    std::string ask(std::string_view command, std::string_view arguments = "{}") {
        std::string line =
            client_.say(compose(R"({"execute":")", command, R"(","arguments":)", arguments, "}"));
        constexpr std::string_view kReturn = "{\"return\": ";
        if (line.starts_with(kReturn)) return line.substr(kReturn.size(), line.size() - kReturn.size() - 1);
        return line;
    }
    std::string get(std::string_view path, std::string_view property) {
        return ask("qom-get", compose(R"({"path":")", path, R"(","property":")", property, R"("})"));
    }

    std::optional<Client> held_{std::in_place, monitor_};
    Client& client_ = *held_;
};

TEST_F(CommandsTest, TheSchemaHasEachCommandOnceAndEveryTypeThatItNames) {
    const std::string schema = ask("query-qmp-schema");
    const auto count = [&](std::string_view part) {
        std::size_t found = 0;
        for (std::size_t at = schema.find(part); at != std::string::npos; at = schema.find(part, at + 1))
            ++found;
        return found;
    };
    for (const Command& command : commands())
        EXPECT_EQ(
            count(compose(R"("meta-type": "command", "ret-type": "any", "name": ")", command.name, "\"")) +
                count(compose(R"({"name": ")", command.name,
                              R"(", "ret-type": "any", "meta-type": "command")")),
            1U)
            << command.name << " in " << schema;
    for (const std::string_view key : {R"("arg-type": ")", R"("type": ")", R"("element-type": ")"})
        for (std::size_t at = schema.find(key); at != std::string::npos; at = schema.find(key, at + 1)) {
            const std::size_t begin = at + key.size();
            const std::string name = schema.substr(begin, schema.find('"', begin) - begin);
            EXPECT_NE(schema.find(compose(R"("name": ")", name, "\"")), std::string::npos) << name;
        }
    EXPECT_THAT(schema, HasSubstr("dma-mapping"));
    EXPECT_THAT(schema, HasSubstr("\"tag\": \"qom-type\""));
}

TEST_F(CommandsTest, PropertiesAreReadInTheKindThatTheyHave) {
    EXPECT_EQ(get("/objects/ram", "size"), "1048576");
    EXPECT_EQ(get("ram", "share"), "true");
    EXPECT_EQ(get("ram", "policy"), R"("default")");
    EXPECT_EQ(get("map0", "iova"), "67108864");
    EXPECT_EQ(get("map0", "state"), R"("planned")");
    EXPECT_EQ(get("map0", "space"), R"("/objects/dma0")");
    EXPECT_EQ(get("map0", "type"), R"("dma-mapping")");
    EXPECT_EQ(get("iommufd0", "open"), "false");
    EXPECT_EQ(get("/machine", "peripheral"), R"("/machine/peripheral")");
    EXPECT_EQ(
        ask("object-add",
            R"({"qom-type":"memory-backend-ram","id":"n","size":4096,"host-nodes":[0],"policy":"preferred"})"),
        "{}");
    EXPECT_EQ(get("n", "host-nodes"), "[0]");
    EXPECT_THAT(get("dma0", "ioas"), HasSubstr("it has no value now"));
    create_edu(client_);
    EXPECT_EQ(get("map0", "state"), R"("mapped")");
    EXPECT_EQ(get("iommufd0", "users"), R"("vfio-pci 0000:00:10.0")");
}

TEST_F(CommandsTest, SecretsAndDescriptorsAreNotReadable) {
    create_edu(client_);
    EXPECT_THAT(get("edu0", "vf-token"), HasSubstr("Property 'vfio-pci.vf-token' is not readable"));
    EXPECT_THAT(get("edu0", "fd"), HasSubstr("Property 'vfio-pci.fd' is not readable"));
    EXPECT_THAT(get("iommufd0", "fd"), HasSubstr("Property 'iommufd.fd' is not readable"));
}

TEST_F(CommandsTest, APathIsFoundByAnyUniquePartOfIt) {
    const std::string whole = ask("qom-list", R"({"path":"/objects/map0"})");
    EXPECT_THAT(whole, HasSubstr(R"({"name": "memdev", "type": "link<memory-backend>"})"));
    for (const char* const path : {"map0", "objects/map0", "//objects//map0/"})
        EXPECT_EQ(ask("qom-list", compose(R"({"path":")", path, R"("})")), whole) << path;
    EXPECT_THAT(ask("qom-list", R"({"path":"/map0"})"), HasSubstr("DeviceNotFound"));
    EXPECT_THAT(ask("qom-list", R"({"path":""})"), HasSubstr("Path '' is ambiguous"));
}

TEST_F(CommandsTest, TypesAreListedWithWhatTheyStandOn) {
    EXPECT_EQ(ask("qom-list-types", R"({"implements":"device"})"),
              R"([{"name": "vfio-pci", "parent": "device"}, {"name": "vhost-vdpa", "parent": "device"}])");
    EXPECT_THAT(ask("qom-list-types", R"({"implements":"memory-backend","abstract":true})"),
                AllOf(HasSubstr(R"({"abstract": true, "name": "memory-backend", "parent": "object"})"),
                      HasSubstr(R"({"name": "memory-backend-memfd", "parent": "memory-backend"})")));
    EXPECT_THAT(ask("qom-list-types", R"({"implements":"user-creatable"})"),
                AllOf(HasSubstr(R"("iommufd")"), Not(HasSubstr("vfio-pci"))));
    EXPECT_THAT(ask("device-list-properties", R"({"typename":"vhost-vdpa"})"),
                AllOf(HasSubstr(R"("default-value": 0, "name": "asid")"), Not(HasSubstr("uses-addresses"))));
    EXPECT_THAT(ask("qom-list-properties", R"({"typename":"dma-space"})"),
                HasSubstr(R"({"name": "type", "type": "string"}, {"name": "iommufd", "description": )"));
}

TEST_F(CommandsTest, SpacesIommufdsAndDevicesAreShownAsTheyAreNow) {
    EXPECT_THAT(ask("query-iommufd"),
                AllOf(HasSubstr(R"("open": false)"), HasSubstr(R"("used-by": ["dma0"])"),
                      Not(HasSubstr("accounting"))));
    EXPECT_THAT(ask("query-address-spaces"),
                AllOf(HasSubstr(R"("state": "planned")"), Not(HasSubstr("\"ioas\""))));
    create_edu(client_);
    EXPECT_EQ(ask("device_add",
                  R"({"driver":"vhost-vdpa","id":"blk0","vhostdev":"/dev/vhost-vdpa-0","space":"dma0"})"),
              "{}");
    EXPECT_THAT(ask("query-iommufd"),
                AllOf(HasSubstr(R"("open": true)"), HasSubstr(R"("accounting": "none")"),
                      HasSubstr("\"IOMMU_IOAS_MAP\""), HasSubstr(R"("owner": "object")"),
                      HasSubstr(R"("users": ["vfio-pci 0000:00:10.0"])")));
    EXPECT_THAT(
        ask("query-address-spaces", R"({"id":"dma0"})"),
        AllOf(
            HasSubstr(R"("pinned-bytes": 1048576)"), HasSubstr(R"("size": 1048576, "iova": 67108864)"),
            HasSubstr(
                R"("reachable": [{"last": 4276092927, "first": 0}, {"last": 281474976710655, "first": 4277141504}])"),
            HasSubstr(R"("used-by": ["map0", "edu0", "blk0"])")));
    EXPECT_THAT(ask("query-address-spaces", R"({"id":"nosuch"})"), HasSubstr("DeviceNotFound"));
    EXPECT_THAT(ask("query-devices"), AllOf(HasSubstr(R"("id": "edu0")"), HasSubstr(R"("translated": true)"),
                                            HasSubstr(R"("virtio-id": 2)")));
}

TEST_F(CommandsTest, ADirtyLogRunsFromStartToStopAndKeepsItsSpace) {
    EXPECT_THAT(ask("dirty-log-sync", R"({"id":"dma0"})"), HasSubstr("no dirty log runs on 'dma0'"));
    EXPECT_THAT(ask("dirty-log-start", R"({"id":"ram"})"), HasSubstr("not of the kind that is asked for"));
    EXPECT_THAT(ask("dirty-log-start", R"({"id":"dma0","from":"hearsay"})"),
                HasSubstr("Parameter 'from' does not accept value 'hearsay'"));
    create_edu(client_);
    EXPECT_THAT(ask("dirty-log-start", R"({"id":"dma0","from":"devices"})"), HasSubstr("EOPNOTSUPP"));
    EXPECT_THAT(ask("dirty-log-start", R"({"id":"dma0"})"),
                HasSubstr(R"({"from": "everything", "why": "vfio-pci 0000:00:10.0 has no log)"));
    EXPECT_THAT(ask("dirty-log-start", R"({"id":"dma0"})"), HasSubstr("EBUSY"));
    EXPECT_THAT(ask("object-del", R"({"id":"dma0"})"), HasSubstr("its dirty log runs"));
    EXPECT_THAT(ask("dirty-log-sync", R"({"id":"dma0","iova":67112960,"size":8192})"),
                HasSubstr(R"("runs": [{"size": 8192, "iova": 67112960}])"));
    EXPECT_THAT(ask("dirty-log-sync", R"({"id":"dma0","iova":4096,"size":18446744073709551615})"),
                HasSubstr("none past 2^64"));
    EXPECT_EQ(ask("dirty-log-stop", R"({"id":"dma0"})"), "{}");
    EXPECT_THAT(ask("dirty-log-stop", R"({"id":"dma0"})"), HasSubstr("no dirty log runs"));
}

TEST_F(CommandsTest, MoreDirtyRunsThanAnAnswerHoldsAreJoinedAndNoneIsLost) {
    EXPECT_EQ(ask("object-add", R"({"qom-type":"memory-backend-memfd","id":"large","size":268435456})"),
              "{}");
    EXPECT_EQ(
        ask("object-add",
            R"({"qom-type":"dma-mapping","id":"map1","space":"dma0","memdev":"large","iova":1073741824})"),
        "{}");
    EXPECT_THAT(ask("dirty-log-start", R"({"id":"dma0"})"), HasSubstr(R"("from": "nowhere")"));
    {
        auto reader = registry_.get<dma::Space>("dma0").value()->reader();
        const auto guard = reader.enter();
        // Every other page of one half, every fourth of the other.
        for (std::uint64_t page = 0; page < 65536; page += page < 32768 ? 2 : 4)
            ASSERT_TRUE(guard.translate(Iova{0x40000000 + page * 4096}, 8, Access::write).data());
    }
    const std::string told = ask("dirty-log-sync", R"({"id":"dma0"})");
    // The first half, and the page after it, is one run now; the rest is as it was.
    EXPECT_THAT(
        told,
        HasSubstr(
            R"("runs": [{"size": 134221824, "iova": 1073741824}, {"size": 4096, "iova": 1207975936}, )"));
    EXPECT_THAT(told, HasSubstr(compose(R"({"size": 4096, "iova": )", 0x40000000 + 65532 * 4096ULL, "}]")));
    EXPECT_THAT(ask("dirty-log-sync", R"({"id":"dma0"})"), HasSubstr(R"("runs": [])"));
}

}  // namespace
}  // namespace iommufd::monitor
