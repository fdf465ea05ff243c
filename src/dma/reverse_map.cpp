// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/reverse_map.hpp"

#include <algorithm>

namespace iommufd::inline v0_1::dma {
namespace {

bool leads_by(PageRadix::Entry entry, std::uint64_t difference) noexcept {
    return entry != PageRadix::kHole && (entry & PageRadix::kDifference) == difference;
}

Range addresses(std::uint64_t first, std::uint64_t last) noexcept { return {Iova{first}, Iova{last}}; }

// Calls visit(first, last, belongs) for each longest run of blocks within [first, last] of which `belongs` says the same.
template <class Belongs, class Visit>
void each_run(const PageMap& map, std::uint64_t first, std::uint64_t last, Belongs&& belongs, Visit&& visit) {
    for (std::uint64_t at = first;;) {
        PageRadix::Found found = map.find(at);
        const std::uint64_t start = at;
        const bool inside = belongs(found.entry);
        std::uint64_t end = std::min(found.last_of(at), last);
        while (end != last) {
            found = map.find(end + 1);
            if (belongs(found.entry) != inside) break;
            end = std::min(found.last_of(end + 1), last);
        }
        visit(start, end, inside);
        if (end == last) return;
        at = end + 1;
    }
}

}  // namespace

void ReverseMap::insert(std::uint64_t address, Range iovas) {
    try {
        insert_into(0, address, address + (iovas.last - iovas.first), iovas.first.value - address);
    } catch (...) {
        erase(address, iovas);
        throw;
    }
}

void ReverseMap::insert_into(unsigned layer, std::uint64_t first, std::uint64_t last,
                             std::uint64_t difference) {
    if (layer == kLayers) {
        const sys::Lock lock(mutex_);
        crowd_.emplace(Iova{first + difference},
                       Member{.last = Iova{last + difference}, .address = first, .shown = false});
        return;
    }
    if (used_.load(std::memory_order_relaxed) <= layer) used_.store(layer + 1, std::memory_order_release);
    each_run(
        layers_[layer], first, last, [](PageRadix::Entry entry) { return entry == PageRadix::kHole; },
        [&](std::uint64_t from, std::uint64_t to, bool is_free) {
            if (is_free)
                layers_[layer].insert(addresses(from, to), difference);
            else
                insert_into(layer + 1, from, to, difference);
        });
}

// Calls change(map, range) for every run of what was inserted, in whichever layer it is. Whether that was all.
template <class Change>
bool ReverseMap::each_inserted(std::uint64_t address, Range iovas, Change&& change) noexcept {
    const std::uint64_t difference = iovas.first.value - address;
    std::uint64_t missing = iovas.last - iovas.first + 1;
    for (unsigned layer = 0; layer < used_ && missing != 0; ++layer)
        each_run(
            layers_[layer], address, address + (iovas.last - iovas.first),
            [&](PageRadix::Entry entry) { return leads_by(entry, difference); },
            [&](std::uint64_t from, std::uint64_t to, bool is_ours) {
                if (!is_ours) return;
                missing -= to - from + 1;
                change(layers_[layer], addresses(from, to));
            });
    return missing == 0;
}

void ReverseMap::show(std::uint64_t address, Range iovas, bool shown) noexcept {
    if (each_inserted(address, iovas, [&](PageMap& map, Range range) { map.show(range, shown ? 3 : 0); }))
        return;
    const sys::Lock lock(mutex_);
    for (auto it = crowd_.lower_bound(iovas.first); it != crowd_.end() && it->first <= iovas.last; ++it)
        it->second.shown = shown;
}

void ReverseMap::erase(std::uint64_t address, Range iovas) noexcept {
    if (each_inserted(address, iovas, [](PageMap& map, Range range) { map.erase(range); })) return;
    const sys::Lock lock(mutex_);
    crowd_.erase(crowd_.lower_bound(iovas.first), crowd_.upper_bound(iovas.last));
}

void ReverseMap::cut(std::uint64_t address, Iova iova) {
    for (PageMap& map : layers_) map.cut(address);
    const sys::Lock lock(mutex_);
    auto after = crowd_.lower_bound(iova);
    if (after == crowd_.begin()) return;
    auto& [first, member] = *std::prev(after);
    if (member.last < iova) return;
    crowd_.emplace_hint(after, iova, Member{.last = member.last, .address = address, .shown = member.shown});
    member.last = iova - 1;
}

// Whether all of [first, last] leads by that difference, in whichever layer.
bool ReverseMap::leads(std::uint64_t first, std::uint64_t last, std::uint64_t difference) const noexcept {
    for (std::uint64_t at = first;;) {
        std::uint64_t end = 0;
        bool found = false;
        for (unsigned layer = 0; layer < used_ && !found; ++layer) {
            const PageRadix::Found leaf = layers_[layer].find(at);
            found = leads_by(leaf.entry, difference) && (leaf.entry & PageRadix::kRights) != 0;
            end = leaf.last_of(at);
        }
        if (!found) found = leads_in_crowd(at, difference, end);
        if (!found) return false;
        if (end >= last) return true;
        at = end + 1;
    }
}

// The same of one address; `end`: how far on it does.
bool ReverseMap::leads_in_crowd(std::uint64_t address, std::uint64_t difference,
                                std::uint64_t& end) const noexcept {
    const sys::Lock lock(mutex_);
    const Iova iova{address + difference};
    const auto after = crowd_.upper_bound(iova);
    if (after == crowd_.begin()) return false;
    const auto& [first, member] = *std::prev(after);
    if (member.last < iova || !member.shown || member.address + (iova - first) != address) return false;
    end = member.last.value - difference;
    return true;
}

// By the layer's leaf for the first byte, if that leads all of them.
std::optional<Iova> ReverseMap::find_in(const PageMap& layer, std::uint64_t first,
                                        std::uint64_t last) const noexcept {
    const PageRadix::Found leaf = layer.find(first);
    const std::uint64_t difference = leaf.entry & PageRadix::kDifference;
    if ((leaf.entry & PageRadix::kRights) == 0) return std::nullopt;
    if (leaf.last_of(first) < last && !leads(leaf.last_of(first) + 1, last, difference)) return std::nullopt;
    return Iova{first + difference};
}

void ReverseMap::find(std::uint64_t first, std::uint64_t last, std::vector<Iova>& iovas) const {
    const auto before = static_cast<std::ptrdiff_t>(iovas.size());
    const unsigned used = used_.load(std::memory_order_acquire);
    for (unsigned layer = 0; layer < used; ++layer)
        if (const auto iova = find_in(layers_[layer], first, last)) iovas.push_back(*iova);
    if (used == kLayers) find_in_crowd(first, last, iovas);
    std::sort(iovas.begin() + before, iovas.end());
}

void ReverseMap::find_in_crowd(std::uint64_t first, std::uint64_t last, std::vector<Iova>& iovas) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ends;  // difference, and how far it leads
    {
        const sys::Lock lock(mutex_);
        for (const auto& [iova, member] : crowd_)
            if (member.shown && first >= member.address && first - member.address <= member.last - iova)
                ends.emplace_back(iova.value - member.address, member.address + (member.last - iova));
    }
    for (const auto& [difference, end] : ends)
        if (end >= last || leads(end + 1, last, difference)) iovas.push_back(Iova{first + difference});
}

std::optional<Iova> ReverseMap::find_one(std::uint64_t first, std::uint64_t last) const noexcept {
    for (unsigned layer = 0; layer < used_; ++layer)
        if (const auto iova = find_in(layers_[layer], first, last)) return iova;
    return std::nullopt;
}

PageRadix::Table* ReverseMap::take_unlinked() noexcept {
    PageRadix::Table* chain = nullptr;
    for (PageMap& map : layers_) chain = PageMap::join(chain, map.take_unlinked());
    return chain;
}

}  // namespace iommufd::inline v0_1::dma
