// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "conformance/generator.hpp"

#include <algorithm>
#include <cstddef>

#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::conformance {

namespace mock = uapi::mock;

struct Generator::Choice {
    unsigned weight;
    Call (Generator::*make)();
};

void Generator::begin() {
    known_.clear();
    mapped_.clear();
    number_ = Call::kFirst;
    prepare();
}

Call Generator::next() {
    using G = Generator;
    static constexpr std::array kChoices = {
        Choice{3, &G::ioas_alloc},
        Choice{14, &G::map},
        Choice{5, &G::map_file},
        Choice{7, &G::copy},
        Choice{8, &G::unmap},
        Choice{2, &G::allow_iovas},
        Choice{2, &G::iova_ranges},
        Choice{3, &G::option},
        Choice{2, &G::vfio_ioas},
        Choice{1, &G::change_process},
        Choice{2, &G::get_pa},
        Choice{7, &G::hwpt_alloc},
        Choice{2, &G::hw_info},
        Choice{2, &G::set_dirty},
        Choice{4, &G::get_dirty},
        Choice{4, &G::invalidate},
        Choice{2, &G::fault_alloc},
        Choice{3, &G::viommu_alloc},
        Choice{3, &G::vdevice_alloc},
        Choice{3, &G::veventq_alloc},
        Choice{4, &G::hw_queue_alloc},
        Choice{5, &G::destroy},
        Choice{5, &G::vfio_compat},
        Choice{1, &G::garbage},
        Choice{1, &G::add_reserved},
        Choice{6, &G::mock_domain},
        Choice{4, &G::replace},
        Choice{4, &G::check_map},
        Choice{2, &G::check_refs},
        Choice{3, &G::create_access},
        Choice{4, &G::access_pages},
        Choice{2, &G::destroy_pages},
        Choice{5, &G::access_rw},
        Choice{2, &G::access_replace},
        Choice{1, &G::memory_limit},
        Choice{4, &G::dirty},
        Choice{1, &G::check_iotlb},
        Choice{4, &G::trigger_iopf},
        Choice{2, &G::check_cache},
        Choice{4, &G::trigger_vevent},
        Choice{8, &G::pasid_operation},
        Choice{2, &G::dma_buffer},
        Choice{4, &G::read},
        Choice{3, &G::write},
        Choice{2, &G::close},
        Choice{1, &G::map_window},
    };
    static constexpr unsigned kAll = [] {
        unsigned sum = 0;
        for (const Choice& choice : kChoices) sum += choice.weight;
        return sum;
    }();
    if (!preamble_.empty() && chance(85)) {
        const unsigned step = preamble_.back();
        preamble_.pop_back();
        return preamble(step);
    }
    // At first there is something to work with.
    if (known_.empty() && chance(95)) return ioas_alloc();
    if (known_.size() < 3 && chance(60)) return mock_domain();
    for (;;) {
        std::uint64_t drawn = below(kAll);
        const auto* chosen = kChoices.data();
        for (; drawn >= chosen->weight; ++chosen) drawn -= chosen->weight;
        Call call = (this->*chosen->make)();
        // Where there is nothing that it could be about, another is better nearly always.
        const bool vain =
            std::ranges::any_of(call.patches, [](const Call::Patch& p) { return !p.reference.any(); }) ||
            ((call.verb == Verb::read || call.verb == Verb::write) && !call.descriptor.any());
        if (vain && !chance(6)) continue;
        if (call.verb == Verb::ioctl && call.argument.size() > 4 && chance(2))
            call.place = chance(50) ? ArgumentPlace::read_only : ArgumentPlace::cut_short;
        return call;
    }
}

