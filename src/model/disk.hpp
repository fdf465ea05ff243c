// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A disk in memory: zeroes, of which only what is written takes memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace iommufd::inline v0_1::model {

class Disk {
public:
    static constexpr std::uint64_t kSector = 512;

    // Throws std::bad_alloc where there are no addresses for it.
    explicit Disk(std::uint64_t size);
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
    ~Disk();

    std::uint64_t sectors() const { return bytes_.size() / kSector; }
    // Within it.
    std::span<std::byte> at(std::uint64_t sector, std::uint64_t sectors) const {
        return bytes_.subspan(sector * kSector, sectors * kSector);
    }

private:
    std::span<std::byte> bytes_;
};

}  // namespace iommufd::inline v0_1::model
