// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "error/compose.hpp"

namespace iommufd::monitor {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

// The values as they are written, and refusals with an exclamation mark.
std::vector<std::string> read(std::string_view bytes, const Reader::Limits& limits = {}) {
    Reader reader(limits);
    std::vector<std::string> values;
    reader.feed(bytes, [&](const Reader::Value& value) {
        values.push_back(value ? value->write() : compose("! ", value.error()));
    });
    return values;
}

TEST(Reader, TakesValuesOneAfterAnother) {
    EXPECT_THAT(read("{}{'a':[1,-2,3.5]} true\nnull \"x\"[]"),
                ElementsAre("{}", R"({"a": [1, -2, 3.5]})", "true", "null", R"("x")", "[]"));
}

TEST(Reader, KeepsIntegersOf64BitsAndRoundsLargerOnes) {
    EXPECT_THAT(read("[-9223372036854775808,18446744073709551615,18446744073709551616,-0,1e400]"),
                ElementsAre("[-9223372036854775808, 18446744073709551615, 1.8446744073709552e+19, 0, inf]"));
}

TEST(Reader, WritesMembersInTheOrderOfQemusTable) {
    EXPECT_THAT(read(R"({"id":1,"error":2,"return":3,"event":4,"timestamp":5,"data":6})"),
                ElementsAre(R"({"timestamp": 5, "event": 4, "return": 3, "id": 1, "error": 2, "data": 6})"));
    // Of one bucket the last one comes first.
    EXPECT_THAT(read(R"({"bar":1,"baz":2})"), ElementsAre(R"({"baz": 2, "bar": 1})"));
    EXPECT_THAT(read(R"({"baz":1,"bar":2})"), ElementsAre(R"({"bar": 2, "baz": 1})"));
}

TEST(Reader, DecodesStringsAndWritesThemInAscii) {
    EXPECT_THAT(read("'\\\"\\'\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\xc3\xa9\x7f'"),
                ElementsAre(R"("\"'\\/\b\f\n\r\t\u00E9\uD83D\uDE00\u00E9\u007F")"));
    for (const char* const wrong :
         {"\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xef\xbf\xbf", "\xc0\x81", "\x80"})
        EXPECT_THAT(read(compose("'", wrong, "'")),
                    ElementsAre("! JSON parse error, invalid UTF-8 sequence in string"));
}

TEST(Reader, GoesOnAfterWhatIsNoJson) {
    EXPECT_THAT(read("A B C {} ; 1\n[]"),
                ElementsAre("! JSON parse error, stray 'A'", "{}", "! JSON parse error, stray ';'", "[]"));
    EXPECT_THAT(read("A\t1 2\r3 "), ElementsAre("! JSON parse error, stray 'A'", "3"));
    EXPECT_THAT(read("{'a':1,'a':2}[]"), ElementsAre("! JSON parse error, duplicate key", "[]"));
}

TEST(Reader, RefusesWhatIsTooDeepTooLongOrOfTooManyTokensAndGoesOn) {
    const Reader::Limits limits{.bytes = 20, .tokens = 8, .depth = 3};
    EXPECT_THAT(read("[[[]]]", limits), ElementsAre("[[[]]]"));
    EXPECT_THAT(read("[[[[", limits), ElementsAre("! JSON nesting depth limit exceeded"));
    EXPECT_THAT(read("[1,2,3]", limits), ElementsAre("[1, 2, 3]"));
    EXPECT_THAT(read("[1,2,3,", limits), ElementsAre());
    EXPECT_THAT(read("[1,2,3,4", limits), ElementsAre());
    EXPECT_THAT(read("[1,2,3,4]true ", limits), ElementsAre("! JSON token count limit exceeded", "true"));
    EXPECT_THAT(read("'01234567890123456'", limits), ElementsAre("\"01234567890123456\""));
    EXPECT_THAT(read("'0123456789012345678", limits), ElementsAre());
    EXPECT_THAT(read("'01234567890123456789", limits), ElementsAre("! JSON token size limit exceeded"));
    EXPECT_THAT(read("['0123456789','0123456789']", limits)[0], "! JSON token size limit exceeded");
    EXPECT_THAT(read(std::string(2000, '['))[0], "! JSON nesting depth limit exceeded");
}

TEST(Reader, ReadsTheSameHoweverTheBytesAreCutUp) {
    const std::string bytes = "{'a':[1,2.5e3,{'b':null}]}x;[\"\\u00e9\"]-]01 true";
    const auto whole = read(bytes);
    Reader reader;
    std::vector<std::string> values;
    for (const char byte : bytes)
        reader.feed({&byte, 1}, [&](const Reader::Value& value) {
            values.push_back(value ? value->write() : compose("! ", value.error()));
        });
    EXPECT_THAT(values, ElementsAreArray(whole));
}

}  // namespace
}  // namespace iommufd::monitor
