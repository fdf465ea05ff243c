// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/protocol.hpp"

#include <gmock/gmock.h>

#include <cerrno>
#include <cstring>

namespace iommufd::inline v0_1::broker {
namespace {

using ::testing::HasSubstr;

std::string_view body_of(std::string_view message) { return message.substr(sizeof(Header)); }

Result<std::uint32_t> header_of(std::string_view message) {
    std::array<std::byte, sizeof(Header)> header{};
    std::memcpy(header.data(), message.data(), header.size());
    return read_header(header);
}

TEST(Protocol, what_is_written_is_read_again) {
    const std::string request = encode(Request{
        .iommufd = true, .devices = {"0000:02:00.0"}, .vdpa = {"/dev/vhost-vdpa-0"}, .memlock = kUnlimited});
    EXPECT_EQ(header_of(request).value(), request.size() - sizeof(Header));
    const auto read = read_request(body_of(request));
    ASSERT_TRUE(read) << read.error().line();
    EXPECT_TRUE(read->iommufd);
    EXPECT_EQ(read->devices, std::vector<std::string>{"0000:02:00.0"});
    EXPECT_EQ(read->vdpa, std::vector<std::string>{"/dev/vhost-vdpa-0"});
    EXPECT_EQ(read->memlock, kUnlimited);

    const Answer answer{.given = {{GivenKind::iommufd, "iommufd"}, {GivenKind::vfio, "0000:02:00.0"}},
                        .notes = {"a"}};
    const std::string words = encode(answer);
    EXPECT_EQ(read_answer(body_of(words)).value().given, answer.given);
    EXPECT_EQ(read_answer(body_of(words)).value().notes, answer.notes);
}

TEST(Protocol, an_error_arrives_with_its_reason) {
    const std::string words = encode(Error::refused(EACCES, "cannot", "because \xff", "next"));
    const auto read = read_answer(body_of(words));
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code(), EACCES);
    EXPECT_EQ(read.error().what(), "cannot");
    EXPECT_THAT(std::string(read.error().cause()), HasSubstr("because"));
    EXPECT_EQ(read.error().next_step(), "next");
}

TEST(Protocol, another_version_is_told_which_one_is_spoken) {
    std::string words = encode(Request{.iommufd = true});
    words[4] = 2;
    EXPECT_EQ(header_of(words).error().code(), EPROTONOSUPPORT);
    EXPECT_THAT(header_of(words).error().line(), HasSubstr("version 2, and version 1 is spoken here"));
    words[0] = 'X';
    EXPECT_EQ(header_of(words).error().code(), EPROTO);
    Header large{.magic = kMagic, .version = kVersion, .reserved = 0, .length = kMostBytes + 1};
    std::string header(sizeof large, '\0');
    std::memcpy(header.data(), &large, sizeof large);
    EXPECT_EQ(header_of(header).error().code(), EMSGSIZE);
}

TEST(Protocol, what_is_no_request_is_refused_whatever_it_is) {
    for (const char* const body :
         {"", "{", "[]", "{}", "null", "1", R"({"put":{}})", R"({"get":[]})", R"({"get":{"iommufd":1}})",
          R"({"get":{"devices":"a"}})", R"({"get":{"devices":[1]}})", R"({"get":{"devices":["a\u0000b"]}})",
          R"({"get":{"memlock":-1}})", R"({"get":{"memlock":1.5}})", R"({"get":{"more":1}})", "\xff\xfe"})
        EXPECT_EQ(read_request(body).error().code(), EPROTO) << body;
    EXPECT_EQ(read_request(std::string(60000, '[')).error().code(), EPROTO);
    EXPECT_EQ(read_request(R"({"get":{"devices":[")" + std::string(300, 'a') + R"("]}})").error().code(),
              EPROTO);
    std::string many = R"({"get":{"devices":["a")";
    for (std::size_t i = 0; i < kMostGiven; ++i) many += R"(,"a")";
    EXPECT_EQ(read_request(many + "]}}").error().code(), EPROTO);
}

TEST(Protocol, what_is_no_answer_is_refused_whatever_it_is) {
    for (const char* const body :
         {"", "{", "[]", R"({"given":1})", R"({"given":[{}]})", R"({"given":[{"kind":"gold","name":"a"}]})",
          R"({"error":{}})", R"({"error":{"code":0}})", R"({"error":{"code":5000000000}})", R"({"error":1})"})
        EXPECT_EQ(read_answer(body).error().code(), EPROTO) << body;
}

}  // namespace
}  // namespace iommufd::inline v0_1::broker
