// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// IOVAs of a Space that are somebody's without being mapped.
//
//     Reservation     a range that map() neither chooses nor accepts, until it goes: a window of the guest's, a plan of a driver's
//     IovaCache       many small ranges, fast: iova_cache.hpp
//     Within          the right to map in one of them
//
//     auto msi = space.reserve(*Range::of(Iova{0xfee00000}, 1_MiB), "msi").value();    // nobody maps there
//     auto rings = space.reserve(16_MiB, {.label = "rings"}).value();                  // wherever it fits
//     space.map(ring, {.iova = rings.iova() + 4_KiB, .within = rings});
//
// Threads: any calls may run at once, on different objects.
#pragma once

#include <memory>
#include <string>

#include "iommufd/core/types.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::dma {

class SpaceState;

struct ReserveOptions {
    std::string label = "reservation";  // named by the refusal of what would lie in it
    std::uint64_t alignment = 0;  // of its first IOVA, in bytes, a power of two; 0: what every sink demands
    // What will be mapped there: the IOVA is congruent to it modulo the largest I/O page that fits.
    const void* address = nullptr;
    Iova last{~std::uint64_t{0}};  // it ends here at the latest
};

// A range that nobody maps in without it. When it goes, what is mapped in it stays mapped and keeps its IOVAs; the rest is free.
class IOMMUFD_EXPORT Reservation {
public:
    Reservation(Reservation&&) noexcept;
    Reservation& operator=(Reservation&&) noexcept;
    ~Reservation();

    Iova iova() const noexcept { return range_.first; }
    Range range() const noexcept { return range_; }

private:
    friend class Space;
    friend class Within;
    Reservation(std::shared_ptr<SpaceState> state, Range range) noexcept;
    std::shared_ptr<SpaceState> state_;
    Range range_;
};

class IovaCache;

// Whose IOVAs a call may use, made of a Reservation or an IovaCache, which must live as long as the call.
class IOMMUFD_EXPORT Within {
public:
    Within() = default;  // nobody's
    Within(const Reservation& reservation) noexcept;
    Within(const IovaCache& cache) noexcept;

private:
    friend class SpaceState;
    const SpaceState* space_ = nullptr;
    const Reservation* reservation_ = nullptr;  // null: a cache's
};

}  // namespace iommufd::inline v0_1::dma
