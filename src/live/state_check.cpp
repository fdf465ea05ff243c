// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "live/state_check.hpp"

#include <algorithm>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::live {
namespace {

class Check {
public:
    explicit Check(const State& state) : state_(state), places_(state.devices.size()) {}

    std::string run() {
        // Checked one by one, so that no sum of them can wrap around.
        std::size_t descriptors = 1 + state_.memories.size() + 3 * state_.devices.size();
        for (const State::Extra& extra : state_.extras)
            if (extra.descriptors > State::kMostDescriptors ||
                (descriptors += extra.descriptors) > State::kMostDescriptors)
                return "it has too many descriptors";
        for (const State::Device& device : state_.devices) {
            if (device.dma_bits < 1 || device.dma_bits > 64)
                return compose("'", device.name, "' drives ", device.dma_bits, " address bits");
            ids_.push_back(device.id);
        }
        for (const State::Memory& memory : state_.memories)
            if (memory.length == 0 || memory.file_offset + memory.length < memory.length)
                return compose("memory '", memory.label, "' has no size that there can be");
        for (const State::Space& space : state_.spaces)
            if (std::string wrong = look_at(space); !wrong.empty())
                return compose("space '", space.id, "': ", wrong);
        std::ranges::sort(ids_);
        if (!ids_.empty() && ids_.front() == 0) return "the id of an object is 0";
        if (std::ranges::adjacent_find(ids_) != ids_.end()) return "two objects have the same id";
        return {};
    }

private:
    struct Place {
        const State::Space* space = nullptr;
        const State::Table* table = nullptr;
    };

    std::string look_at(const State::Space& space) {
        for (const std::uint32_t index : space.devices) {
            if (index >= places_.size()) return "there is no such device as it has";
            if (places_[index].space) return "a device of it is there twice";
            places_[index].space = &space;
        }
        if (space.ioas != 0) ids_.push_back(space.ioas);
        if ((space.ioas != 0) != !space.devices.empty())
            return "it has devices without an ioas, or the reverse";
        for (const State::Table& table : space.tables) {
            ids_.push_back(table.id);
            if (table.devices.empty()) return "a page table of it has no device";
            for (const std::uint32_t index : table.devices) {
                if (index >= places_.size() || places_[index].space != &space)
                    return "a page table of it has a device of another space";
                if (places_[index].table) return "a device of it has two page tables";
                places_[index].table = &table;
            }
        }
        const State::Interval* before = nullptr;
        for (const State::Interval& interval : space.intervals) {
            if (std::string wrong = look_at(interval); !wrong.empty())
                return compose("at IOVA ", Hex{interval.first}, ": ", wrong);
            if (before && interval.first <= before->last)
                return compose("at IOVA ", Hex{interval.first}, ": it overlaps what is before it");
            before = &interval;
        }
        return {};
    }

    std::string look_at(const State::Interval& interval) const {
        if (interval.last < interval.first) return "it ends before it begins";
        if (interval.memory >= state_.memories.size()) return "there is no such memory";
        const State::Memory& memory = state_.memories[interval.memory];
        const std::uint64_t more = interval.last - interval.first;  // than one byte
        if (interval.offset >= memory.length || more >= memory.length - interval.offset)
            return "it is not within its memory";
        if (interval.access < 1 || interval.access > 3) return "it has no access that there is";
        if ((interval.access & 2) != 0 && memory.read_only) return "it is writable, and its memory is not";
        if (interval.granule != 0 && interval.granule - 1 > more) return "its granule is larger than it is";
        return {};
    }

    const State& state_;
    std::vector<Place> places_;       // of each device
    std::vector<std::uint32_t> ids_;  // of all objects of the kernel
};

}  // namespace

std::string inconsistency(const State& state) { return Check(state).run(); }

}  // namespace iommufd::inline v0_1::live
