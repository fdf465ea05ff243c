// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The bytes of a state: what is written is read again, and nothing else is.
#include "live/state.hpp"

#include <gmock/gmock.h>

#include <cerrno>
#include <functional>
#include <random>

namespace iommufd::live {
namespace {

using ::testing::HasSubstr;

State example() {
    State state;
    state.backend = "iommufd0";
    state.devices = {{.name = "vfio-pci 0000:00:11.0",
                      .id = 1,
                      .translated = true,
                      .dma_bits = 64,
                      .has_request = true,
                      .has_error = true},
                     {.name = "vfio-pci 0000:00:10.0", .id = 4, .translated = true, .dma_bits = 28}};
    state.memories = {{.label = "ram", .length = 1U << 22, .file_offset = 4096, .read_only = false},
                      {.label = "rom", .length = 1U << 16, .file_offset = 0, .read_only = true}};
    state.spaces = {{.id = "dma0",
                     .ioas = 2,
                     .left_to_the_kernel = false,
                     .devices = {1, 0},
                     .tables = {{.id = 3, .dirty_tracking = true, .pasid = false, .devices = {0}}},
                     .intervals = {{.first = 0x1000,
                                    .last = 0x1fff,
                                    .memory = 1,
                                    .offset = 4096,
                                    .access = 1,
                                    .granule = 0,
                                    .owned = true},
                                   {.first = 0x4000000,
                                    .last = 0x40fffff,
                                    .memory = 0,
                                    .offset = 0,
                                    .access = 3,
                                    .granule = 4096,
                                    .owned = false}}},
                    {.id = "plan"}};
    state.extras = {{.name = "nvme0", .bytes = {std::byte{1}, std::byte{2}}, .descriptors = 2}};
    return state;
}

std::string refusal(const State& state) {
    const auto decoded = decode(encode(state).value());
    EXPECT_FALSE(decoded);
    if (decoded) return "taken";
    EXPECT_EQ(decoded.error().code(), EPROTO);
    EXPECT_EQ(decoded.error().line().find('\n'), std::string::npos);
    return decoded.error().line();
}

TEST(State, IsReadAsItWasWritten) {
    const auto bytes = encode(example()).value();
    const auto again = decode(bytes);
    ASSERT_TRUE(again) << again.error().text();
    EXPECT_EQ(again->descriptors(), 9U);
    EXPECT_EQ(again->spaces[0].intervals[1].last, 0x40fffffU);
    EXPECT_EQ(again->devices[1].dma_bits, 28U);
    EXPECT_EQ(encode(*again).value(), bytes);
}

TEST(State, BeginsAsItsDescriptionSays) {
    const auto bytes = encode(State{}).value();
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    EXPECT_EQ(text.substr(0, 20), std::string_view("IOMMULIV\1\0\0\0\x14\0\0\0\0\0\0\0", 20));
    EXPECT_EQ(bytes.size(), 40U);
}

TEST(State, ThatIsCutOffOrLongerIsRefusedInOneLine) {
    const auto bytes = encode(example()).value();
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        const auto refused = decode(std::span(bytes).first(length));
        ASSERT_FALSE(refused) << length;
        EXPECT_EQ(refused.error().code(), EPROTO);
        EXPECT_EQ(refused.error().line().find('\n'), std::string::npos);
    }
    auto longer = bytes;
    longer.push_back({});
    EXPECT_THAT(decode(longer).error().line(), HasSubstr("bytes, and says that it has"));
    longer[12] = static_cast<std::byte>(static_cast<unsigned>(longer[12]) + 1);
    EXPECT_THAT(decode(longer).error().line(), HasSubstr("there is more than belongs to it"));
}

TEST(State, OfAnotherVersionIsRefusedByItsNumber) {
    auto bytes = encode(example()).value();
    bytes[8] = std::byte{2};
    EXPECT_THAT(decode(bytes).error().line(),
                HasSubstr("it is of version 2, and this library reads version 1"));
    bytes[0] = std::byte{'X'};
    EXPECT_THAT(decode(bytes).error().line(), HasSubstr("it does not begin as one"));
}

TEST(State, NumbersOfItemsAreHeldAgainstWhatFollows) {
    auto bytes = encode(example()).value();
    // The number of devices, after magic, version, length and the id.
    for (std::size_t i = 0; i < 4; ++i) bytes[20 + 4 + 8 + i] = std::byte{0xff};
    EXPECT_THAT(decode(bytes).error().line(), HasSubstr("at byte 32: a list is longer than what follows"));
}

TEST(State, ThatDoesNotHoldTogetherIsRefusedByWhatDoesNotFit) {
    const struct {
        std::function<void(State&)> spoil;
        const char* says;
    } cases[] = {
        {[](State& state) { state.backend = "a\nb"; }, "a text has a control character"},
        {[](State& state) { state.devices[0].dma_bits = 0; }, "drives 0 address bits"},
        {[](State& state) { state.devices[0].dma_bits = 65; }, "drives 65 address bits"},
        {[](State& state) { state.devices[0].id = 0; }, "the id of an object is 0"},
        {[](State& state) { state.devices[0].id = 3; }, "two objects have the same id"},
        {[](State& state) { state.spaces[0].tables[0].id = 2; }, "two objects have the same id"},
        {[](State& state) { state.memories[0].length = 0; }, "no size that there can be"},
        {[](State& state) { state.memories[0].file_offset = ~std::uint64_t{0}; },
         "no size that there can be"},
        {[](State& state) { state.spaces[0].devices[0] = 2; }, "there is no such device"},
        {[](State& state) { state.spaces[0].devices[0] = State::kNone; }, "there is no such device"},
        {[](State& state) { state.spaces[0].devices = {0, 0}; }, "a device of it is there twice"},
        {[](State& state) { state.spaces[1] = state.spaces[0]; }, "a device of it is there twice"},
        {[](State& state) { state.spaces[0].ioas = 0; }, "devices without an ioas"},
        {[](State& state) { state.spaces[1].ioas = 9; }, "devices without an ioas"},
        {[](State& state) { state.spaces[0].tables[0].devices.clear(); }, "has no device"},
        {[](State& state) { state.spaces[0].tables[0].devices = {7}; }, "a device of another space"},
        {[](State& state) { state.spaces[1].tables = {{.id = 9, .devices = {0}}}; },
         "a device of another space"},
        {[](State& state) { state.spaces[0].tables.push_back({.id = 9, .devices = {0}}); },
         "two page tables"},
        {[](State& state) { state.spaces[0].intervals[0].last = 0; }, "it ends before it begins"},
        {[](State& state) { state.spaces[0].intervals[0].memory = 2; }, "there is no such memory"},
        {[](State& state) { state.spaces[0].intervals[1].offset = 1U << 22; }, "not within its memory"},
        {[](State& state) { state.spaces[0].intervals[1].offset = 0x300001; }, "not within its memory"},
        {[](State& state) { state.spaces[0].intervals[1].last = ~std::uint64_t{0}; },
         "not within its memory"},
        {[](State& state) { state.spaces[0].intervals[0].access = 0; }, "no access that there is"},
        {[](State& state) { state.spaces[0].intervals[0].access = 4; }, "no access that there is"},
        {[](State& state) { state.spaces[0].intervals[0].access = 2; },
         "it is writable, and its memory is not"},
        {[](State& state) { state.spaces[0].intervals[0].granule = 8192; }, "its granule is larger"},
        {[](State& state) {
             state.spaces[0].intervals[0].first = 0x4000800;
             state.spaces[0].intervals[0].last = 0x4000fff;
         },
         "overlaps what is before it"},
        {[](State& state) { state.extras[0].descriptors = ~0U; }, "too many descriptors"},
        {[](State& state) { state.extras.assign(3, {.name = {}, .bytes = {}, .descriptors = 2000}); },
         "too many descriptors"},
    };
    for (const auto& [spoil, says] : cases) {
        State state = example();
        spoil(state);
        const auto bytes = encode(state);
        if (!bytes) {
            EXPECT_EQ(bytes.error().code(), EOVERFLOW) << says;
            continue;
        }
        EXPECT_THAT(refusal(state), HasSubstr(says));
    }
}

TEST(State, WithATextThatIsTooLongIsNeitherWrittenNorRead) {
    State state = example();
    state.backend.assign(State::kMostText + 1, 'x');
    EXPECT_EQ(encode(state).error().code(), EOVERFLOW);
    state.backend.pop_back();
    auto bytes = encode(state).value();
    ASSERT_TRUE(decode(bytes));
    bytes[20] = std::byte{1};  // 0x1001 bytes
    EXPECT_THAT(decode(bytes).error().line(), HasSubstr("a text is too long"));
}

// Whatever comes: an answer, within bounds (the sanitizers look), and what is taken is written as it came.
TEST(State, OfRandomDamageIsRefusedOrMeansWhatItSays) {
    const auto original = encode(example()).value();
    std::mt19937 random(4711);
    unsigned taken = 0;
    for (unsigned round = 0; round < 200'000; ++round) {
        auto bytes = original;
        for (unsigned changes = 1 + random() % 4; changes > 0; --changes) {
            const std::size_t at = 20 + random() % (bytes.size() - 20);
            switch (random() % 4) {
                case 0:
                    bytes[at] = static_cast<std::byte>(random());
                    break;
                case 1:
                    bytes[at] ^= static_cast<std::byte>(1U << random() % 8);
                    break;
                case 2:
                    bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                 static_cast<std::byte>(random()));
                    break;
                default:
                    if (bytes.size() > 21) bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at));
            }
        }
        const std::uint64_t length = bytes.size() - 20;
        for (std::size_t i = 0; i < 8; ++i) bytes[12 + i] = static_cast<std::byte>(length >> (8 * i));
        const auto decoded = decode(bytes);
        if (!decoded) {
            ASSERT_EQ(decoded.error().code(), EPROTO);
            continue;
        }
        ++taken;
        ASSERT_EQ(encode(*decoded).value(), bytes);
    }
    EXPECT_GT(taken, 1000U);  // names and numbers that may be others
}

}  // namespace
}  // namespace iommufd::live
