// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/protocol.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostName = 256;
constexpr std::pair<GivenKind, std::string_view> kKinds[] = {
    {GivenKind::iommufd, "iommufd"}, {GivenKind::vfio, "vfio"}, {GivenKind::vdpa, "vdpa"}};

Error not_understood(std::string cause) {
    return Error::refused(EPROTO, "cannot read the message", std::move(cause),
                          "speak as docs/broker.md describes");
}

std::string frame(const Json& body) {
    // What isn't UTF-8 is replaced.
    const std::string text = body.dump(-1, ' ', false, Json::error_handler_t::replace);
    const Header header{.magic = kMagic,
                        .version = kVersion,
                        .reserved = 0,
                        .length = static_cast<std::uint32_t>(text.size())};
    std::string framed(sizeof header, '\0');
    std::memcpy(framed.data(), &header, sizeof header);
    return framed += text;
}

// Goes through a body; the first thing that is wrong ends it.
class Body {
public:
    using Read = std::function<void(const Json&)>;

    explicit Body(std::string_view text) : document_(Json::parse(text, nullptr, false)) {
        if (document_.is_discarded()) fail("it is no JSON");
    }
    const Json& document() const { return document_; }
    const std::optional<std::string>& wrong() const { return wrong_; }
    void fail(std::string what) {
        if (!wrong_) wrong_ = std::move(what);
    }

    void members(std::string_view where, const Json& value,
                 std::initializer_list<std::pair<std::string_view, Read>> known) {
        if (!value.is_object()) return fail(compose(where, " is no object"));
        for (const auto& [key, member] : value.items()) {
            const auto entry = std::ranges::find(known, key, &std::pair<std::string_view, Read>::first);
            if (entry == known.end())
                return fail(compose(where, " has a member that version 1 doesn't know"));
            entry->second(member);
        }
    }
    void list(std::string_view where, const Json& value, const Read& read) {
        if (!value.is_array()) return fail(compose(where, " is no list"));
        if (value.size() > kMostGiven) return fail(compose(where, " has more than ", kMostGiven, " entries"));
        for (const Json& entry : value) read(entry);
    }
    void text(std::string_view where, const Json& value, std::string& to, std::size_t most) {
        if (!value.is_string()) return fail(compose(where, " is no string"));
        to = value.get<std::string>();
        if (to.size() > most || to.contains('\0')) fail(compose(where, " is too long, or has a NUL"));
    }
    void texts(std::string_view where, const Json& value, std::vector<std::string>& to, std::size_t most) {
        list(where, value, [&](const Json& entry) { text(where, entry, to.emplace_back(), most); });
    }
    void number(std::string_view where, const Json& value, std::uint64_t& to) {
        if (!value.is_number_unsigned()) return fail(compose(where, " is no number"));
        to = value.get<std::uint64_t>();
    }

private:
    Json document_;
    std::optional<std::string> wrong_;
};

}  // namespace

std::string_view name(GivenKind kind) noexcept {
    return std::ranges::find(kKinds, kind, &std::pair<GivenKind, std::string_view>::first)->second;
}

std::string encode(const Request& request) {
    if (const auto* const map = std::get_if<MapRequest>(&request.mapping)) {
        Json words = {{"offset", map->part.offset}, {"length", map->part.length}, {"write", map->part.write}};
        if (map->iova) words["iova"] = *map->iova;
        return frame({{"map", std::move(words)}});
    }
    if (const auto* const unmap = std::get_if<UnmapRequest>(&request.mapping))
        return frame({{"unmap", {{"iova", unmap->iova}}}});
    Json get = {{"iommufd", request.iommufd}, {"devices", request.devices}, {"vdpa", request.vdpa}};
    if (request.mediated) get["mediated"] = true;
    if (request.memlock) get["memlock"] = *request.memlock;
    return frame({{"get", std::move(get)}});
}

std::string encode(const Answer& answer) {
    Json given = Json::array();
    for (const Given& one : answer.given) given.push_back({{"kind", name(one.kind)}, {"name", one.name}});
    Json words = {{"notes", answer.notes}};
    const auto range = [](Range its) { return Json({{"iova", its.first.value}, {"length", its.length()}}); };
    if (answer.mapped) words["mapped"] = range(*answer.mapped);
    if (answer.unmapped) words["unmapped"] = range(*answer.unmapped);
    if (!answer.mapped && !answer.unmapped) words["given"] = std::move(given);
    if (!answer.attached.empty()) words["attached"] = answer.attached;
    return frame(words);
}

std::string encode(const Error& error) {
    constexpr std::size_t kMostWords = 4096;
    const auto words = [](std::string_view text) { return std::string(text.substr(0, kMostWords)); };
    return frame({{"error",
                   {{"code", error.code()},
                    {"what", words(error.what())},
                    {"cause", words(error.cause())},
                    {"next", words(error.next_step())}}}});
}

Result<std::uint32_t> read_header(std::span<const std::byte, sizeof(Header)> bytes) {
    Header header{};
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.magic != kMagic || header.reserved != 0)
        return not_understood("it doesn't begin as one of the broker's");
    if (header.version != kVersion)
        return Error::refused(
            EPROTONOSUPPORT, "cannot read the message",
            compose("it is of version ", header.version, ", and version ", kVersion, " is spoken here"),
            compose("speak version ", kVersion));
    if (header.length > kMostBytes)
        return Error::refused(EMSGSIZE, "cannot read the message",
                              compose("it has ", header.length, " bytes, and ", kMostBytes, " are the most"),
                              "ask for less at a time");
    return header.length;
}