void Generator::learn(const Call& call, const Outcome& outcome) {
    if (outcome.result < 0) return;
    for (std::uint8_t i = 0; i < call.outputs.size(); ++i)
        known_.push_back({.kind = call.outputs[i].kind, .reference = {.call = call.number, .output = i}});
    if (call.verb == Verb::close)
        std::erase_if(known_, [&](const Known& known) { return known.reference == call.descriptor; });
    if (call.request == uapi::kDestroy && call.verb == Verb::ioctl && !call.patches.empty())
        // It stays among the ids that are tried now and then.
        for (Known& known : known_)
            if (known.reference == call.patches[0].reference && chance(90)) known.reference.output = 200;
    std::erase_if(known_, [](const Known& known) { return known.reference.output == 200; });
    const auto note = [&](std::uint64_t where, std::uint64_t length, std::uint64_t from) {
        if (mapped_.size() > 12) mapped_.erase(mapped_.begin());
        mapped_.push_back(
            {.ioas = call.patches.empty() ? Reference{.call = Reference::kNone} : call.patches[0].reference,
             .iova = where,
             .length = length,
             .address = from});
    };
    if (call.verb != Verb::ioctl) return;
    const auto result = [&]<class T>(T value) {
        std::memcpy(&value, outcome.argument.data(), std::min(sizeof value, outcome.argument.size()));
        return value;
    };
    if (call.request == uapi::kIoasMap) {
        const auto done = result(uapi::IoasMap{});
        note(done.iova, done.length, done.user_va);
    } else if (call.request == uapi::kIoasMapFile) {
        const auto done = result(uapi::IoasMapFile{});
        const bool memfd = call.patches.size() > 1 && call.patches[1].reference.call == Call::kMemfd;
        note(done.iova, done.length, memfd ? Arena::kFile.address + done.start : 0);
    } else if (call.request == uapi::kIoasCopy) {
        const auto done = result(uapi::IoasCopy{});
        note(done.dst_iova, done.length, 0);
    } else if (call.request == uapi::vfio::kIommuMapDma) {
        const auto done = result(uapi::vfio::IommuType1DmaMap{});
        note(done.iova, done.size, done.vaddr);
    }
}

Call Generator::make(std::string name, uapi::Request request) {
    Call call;
    call.number = number_++;
    call.name = std::move(name);
    call.request = request;
    return call;
}

// What was made last is what most calls are about.
Reference Generator::exactly(std::initializer_list<Kind> kinds) {
    std::vector<Reference> found;
    for (const Known& known : known_)
        if (std::ranges::find(kinds, known.kind) != kinds.end()) found.push_back(known.reference);
    if (found.empty()) return {.call = Reference::kNone};
    return found[chance(35) ? found.size() - 1 : below(found.size())];
}

Reference Generator::object(std::initializer_list<Kind> kinds) {
    if (!chance(5)) return exactly(kinds);
    if (known_.empty() || chance(30)) return {.call = Reference::kNone};
    const Known& any = known_[below(known_.size())];
    return is_descriptor(any.kind) || any.kind == Kind::window ? Reference{.call = Reference::kNone}
                                                               : any.reference;
}

void Generator::refer(Call& call, std::size_t offset, const Reference& reference, std::uint8_t width) {
    call.patches.push_back(
        {.offset = static_cast<std::uint16_t>(offset), .width = width, .reference = reference});
}

void Generator::refer_descriptor(Call& call, std::size_t offset, const Reference& reference) {
    call.patches.push_back({.offset = static_cast<std::uint16_t>(offset),
                            .width = 4,
                            .reference = reference,
                            .descriptor = true});
}

void Generator::attach_buffer(Call& call, std::size_t at, std::span<const std::uint8_t> content,
                              std::size_t offset) {
    if (chance(2)) return;  // its address is null
    call.buffer_at = static_cast<std::uint16_t>(at);
    call.buffer_offset = static_cast<std::uint16_t>(offset);
    call.buffer.assign(content.begin(), content.end());
}

