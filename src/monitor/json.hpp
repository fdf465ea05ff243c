// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// JSON as QEMU's monitor has it: integers of 64 bits with or without a sign, the members of an object in the order in which they
// were put in, and written byte for byte as QEMU does, a blank after each comma and colon, nothing but ASCII, the members in the order
// of QEMU's hash table.
//
//     Json::of("id", "dma0", "ioas", 2)      an object
//     Json(Json::Array{})                    an array
//
// Strings hold UTF-8. To destroy it, or to look into it, needs no memory.
//
// Threads: a value.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace iommufd::inline v0_1::monitor {

class Json {
public:
    struct Member;
    using Array = std::vector<Json>;
    using Object = std::vector<Member>;

    Json() noexcept;
    Json(std::same_as<bool> auto value) noexcept;
    Json(std::signed_integral auto value) noexcept;
    Json(std::unsigned_integral auto value) noexcept
        requires(!std::same_as<decltype(value), bool>);
    Json(double value) noexcept;
    Json(std::string value) noexcept;
    Json(std::string_view value);
    Json(const char* value);
    Json(Array value) noexcept;
    Json(Object value) noexcept;
    Json(const std::vector<std::string>& texts);
    Json(const Json& other);
    Json(Json&& other) noexcept;
    Json& operator=(const Json& other);
    Json& operator=(Json&& other) noexcept;
    ~Json();

    // An object: keys and values in turn, no key twice.
    template <class... Parts>
    static Json of(Parts&&... parts);

    // Null, or nothing: it is of another kind.
    const std::string* text() const noexcept { return std::get_if<std::string>(&value_); }
    const bool* boolean() const noexcept { return std::get_if<bool>(&value_); }
    const Array* array() const noexcept { return std::get_if<Array>(&value_); }
    const Object* object() const noexcept { return std::get_if<Object>(&value_); }
    // An integer that isn't negative.
    std::optional<std::uint64_t> natural() const noexcept;

    // Of an object; null: it has no such member.
    const Json* find(std::string_view key) const noexcept;
    // To an object. False: it has one of that key.
    bool add(std::string_view key, Json value);
    // To an array.
    void push_back(Json value);

    // As QEMU writes it, on one line.
    std::string write() const;
    // Of an object, in the order in which it is written.
    std::vector<const Member*> members() const;

private:
    void write_to(std::string& text) const;
    void add_all() {}
    template <class Value, class... Rest>
    void add_all(std::string_view key, Value&& value, Rest&&... rest);

    std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object>
        value_;
};

struct Json::Member {
    std::string key;
    Json value;
};

inline Json::Json() noexcept = default;
inline Json::Json(std::same_as<bool> auto value) noexcept : value_(std::in_place_type<bool>, value) {}
inline Json::Json(std::signed_integral auto value) noexcept
    : value_(std::in_place_type<std::int64_t>, value) {}
inline Json::Json(std::unsigned_integral auto value) noexcept
    requires(!std::same_as<decltype(value), bool>)
    : value_(std::in_place_type<std::uint64_t>, value) {}

template <class... Parts>
Json Json::of(Parts&&... parts) {
    Json object(Object{});
    object.add_all(std::forward<Parts>(parts)...);
    return object;
}

template <class Value, class... Rest>
void Json::add_all(std::string_view key, Value&& value, Rest&&... rest) {
    add(key, Json(std::forward<Value>(value)));
    add_all(std::forward<Rest>(rest)...);
}

}  // namespace iommufd::inline v0_1::monitor
