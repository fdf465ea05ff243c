// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The JSON form of a definition: one flat object. Read event by event, since a tree would lose the order of
// the keys, and that one was there twice.
#include <cerrno>
#include <nlohmann/json.hpp>

#include "error/compose.hpp"
#include "object/grammar.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::object {
namespace {

// Each event's answer says whether to read on.
class Reader final : public nlohmann::json_sax<nlohmann::json> {
public:
    explicit Reader(std::string_view what) : what_(what) {}

    bool null() override {
        return refuse(compose(quote(key_), " is null"), "give it a value, or leave it out");
    }
    bool boolean(bool value) override { return take(value ? "true" : "false", false); }
    bool number_integer(number_integer_t value) override { return take(compose(value), false); }
    bool number_unsigned(number_unsigned_t value) override { return take(compose(value), false); }
    bool number_float(number_float_t, const string_t& text) override { return take(text, false); }
    bool string(string_t& value) override { return take(std::move(value), true); }
    bool binary(binary_t&) override { return refuse("it is binary", "write text"); }

    bool key(string_t& key) override {
        key_ = std::move(key);
        return true;
    }
    bool start_object(std::size_t) override {
        return depth_++ == 0 || refuse(compose(quote(key_), " is an object"), "give it a plain value");
    }
    bool end_object() override { return true; }
    // Of plain values: one property for each.
    bool start_array(std::size_t) override {
        return !std::exchange(in_array_, true) ||
               refuse(compose(quote(key_), " is an array of arrays"), "give it an array of plain values");
    }
    bool end_array() override {
        in_array_ = false;
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
        return refuse(compose("it is no JSON from byte ", position, " on"),
                      R"(write {"key": "value", ...}, and mind what the shell does to quotes)");
    }

    Result<std::vector<Pair>> result() && {
        if (error_) return *error_;
        return std::move(pairs_);
    }

private:
    bool take(std::string value, bool is_text) {
        pairs_.push_back({.key = key_, .value = std::move(value), .is_text = is_text});
        return true;
    }
    bool refuse(std::string cause, std::string next_step) {
        error_ = Error::refused(EINVAL, std::string(what_), std::move(cause), std::move(next_step));
        return false;
    }

    const std::string_view what_;
    std::string key_;
    std::size_t depth_ = 0;
    bool in_array_ = false;
    std::vector<Pair> pairs_;
    std::optional<Error> error_;
};

}  // namespace

Result<std::vector<Pair>> read_json(std::string_view text, std::string_view what) {
    Reader reader(what);
    (void)nlohmann::json::sax_parse(text, &reader);
    return std::move(reader).result();
}

}  // namespace iommufd::inline v0_1::object