void Generator::spoil_size(Call& call, std::size_t least) {
    std::uint32_t size = static_cast<std::uint32_t>(call.argument.size());
    if (chance(2)) {
        size = static_cast<std::uint32_t>(
            pick<std::size_t>({0, 4, least - 1, least, size - 1, size + 8, size + 8, size + 64}));
        if (chance(70) && size > call.argument.size()) {  // not zero behind the end
            call.argument.resize(size);
            call.argument.back() = 1;
        }
    }
    std::memcpy(call.argument.data(), &size, sizeof size);
}

std::uint64_t Generator::length() {
    switch (below(12)) {
        case 0:
            return pick<std::uint64_t>({0, 1, 2047, 2048, 2049, 4095, 4097, 6144});
        case 1:
            return pick<std::uint64_t>({2UL << 20, 1UL << 30, (2UL << 20) - kPage, 1UL << 20, 1UL << 32,
                                        (1UL << 63) - 1, 1UL << 63, ~0UL, ~0UL - kPage, ~0UL - kPage + 1,
                                        ~0UL - 1});
        case 2:
            return 2048 * (1 + below(12));
        default:
            return kPage * (1 + below(10));
    }
}

std::uint64_t Generator::iova() {
    constexpr std::array<std::uint64_t, 14> kEdges = {0,
                                                      kPage,
                                                      mock::kApertureStart,
                                                      mock::kApertureLast + 1,
                                                      2UL << 20,
                                                      1UL << 30,
                                                      1UL << 32,
                                                      1UL << 56,
                                                      1UL << 63,
                                                      ~0UL,
                                                      ~0UL - kPage + 1,
                                                      18UL << 20,
                                                      32UL << 20,
                                                      3UL << 30};
    const auto off = [&] {
        return pick<std::uint64_t>({0, 0, 0, 1, 2048, kPage, 2 * kPage, ~0UL, ~2047UL, ~4095UL});
    };
    if (!mapped_.empty() && chance(50)) {
        const Mapped& mapped = mapped_[below(mapped_.size())];
        return (chance(50) ? mapped.iova : mapped.iova + mapped.length) + off();
    }
    if (chance(70)) return mock::kApertureStart + kPage * below(64) + (chance(10) ? 2048 : 0);
    return kEdges[below(kEdges.size())] + off();
}

std::uint64_t Generator::address() {
    const Place place =
        pick<Place>({Arena::kShared, Arena::kShared, Arena::kShared, Arena::kPrivate, Arena::kReadOnly,
                     Arena::kForbidden, Arena::kFile, Arena::kFile, Arena::kHole});
    if (chance(2)) return pick<std::uint64_t>({0, kPage, ~0UL, ~0UL - kPage + 1, 1UL << 63, 1UL << 47});
    std::uint64_t address = place.address + kPage * below(place.pages);
    if (chance(6)) address += pick<std::uint64_t>({1, 2048, 2047, 100, 4095});
    return address;
}

void Generator::near_mapped(const Reference& ioas, std::uint64_t& where, std::uint64_t& size) {
    std::vector<Mapped> there;
    for (const Mapped& mapped : mapped_)
        if (mapped.ioas == ioas) there.push_back(mapped);
    if (there.empty()) there = mapped_;
    if (there.empty() || chance(12)) {
        where = iova();
        size = length();
        return;
    }
    const Mapped& mapped = there[below(there.size())];
    where = mapped.iova;
    size = mapped.length;
    if (chance(55)) return;
    if (size > kPage && chance(70)) {  // a part
        const std::uint64_t unit = chance(70) ? kPage : 2048;
        const std::uint64_t units = size / unit;
        const std::uint64_t first = below(units == 0 ? 1 : units);
        where += first * unit;
        size -= first * unit;
        if (size > unit && chance(50)) size -= below(size / unit) * unit;
        return;
    }
    where -= chance(40) ? pick<std::uint64_t>({kPage, 2048, 1, 16 * kPage}) : 0;
    size += chance(60) ? pick<std::uint64_t>({kPage, 2048, 1, 32 * kPage}) : 0;
}

