// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/session.hpp"

#include "iommufd/dma/space.hpp"
#include "iommufd/vfio/device.hpp"
#include "iommufd/vfio/region.hpp"
#include "monitor/testing.hpp"

namespace iommufd::monitor {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class SessionTest : public MonitorTest {};

TEST_F(SessionTest, GreetsWithItsVersionAndNoCapability) {
    EXPECT_EQ(
        Client(monitor_).greeting,
        R"({"QMP": {"version": {"qemu": {"micro": 3, "minor": 2, "major": 1}, "package": "tested"}, "capabilities": []}})");
}

TEST_F(SessionTest, NegotiatesBeforeItTakesCommands) {
    Client client(monitor_);
    EXPECT_EQ(
        client.say(R"({"execute":"query-version"})"),
        R"({"error": {"class": "CommandNotFound", "desc": "Expecting capabilities negotiation with 'qmp_capabilities'"}})");
    client.negotiated();
    EXPECT_THAT(client.say(R"({"execute":"query-version"})"), StartsWith(R"({"return": {"qemu": )"));
    EXPECT_EQ(
        client.say(R"({"execute":"qmp_capabilities"})"),
        R"({"error": {"class": "CommandNotFound", "desc": "Capabilities negotiation is already complete, command ignored"}})");
}

TEST_F(SessionTest, RefusesToBeOutOfBand) {
    Client client(monitor_);
    EXPECT_EQ(client.say(R"({"execute":"qmp_capabilities","arguments":{"enable":["oob"]}})"),
              R"({"error": {"class": "GenericError", "desc": "Capability oob not available"}})");
    client.negotiated();
    EXPECT_EQ(
        client.say(R"({"exec-oob":"query-version","id":1})"),
        R"({"id": 1, "error": {"class": "GenericError", "desc": "QMP input member 'exec-oob' is unexpected"}})");
}

TEST_F(SessionTest, AnswersInTheOrderOfTheMessagesHoweverTheyAreCutUp) {
    const std::string bytes =
        R"({"execute":"qmp_capabilities","id":1} {"execute":"nosuch","id":"a b"}{"execute":"query-status","id":{}})";
    Client whole(monitor_);
    const std::string answers = whole.say(bytes);
    EXPECT_EQ(answers,
              "{\"return\": {}, \"id\": 1}\r\n"
              "{\"id\": \"a b\", \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command nosuch "
              "has not been found\"}}\r\n"
              "{\"return\": {\"status\": \"running\", \"running\": true}, \"id\": {}}\r\n");
    Client byte_by_byte(monitor_);
    std::string together;
    for (const char byte : bytes) {
        byte_by_byte.session.receive({&byte, 1});
        while (byte_by_byte.session.handle_one()) {
        }
    }
    EXPECT_EQ(byte_by_byte.session.output(), answers);
}

// QEMU's documentation shows these exchanges: getfd, closefd, object-add, object-del, device_add, device_del, qom-list, qom-get,
// query-commands, quit.
TEST_F(SessionTest, TalksAsTheExamplesOfQemusDocumentationDo) {
    Client client(monitor_);
    EXPECT_EQ(client.say(R"({ "execute": "qmp_capabilities", "arguments": { "enable": [ ] } })"),
              R"({"return": {}})");
    EXPECT_EQ(client.say(R"({ "execute": "getfd", "arguments": { "fdname": "fd1" } })",
                         [&] {
                             std::vector<sys::Fd> passed;
                             passed.push_back(open("/dev/iommu"));
                             return passed;
                         }()),
              R"({"return": {}})");
    EXPECT_EQ(client.say(R"({ "execute": "closefd", "arguments": { "fdname": "fd1" } })"),
              R"({"return": {}})");
    EXPECT_EQ(client.say(
                  R"({ "execute": "object-add", "arguments": { "qom-type": "iommufd", "id": "iommufd0" } })"),
              R"({"return": {}})");
    EXPECT_EQ(
        client.say(
            R"({ "execute": "device_add", "arguments": { "driver": "vfio-pci", "id": "net1", "host": "0000:00:10.0", "iommufd": "iommufd0" } })"),
        R"({"return": {}})");
    EXPECT_EQ(
        client.say(R"({ "execute": "qom-list", "arguments": { "path": "/machine/peripheral" } })"),
        R"({"return": [{"name": "type", "type": "string"}, {"name": "net1", "type": "child<vfio-pci>"}]})");
    EXPECT_EQ(
        client.say(
            R"({ "execute": "qom-get", "arguments": { "path": "/machine/peripheral/net1", "property": "iommufd" } })"),
        R"({"return": "/objects/iommufd0"})");
    EXPECT_EQ(client.say(R"({ "execute": "device_del", "arguments": { "id": "/machine/peripheral/net1" } })"),
              "{\"timestamp\": {\"seconds\": 1700000000, \"microseconds\": 42}, \"event\": "
              "\"DEVICE_DELETED\", \"data\": "
              "{\"device\": \"net1\", \"path\": \"/machine/peripheral/net1\"}}\r\n{\"return\": {}}\r\n");
    EXPECT_EQ(client.say(R"({ "execute": "object-del", "arguments": { "id": "iommufd0" } })"),
              R"({"return": {}})");
    EXPECT_EQ(
        client.say(R"({ "execute": "quit" })"),
        "{\"timestamp\": {\"seconds\": 1700000000, \"microseconds\": 42}, \"event\": \"SHUTDOWN\", \"data\": "
        "{\"guest\": false, \"reason\": \"host-qmp-quit\"}}\r\n{\"return\": {}}\r\n");
    EXPECT_EQ(quits_, 1);
}

TEST_F(SessionTest, ADeviceComesAndGoesAndEveryNegotiatedClientIsTold) {
    Client client(monitor_);
    Client other(monitor_);
    Client silent(monitor_);
    client.negotiated();
    other.negotiated();
    create_objects(client);
    create_edu(client);
    EXPECT_THAT(client.say(R"({"execute":"object-del","arguments":{"id":"iommufd0"}})"),
                HasSubstr("object 'iommufd0' is in use, can not be deleted: it is used by dma-space 'dma0' "
                          "and vfio-pci 'edu0'"));
    EXPECT_THAT(client.say(R"({"execute":"device_del","arguments":{"id":"edu0"}})"),
                HasSubstr("DEVICE_DELETED"));
    EXPECT_THAT(other.take(), AllOf(HasSubstr("DEVICE_DELETED"), HasSubstr(R"("device": "edu0")")));
    EXPECT_EQ(silent.take(), "");
    EXPECT_THAT(devices_, ElementsAre("+edu0", "-edu0"));
}

TEST_F(SessionTest, ADeviceThatCannotGoIsWatchedOn) {
    Client client(monitor_);
    client.negotiated();
    create_objects(client);
    create_edu(client);
    const auto held = (*registry_.get<vfio::Device>("edu0"))->region(0).value();
    EXPECT_THAT(client.say(R"({"execute":"device_del","arguments":{"id":"edu0"}})"),
                StartsWith(R"({"error": {"class": "GenericError", "desc": "object 'edu0' is in use)"));
    EXPECT_THAT(devices_, ElementsAre("+edu0", "-edu0", "+edu0"));
}

TEST_F(SessionTest, TellsWhatTheKernelAsksForAndWhatADeviceReports) {
    Client client(monitor_);
    client.negotiated();
    monitor_.tell_unplug_request("edu0");
    EXPECT_EQ(
        client.take(),
        R"({"timestamp": {"seconds": 1700000000, "microseconds": 42}, "event": "DEVICE_UNPLUG_REQUEST", "data": {"device": "edu0", "path": "/machine/peripheral/edu0"}})");
    monitor_.tell_device_error("edu0");
    EXPECT_THAT(client.take(), HasSubstr(R"("event": "DEVICE_ERROR")"));
}

TEST_F(SessionTest, AClientThatDoesNotReadIsBrokenAndNobodyElse) {
    Client lazy(monitor_);
    Client other(monitor_);
    lazy.negotiated();
    other.negotiated();
    for (int i = 0; i < 100'000 && !lazy.session.is_broken(); ++i) {
        monitor_.tell_device_error("edu0");
        (void)other.take();
    }
    EXPECT_TRUE(lazy.session.is_broken());
    EXPECT_LE(lazy.session.output().size(), Session::kMostOutput);
    EXPECT_FALSE(lazy.session.handle_one());
    EXPECT_THAT(other.say(R"({"execute":"query-status"})"), HasSubstr("running"));
}

TEST_F(SessionTest, AnAnswerThatIsTooLongIsRefusedAndTheSessionGoesOn) {
    Client client(monitor_);
    client.negotiated();
    create_objects(client);
    std::vector<dma::Mapping> mappings;
    const auto* const space = registry_.get<dma::Space>("dma0").value();
    const auto* const memory = registry_.get<dma::Memory>("ram").value();
    for (std::uint64_t i = 0; i < 20'000; ++i)
        mappings.push_back(
            space->map(*memory, {.iova = Iova{0x10000000 + i * 4096}, .length = 4096}).value());
    EXPECT_THAT(client.say(R"({"execute":"query-address-spaces","id":7})"),
                AllOf(StartsWith(R"({"id": 7, "error": {"class": "GenericError", "desc": "The answer has )"),
                      HasSubstr("more than a client may be sent")));
    EXPECT_THAT(client.say(R"({"execute":"query-status"})"), HasSubstr("running"));
}

}  // namespace
}  // namespace iommufd::monitor