Result<Request> read_request(std::string_view body) {
    Body reader(body);
    Request request;
    int verbs = 0;
    const auto flag = [&](std::string_view where, const Json& value, bool& to) {
        if (!value.is_boolean()) return reader.fail(compose(where, " is neither true nor false"));
        to = value.get<bool>();
    };
    const auto get = [&](const Json& value) {
        ++verbs;
        reader.members(
            "get", value,
            {{"iommufd", [&](const Json& on) { flag("iommufd", on, request.iommufd); }},
             {"mediated", [&](const Json& on) { flag("mediated", on, request.mediated); }},
             {"devices",
              [&](const Json& list) { reader.texts("devices", list, request.devices, kMostName); }},
             {"vdpa", [&](const Json& list) { reader.texts("vdpa", list, request.vdpa, kMostName); }},
             {"memlock",
              [&](const Json& size) { reader.number("memlock", size, request.memlock.emplace()); }}});
    };
    const auto map = [&](const Json& value) {
        ++verbs;
        MapRequest& its = request.mapping.emplace<MapRequest>();
        reader.members(
            "map", value,
            {{"offset", [&](const Json& bytes) { reader.number("offset", bytes, its.part.offset); }},
             {"length", [&](const Json& bytes) { reader.number("length", bytes, its.part.length); }},
             {"write", [&](const Json& on) { flag("write", on, its.part.write); }},
             {"iova", [&](const Json& at) { reader.number("iova", at, its.iova.emplace()); }}});
    };
    const auto unmap = [&](const Json& value) {
        ++verbs;
        UnmapRequest& its = request.mapping.emplace<UnmapRequest>();
        reader.members("unmap", value,
                       {{"iova", [&](const Json& at) { reader.number("iova", at, its.iova); }}});
    };
    if (!reader.wrong())
        reader.members("the request", reader.document(), {{"get", get}, {"map", map}, {"unmap", unmap}});
    if (verbs == 0) reader.fail("it asks for nothing");
    if (verbs > 1) reader.fail("it asks for several things");
    if (request.devices.size() + request.vdpa.size() >= kMostGiven)
        reader.fail(compose("it asks for more than ", kMostGiven, " descriptors"));
    if (reader.wrong()) return not_understood(*reader.wrong());
    return request;
}

Result<Answer> read_answer(std::string_view body) {
    Body reader(body);
    Answer answer;
    std::optional<Error> error;
    const auto read_given = [&](const Json& entry) {
        Given& one = answer.given.emplace_back();
        std::string kind;
        reader.members("given", entry,
                       {{"kind", [&](const Json& text) { reader.text("kind", text, kind, kMostName); }},
                        {"name", [&](const Json& text) { reader.text("name", text, one.name, kMostName); }}});
        const auto known = std::ranges::find(kKinds, kind, &std::pair<GivenKind, std::string_view>::second);
        if (known == std::end(kKinds)) return reader.fail("it gives something of an unknown kind");
        one.kind = known->first;
    };
    const auto read_error = [&](const Json& value) {
        std::uint64_t code = 0;
        std::string what, cause, next;
        reader.members("error", value,
                       {{"code", [&](const Json& number) { reader.number("code", number, code); }},
                        {"what", [&](const Json& text) { reader.text("what", text, what, kMostBytes); }},
                        {"cause", [&](const Json& text) { reader.text("cause", text, cause, kMostBytes); }},
                        {"next", [&](const Json& text) { reader.text("next", text, next, kMostBytes); }}});
        constexpr std::uint64_t kMostErrno = 4095;
        if (code == 0 || code > kMostErrno) return reader.fail("its error has no errno");
        error = Error::refused(static_cast<int>(code), std::move(what), std::move(cause), std::move(next));
    };
    const auto read_range = [&](std::string_view where, const Json& value, std::optional<Range>& to) {
        std::uint64_t iova = 0, length = 0;
        reader.members(where, value,
                       {{"iova", [&](const Json& number) { reader.number("iova", number, iova); }},
                        {"length", [&](const Json& number) { reader.number("length", number, length); }}});
        to = Range::of(Iova{iova}, length);
        if (!to) reader.fail(compose(where, " is no range"));
    };
    if (!reader.wrong())
        reader.members(
            "the answer", reader.document(),
            {{"given", [&](const Json& list) { reader.list("given", list, read_given); }},
             {"notes", [&](const Json& list) { reader.texts("notes", list, answer.notes, kMostBytes); }},
             {"attached",
              [&](const Json& list) { reader.texts("attached", list, answer.attached, kMostName); }},
             {"mapped", [&](const Json& value) { read_range("mapped", value, answer.mapped); }},
             {"unmapped", [&](const Json& value) { read_range("unmapped", value, answer.unmapped); }},
             {"error", read_error}});
    if (reader.wrong()) return not_understood(*reader.wrong());
    if (error) return *std::move(error);
    return answer;
}

}  // namespace iommufd::inline v0_1::broker