std::uint32_t Generator::map_flags() {
    std::uint32_t flags = pick<std::uint32_t>({6, 6, 6, 6, 4, 2});
    if (chance(70)) flags |= uapi::kMapFixedIova;
    if (chance(1)) flags = pick<std::uint32_t>({0, 1, 8, 0x80000006});
    return flags;
}

// Which ids there are, what each has, and what is mapped.
std::vector<Call> Generator::look_around() {
    std::vector<Call> calls;
    for (const Known& known : std::vector<Known>(known_)) {
        const Reference on = known.reference;
        switch (known.kind) {
            case Kind::ioas: {
                Call ranges =
                    ioctl("IOAS_IOVA_RANGES", uapi::kIoasIovaRanges, uapi::IoasIovaRanges{.num_iovas = 16});
                refer(ranges, offsetof(uapi::IoasIovaRanges, ioas_id), on);
                const std::array<std::uint8_t, 256> room{};
                ranges.buffer_at = offsetof(uapi::IoasIovaRanges, allowed_iovas);
                ranges.buffer.assign(room.begin(), room.end());
                calls.push_back(ranges);
                Call huge = ioctl("OPTION", uapi::kOption,
                                  uapi::Option{.option_id = uapi::kOptionHugePages, .op = uapi::kOptionGet});
                refer(huge, offsetof(uapi::Option, object_id), on);
                calls.push_back(huge);
                break;
            }
            case Kind::paging:
                for (const Mapped& mapped :
                     std::span(mapped_).last(std::min<std::size_t>(mapped_.size(), 4))) {
                    if (chance(50) || mapped.address == 0 || mapped.address >= Arena::kHole.address) continue;
                    mock::TestCmd command{};
                    command.check_map = {.iova = mapped.iova & ~2047UL,
                                         .length = std::min(mapped.length, 4 * kPage) & ~2047UL,
                                         .uptr = mapped.address & ~2047UL};
                    Call check = test("MD_CHECK_MAP", mock::kMdCheckMap, command);
                    refer(check, offsetof(mock::TestCmd, id), on);
                    calls.push_back(check);
                }
                break;
            case Kind::stdev:
                for (const Known& other : std::vector<Known>(known_)) {
                    if ((other.kind != Kind::paging && other.kind != Kind::nested) || chance(70)) continue;
                    mock::TestCmd command{};
                    command.pasid_check.pasid = pick<std::uint32_t>({0, 0, 1, 2, 100, 1024});
                    Call check = test("PASID_CHECK_HWPT", mock::kPasidCheckHwpt, command);
                    refer(check, offsetof(mock::TestCmd, id), on);
                    refer(check, offsetof(mock::TestCmd, pasid_check.hwpt_id), other.reference);
                    calls.push_back(check);
                }
                break;
            default:
                break;
        }
    }
    for (const std::uint64_t page : {below(Arena::kShared.pages), below(Arena::kShared.pages)})
        for (const std::uint32_t pins : {0U, 1U, 2U}) {
            mock::TestCmd command{};
            command.check_refs = {
                .length = kPage, .uptr = Arena::kShared.address + page * kPage, .refs = pins};
            calls.push_back(test("MD_CHECK_REFS", mock::kMdCheckRefs, command));
        }
    for (const Known& known : std::vector<Known>(known_)) {
        if (known.kind != Kind::fault_fd && known.kind != Kind::veventq_fd) continue;
        Call poll = make("poll", 0);
        poll.verb = Verb::poll;
        poll.descriptor = known.reference;
        calls.push_back(poll);
    }
    return calls;
}

Call Generator::test(std::string name, std::uint32_t op, uapi::mock::TestCmd command) {
    Call call = make(std::move(name), mock::kTest);
    command.op = op;
    call.set(command);
    spoil_size(call, mock::kTestCommand.minimum_size);
    return call;
}

}  // namespace iommufd::inline v0_1::conformance
