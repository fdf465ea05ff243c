// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Dirty tracking of a hwpt, and the bitmap in which it is told.
#include <algorithm>
#include <bit>
#include <cerrno>

#include "model/context.hpp"

namespace iommufd::inline v0_1::model {
namespace {

// The program's bitmap: bit 0 stands for the first IOVA. Bits are only ever set.
class DirtyBitmap {
public:
    explicit DirtyBitmap(const uapi::HwptGetDirtyBitmap& command)
        : first_(command.iova),
          last_(command.iova + command.length - 1),
          shift_(static_cast<unsigned>(std::countr_zero(command.page_size))),
          data_(command.data) {}

    // Linux sets all or nothing of what starts before the bitmap or, beyond its end, as far as that page of
    // the program goes. A bit that can't be written is lost.
    void set(std::uint64_t iova, std::uint64_t length) const {
        if (iova < first_ || iova > last_) return;
        const std::uint64_t end_of_page = (data_ + bit_of(last_) / 8) | (user::kPage - 1);
        const std::uint64_t last = std::min(bit_of(iova + length - 1), (end_of_page - data_) * 8 + 7);
        for (std::uint64_t bit = bit_of(iova); bit <= last;) {
            const std::uint64_t last_here = std::min(last, bit | 7);
            const auto mask = static_cast<std::uint8_t>((0xff << bit % 8) & (0xff >> (7 - last_here % 8)));
            std::uint8_t byte = 0;
            if (user::get(byte, data_ + bit / 8) == 0) {
                byte |= mask;
                (void)user::put(data_ + bit / 8, byte);
            }
            bit = last_here + 1;
        }
    }

private:
    std::uint64_t bit_of(std::uint64_t iova) const { return (iova - first_) >> shift_; }

    std::uint64_t first_;
    std::uint64_t last_;
    unsigned shift_;
    user::Address data_;
};

int check_range(const uapi::HwptGetDirtyBitmap& command, std::uint64_t alignment) {
    if (command.length == 0) return -EINVAL;
    const std::uint64_t last = command.iova + command.length - 1;
    if (last < command.iova) return -EOVERFLOW;
    const std::uint64_t ends = command.iova | (last + 1);
    if ((ends & (alignment - 1)) != 0 || command.page_size == 0 || (ends & (command.page_size - 1)) != 0)
        return -EINVAL;
    return 0;
}

}  // namespace

int Context::hwpt_set_dirty_tracking(uapi::HwptSetDirtyTracking& command, const Call&) {
    if ((command.flags & ~uapi::kDirtyTrackingEnable) != 0) return -EOPNOTSUPP;
    const sys::Lock lock(mutex_);
    const auto* const hwpt = objects_.find<PagingHwpt>(command.hwpt_id);
    if (hwpt == nullptr) return -ENOENT;
    Domain& domain = *hwpt->domain;
    if (!domain.tracks_dirty()) return -EOPNOTSUPP;
    const bool enable = (command.flags & uapi::kDirtyTrackingEnable) != 0;
    if (enable)
        for (const auto& [last, area] : hwpt->ioas->iopt.areas())
            domain.read_dirty(area.first, area.length(), true, [](std::uint64_t, std::uint64_t) {});
    domain.set_tracking(enable);
    return 0;
}

int Context::hwpt_get_dirty_bitmap(uapi::HwptGetDirtyBitmap& command, const Call&) {
    if ((command.flags & ~uapi::kDirtyBitmapNoClear) != 0 || command.reserved != 0) return -EOPNOTSUPP;
    const sys::Lock lock(mutex_);
    const auto* const hwpt = objects_.find<PagingHwpt>(command.hwpt_id);
    if (hwpt == nullptr) return -ENOENT;
    const IoPagetable& iopt = hwpt->ioas->iopt;
    if (const int rc = check_range(command, iopt.alignment()); rc < 0) return rc;
    if (!hwpt->domain->tracks_dirty()) return -EOPNOTSUPP;

    const DirtyBitmap bitmap(command);
    const bool clear = (command.flags & uapi::kDirtyBitmapNoClear) == 0;
    const std::uint64_t last = command.iova + command.length - 1;
    std::uint64_t next = command.iova;
    // Linux ends silently at the first IOVA that isn't mapped: what lies behind it is neither told nor cleared.
    for (auto area = iopt.areas().lower_bound(next); area != iopt.areas().end(); ++area) {
        if (area->second.first > next || !area->second.pages) break;
        const std::uint64_t end = std::min(last, area->second.last);
        hwpt->domain->read_dirty(next, end - next + 1, clear,
                                 [&](std::uint64_t iova, std::uint64_t length) { bitmap.set(iova, length); });
        if (end == last) break;
        next = end + 1;
    }
    return 0;
}

}  // namespace iommufd::inline v0_1::model
