// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "conformance/comparison.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>

namespace iommufd::inline v0_1::conformance {
namespace {

constexpr int kWaitMs = 2000;
constexpr std::size_t kLookEach = 34;

std::string words(const std::vector<std::uint8_t>& bytes, std::size_t most) {
    std::string text;
    for (std::size_t at = 0; at + 4 <= std::min(bytes.size(), most); at += 4) {
        std::uint32_t word = 0;
        std::memcpy(&word, bytes.data() + at, sizeof word);
        char hex[16];
        (void)std::snprintf(hex, sizeof hex, " %x", word);
        text += hex;
    }
    return text;
}

std::string result_of(std::int64_t result) {
    return result < 0 ? ::strerrorname_np(static_cast<int>(-result)) : std::to_string(result);
}

std::string reference_of(const Reference& reference) {
    if (!reference.any()) return "nothing";
    if (reference.call < Call::kFirst) return reference.call == Call::kMemfd ? "memfd" : "eventfd";
    return '#' + std::to_string(reference.call) +
           (reference.output == 0 ? "" : '.' + std::to_string(reference.output));
}

std::string text_of(const Call& call) {
    std::string text = '#' + std::to_string(call.number) + ' ' + call.name;
    if (call.verb != Verb::ioctl)
        text += ' ' + reference_of(call.descriptor) + ' ' + std::to_string(call.length);
    if (call.place != ArgumentPlace::anywhere)
        text += call.place == ArgumentPlace::read_only ? " (read-only)" : " (cut short)";
    text += call.argument.empty() ? ' ' + std::to_string(call.direct) : words(call.argument, 96);
    for (const Call::Patch& patch : call.patches)
        text += " [" + std::to_string(patch.offset / 4) + "]=" + reference_of(patch.reference);
    if (call.buffer_at != Call::kNoBuffer)
        text += " [" + std::to_string(call.buffer_at / 4) + "]=&{" + words(call.buffer, 64) + " }";
    return text;
}

std::string where_they_differ(const std::vector<std::uint8_t>& first,
                              const std::vector<std::uint8_t>& second) {
    const auto [one, other] = std::ranges::mismatch(first, second);
    if (one == first.end() || other == second.end()) return "";
    const std::size_t at = static_cast<std::size_t>(one - first.begin()) / 8 * 8;
    const auto part = [&](const std::vector<std::uint8_t>& bytes) {
        return words({bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end()}, 16);
    };
    return " from byte " + std::to_string(at) + ":" + part(first) + " against" + part(second);
}

}  // namespace

std::string Difference::text() const {
    std::string text;
    for (const Call& call : calls) text += text_of(call) + '\n';
    text += "  " + result_of(first.result) + " against " + result_of(second.result);
    if (first.argument != second.argument)
        text += "; argument" + where_they_differ(first.argument, second.argument);
    if (first.buffer != second.buffer) text += "; buffer" + where_they_differ(first.buffer, second.buffer);
    return text + '\n';
}

std::string text_of(const Coverage& coverage) {
    std::string text;
    for (const auto& [name, errnos] : coverage) {
        text += name + ':';
        for (const auto& [error, count] : errnos)
            text +=
                ' ' + std::string(error == 0 ? "ok" : ::strerrorname_np(error)) + ' ' + std::to_string(count);
        text += '\n';
    }
    return text;
}

// Faults come from a thread of Linux's own: what the first side has, the second has soon.
void Comparison::await_faults(const std::vector<Call>& calls) {
    for (const Call& call : calls) {
        if (call.outputs.size() != 2 || call.outputs[1].kind != Kind::fault_fd) continue;
        Call poll;
        poll.verb = Verb::poll;
        poll.descriptor = {.call = call.number, .output = 1};
        if ((first_.make(poll).result & POLLIN) != 0) (void)second_.make(poll, kWaitMs);
    }
}

void Comparison::begin() {
    detach_pasids({});
    first_.begin();
    second_.begin();
}

// Linux's mock forgets them where their device is destroyed, and what they were attached to is never given back.
void Comparison::detach_pasids(const std::optional<Reference>& stdev) {
    std::erase_if(pasids_, [&](const Attached& attached) {
        if (stdev && *stdev != attached.stdev) return false;
        uapi::mock::TestCmd command{};
        command.size = sizeof command;
        command.op = uapi::mock::kPasidDetach;
        command.pasid_detach.pasid = attached.pasid;
        Call detach;
        detach.request = uapi::mock::kTest;
        detach.set(command);
        detach.patches = {
            {.offset = offsetof(uapi::mock::TestCmd, id), .width = 4, .reference = attached.stdev}};
        (void)first_.make(detach);
        (void)second_.make(detach);
        return true;
    });
}

bool Comparison::differs(const Call& call, Outcome& first, Outcome& second) {
    if (call.name == "DESTROY" && !call.patches.empty()) detach_pasids(call.patches[0].reference);
    first = first_.make(call);
    second = second_.make(call);
    if (call.name == "PASID_ATTACH" && second.result == 0 && !call.patches.empty())
        pasids_.push_back(
            {.stdev = call.patches[0].reference, .pasid = call.as<uapi::mock::TestCmd>().pasid_attach.pasid});
    return first != second;
}

std::optional<Difference> Comparison::run(Generator& generator, std::size_t length) {
    generator.begin();
    begin();
    Difference found;
    const auto make = [&](Call call) {
        ++calls_;
        found.calls.push_back(std::move(call));
        const Call& made = found.calls.back();
        const bool different = differs(made, found.first, found.second);
        ++coverage_[made.name][found.first.result < 0 ? static_cast<int>(-found.first.result) : 0];
        if (!different && made.name == "TRIGGER_IOPF") await_faults(found.calls);
        return !different;
    };
    for (std::size_t i = 1; i <= length; ++i) {
        if (!make(generator.next())) return shrink(std::move(found));
        generator.learn(found.calls.back(), found.first);
        if (i % kLookEach != 0) continue;
        for (Call& call : generator.look_around())
            if (!make(std::move(call))) return shrink(std::move(found));
    }
    if (!pins_left()) return {};
    found.second.result = -EIO;
    found.calls.push_back({.name = "(pins are left when all is closed)"});
    return shrink(std::move(found));
}

// Of a sequence that has ended, by whichever side; then the memory is renewed.
bool Comparison::pins_left() {
    begin();
    bool left = false;
    for (const Place& place : {Arena::kShared, Arena::kPrivate, Arena::kFile}) {
        uapi::mock::TestCmd command{};
        command.size = sizeof command;
        command.op = uapi::mock::kMdCheckRefs;
        command.check_refs = {.length = place.pages * kPage, .uptr = place.address, .refs = 0};
        Call check;
        check.request = uapi::mock::kTest;
        check.set(command);
        left = left || first_.make(check).result != 0 || second_.make(check).result != 0;
    }
    if (left) arena_.renew();
    return left;
}

std::optional<Difference> Comparison::replay(const std::vector<Call>& calls) {
    begin();
    Difference found;
    for (const Call& call : calls) {
        found.calls.push_back(call);
        if (differs(call, found.first, found.second)) return found;
        if (call.name == "TRIGGER_IOPF") await_faults(found.calls);
    }
    if (!pins_left()) return {};
    found.second.result = -EIO;
    if (!calls.back().name.starts_with('('))
        found.calls.push_back({.name = "(pins are left when all is closed)"});
    return found;
}

Difference Comparison::shrink(Difference found) {
    // Once more, in case that it depends on something else.
    std::optional<Difference> again = replay(found.calls);
    if (!again) {
        found.calls.back().name += " (not again)";
        return found;
    }
    found = std::move(*again);
    for (std::size_t part = found.calls.size() / 2; part > 0; part /= 2) {
        for (std::size_t at = 0; at + part < found.calls.size();) {
            std::vector<Call> fewer = found.calls;
            const auto from = fewer.begin() + static_cast<std::ptrdiff_t>(at);
            fewer.erase(from, from + static_cast<std::ptrdiff_t>(part));
            std::optional<Difference> still = replay(fewer);
            if (still && still->calls.back().name == found.calls.back().name)
                found = std::move(*still);
            else
                at += part;
        }
    }
    return found;
}

}  // namespace iommufd::inline v0_1::conformance
