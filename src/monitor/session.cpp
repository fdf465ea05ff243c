// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/session.hpp"

#include <algorithm>

#include "error/compose.hpp"
#include "monitor/commands.hpp"
#include "monitor/monitor.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

Json error_of(const Refusal& refusal) { return Json::of("class", refusal.error_class, "desc", refusal.text); }

// In the order in which QEMU puts the members in.
Json response(const Answer& answer, const Json* id) {
    Json response = answer ? Json::of("return", *answer) : Json::of("error", error_of(answer.error()));
    if (id) response.add("id", *id);
    return response;
}

// The name of the command that a request asks for; its members are looked at in their order.
std::expected<std::string, Refusal> name_in(const Json& request) {
    if (!request.object()) return refuse("QMP input must be a JSON object");
    std::expected<std::string, Refusal> name = refuse("QMP input lacks member 'execute'");
    for (const Json::Member* const member : request.members()) {
        const auto& [key, value] = *member;
        if (key == "execute") {
            if (!value.text()) return refuse("QMP input member 'execute' must be a string");
            name = *value.text();
        } else if (key == "arguments") {
            if (!value.object()) return refuse("QMP input member 'arguments' must be an object");
        } else if (key != "id") {
            return refuse(compose("QMP input member '", key, "' is unexpected"));
        }
    }
    return name;
}

}  // namespace

Session::Session(Monitor& monitor) : monitor_(monitor) {
    put_line(greeting(monitor).write());
    monitor_.sessions_.push_back(this);
}

Session::~Session() { std::erase(monitor_.sessions_, this); }

void Session::receive(std::string_view bytes, std::vector<sys::Fd> descriptors) noexcept try {
    descriptors_.receive(std::move(descriptors));
    if (!broken_)
        reader_.feed(bytes, [&](Reader::Value message) { messages_.push_back(std::move(message)); });
} catch (const std::bad_alloc&) {
    broken_ = true;
}

bool Session::handle_one() noexcept try {
    if (!has_messages()) return false;
    const Reader::Value message = std::move(messages_.front());
    messages_.pop_front();
    handle(message);
    return true;
} catch (const std::bad_alloc&) {
    broken_ = true;
    return false;
}

void Session::handle(const Reader::Value& message) {
    const Json* const id = message ? message->find("id") : nullptr;
    const Answer said = message ? answer(*message) : refuse(message.error());
    std::string line = response(said, id).write();
    if (line.size() > kMostOutput / 2)
        line =
            response(
                refuse(compose("The answer has ", line.size(), " bytes, more than a client may be sent")), id)
                .write();
    put_line(line);
}

Answer Session::answer(const Json& request) {
    const auto name = name_in(request);
    if (!name) return std::unexpected(name.error());
    const Command* const command = find_command(*name);
    if (negotiating_ && !(command && command->negotiates))
        return refuse_command("Expecting capabilities negotiation with 'qmp_capabilities'");
    if (!command) return refuse_command(compose("The command ", *name, " has not been found"));
    const Json* const given = request.find("arguments");
    const Json arguments = given ? *given : Json(Json::Object{});
    if (auto refusal = check_arguments(*command, arguments)) return std::unexpected(*std::move(refusal));
    return command->run({.monitor = monitor_, .session = *this, .arguments = arguments});
}

void Session::tell(std::string_view line) noexcept try {
    if (negotiating_) return;
    put_line(line);
    if (wake_) wake_();
} catch (const std::bad_alloc&) {
    broken_ = true;
}

void Session::put_line(std::string_view line) {
    if (broken_) return;
    if (output_.size() - sent_ + line.size() + 2 > kMostOutput) {
        broken_ = true;
        return;
    }
    output_.append(line).append("\r\n");
}

void Session::sent(std::size_t bytes) noexcept {
    sent_ += bytes;
    if (sent_ == output_.size()) {
        output_.clear();
        sent_ = 0;
    } else if (sent_ > kEnoughOutput) {
        output_.erase(0, sent_);
        sent_ = 0;
    }
}

}  // namespace iommufd::inline v0_1::monitor
