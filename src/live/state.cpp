// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "live/state.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "live/state_check.hpp"

namespace iommufd::inline v0_1::live {
namespace {

constexpr std::string_view kMagic = "IOMMULIV";

class Writer {
public:
    template <class Number>
    void number(const Number& value) {
        for (std::size_t i = 0; i < sizeof value; ++i)
            bytes_.push_back(static_cast<std::byte>(value >> (8 * i)));
    }
    void flag(const bool& value) { bytes_.push_back(static_cast<std::byte>(value)); }
    void text(const std::string& value) {
        if (value.size() > State::kMostText) fits_ = false;
        count(value.size());
        const auto* const start = reinterpret_cast<const std::byte*>(value.data());
        bytes_.insert(bytes_.end(), start, start + value.size());
    }
    void blob(const std::vector<std::byte>& value) {
        count(value.size());
        bytes_.insert(bytes_.end(), value.begin(), value.end());
    }
    template <class Item, class Each>
    void list(const std::vector<Item>& items, std::size_t, Each&& each) {
        count(items.size());
        for (const Item& item : items) each(item);
    }

    bool fits() const noexcept { return fits_; }
    std::vector<std::byte>& bytes() noexcept { return bytes_; }

private:
    void count(std::size_t size) {
        if (size >= State::kNone) fits_ = false;
        number(static_cast<std::uint32_t>(size));
    }

    std::vector<std::byte> bytes_;
    bool fits_ = true;
};

// After the first thing that is wrong it reads nothing but zeros.
class Parser {
public:
    explicit Parser(std::span<const std::byte> bytes) : bytes_(bytes) {}

    template <class Number>
    void number(Number& value) {
        const auto from = take(sizeof value, "a number is cut off");
        value = 0;
        for (std::size_t i = 0; i < from.size(); ++i)
            value |= static_cast<Number>(static_cast<Number>(from[i]) << (8 * i));
    }
    void flag(bool& value) {
        const auto from = take(1, "a flag is cut off");
        value = !from.empty() && from[0] == std::byte{1};
        if (!from.empty() && from[0] > std::byte{1}) fail(at_ - 1, "a flag is neither 0 nor 1");
    }
    void text(std::string& value) {
        const std::size_t start = at_;
        const std::size_t length = count(1, "a text is cut off");
        if (length > State::kMostText) return fail(start, "a text is too long");
        const auto from = take(length, "a text is cut off");
        value.assign(reinterpret_cast<const char*>(from.data()), from.size());
        if (std::ranges::any_of(value, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
            fail(start, "a text has a control character");
    }
    void blob(std::vector<std::byte>& value) {
        const auto from = take(count(1, "bytes are cut off"), "bytes are cut off");
        value.assign(from.begin(), from.end());
    }
    // `least`: the bytes of the smallest item.
    template <class Item, class Each>
    void list(std::vector<Item>& items, std::size_t least, Each&& each) {
        items.resize(count(least, "a list is longer than what follows"));
        for (Item& item : items) {
            each(item);
            if (what_) return;
        }
    }

    void fail(std::size_t where, const char* what) noexcept {
        if (what_) return;
        where_ = where;
        what_ = what;
    }
    std::size_t rest() const noexcept { return bytes_.size() - at_; }
    std::size_t at() const noexcept { return at_; }
    const char* what() const noexcept { return what_; }
    std::size_t where() const noexcept { return where_; }

private:
    std::size_t count(std::size_t least, const char* what) {
        const std::size_t start = at_;
        std::uint32_t value = 0;
        number(value);
        if (what_ || value <= rest() / least) return what_ ? 0 : value;
        fail(start, what);
        return 0;
    }
    std::span<const std::byte> take(std::size_t length, const char* what) {
        if (!what_ && length > rest()) fail(at_, what);
        if (what_) return {};
        const auto taken = bytes_.subspan(at_, length);
        at_ += length;
        return taken;
    }

    const std::span<const std::byte> bytes_;
    std::size_t at_ = 0;
    const char* what_ = nullptr;
    std::size_t where_ = 0;
};

// The one description of the format, for both directions; State is const for the Writer.
template <class Archive, class Space>
void walk_space(Archive& archive, Space& space) {
    archive.text(space.id);
    archive.number(space.ioas);
    archive.flag(space.left_to_the_kernel);
    const auto index = [&](auto& device) { archive.number(device); };
    archive.list(space.devices, 4, index);
    archive.list(space.tables, 10, [&](auto& table) {
        archive.number(table.id);
        archive.flag(table.dirty_tracking);
        archive.flag(table.pasid);
        archive.list(table.devices, 4, index);
    });
    archive.list(space.intervals, 41, [&](auto& interval) {
        archive.number(interval.first);
        archive.number(interval.last);
        archive.number(interval.memory);
        archive.number(interval.offset);
        archive.number(interval.access);
        archive.number(interval.granule);
        archive.flag(interval.owned);
    });
}

template <class Archive, class Whole>
void walk(Archive& archive, Whole& state) {
    archive.text(state.backend);
    archive.list(state.devices, 15, [&](auto& device) {
        archive.text(device.name);
        archive.number(device.id);
        archive.flag(device.translated);
        archive.number(device.dma_bits);
        archive.flag(device.has_request);
        archive.flag(device.has_error);
    });
    archive.list(state.memories, 21, [&](auto& memory) {
        archive.text(memory.label);
        archive.number(memory.length);
        archive.number(memory.file_offset);
        archive.flag(memory.read_only);
    });
    archive.list(state.spaces, 21, [&](auto& space) { walk_space(archive, space); });
    archive.list(state.extras, 12, [&](auto& extra) {
        archive.text(extra.name);
        archive.blob(extra.bytes);
        archive.number(extra.descriptors);
    });
}

Error malformed(std::string cause) {
    return Error::refused(EPROTO, "cannot take over the state", std::move(cause),
                          "hand over between versions of the library that write and read the same");
}

}  // namespace

std::size_t State::descriptors() const noexcept {
    std::size_t count = 1 + memories.size();
    for (const Device& device : devices) count += 1U + device.has_request + device.has_error;
    for (const Extra& extra : extras) count += extra.descriptors;
    return count;
}

Result<std::vector<std::byte>> encode(const State& state) {
    return guarded(Operation::none, [&]() -> Result<std::vector<std::byte>> {
        Writer body;
        walk(body, state);
        if (!body.fits() || state.descriptors() > State::kMostDescriptors)
            return Error::refused(EOVERFLOW, "cannot write down the state",
                                  compose("a name has more than ", State::kMostText,
                                          " bytes, or there are too many of something"),
                                  "use shorter names, or fewer descriptors");
        Writer whole;
        for (const char c : kMagic) whole.bytes().push_back(static_cast<std::byte>(c));
        whole.number(State::kVersion);
        whole.number(static_cast<std::uint64_t>(body.bytes().size()));
        whole.bytes().insert(whole.bytes().end(), body.bytes().begin(), body.bytes().end());
        return std::move(whole.bytes());
    });
}

Result<State> decode(std::span<const std::byte> bytes) {
    return guarded(Operation::none, [&]() -> Result<State> {
        if (bytes.size() < kMagic.size() || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
            return malformed("it does not begin as one");
        Parser parser(bytes.subspan(kMagic.size()));
        const auto broken = [&] {
            return malformed(compose("at byte ", kMagic.size() + parser.where(), ": ", parser.what()));
        };
        std::uint32_t version = 0;
        parser.number(version);
        if (!parser.what() && version != State::kVersion)
            return malformed(
                compose("it is of version ", version, ", and this library reads version ", State::kVersion));
        std::uint64_t length = 0;
        parser.number(length);
        if (parser.what()) return broken();
        if (length != parser.rest())
            return malformed(compose("it has ", parser.rest(), " bytes, and says that it has ", length));
        State state;
        walk(parser, state);
        if (parser.rest() != 0) parser.fail(parser.at(), "there is more than belongs to it");
        if (parser.what()) return broken();
        if (const std::string wrong = inconsistency(state); !wrong.empty()) return malformed(wrong);
        return state;
    });
}

}  // namespace iommufd::inline v0_1::live
