// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include "dma/space_state.hpp"

namespace iommufd::inline v0_1::dma {

// The turn of one that changes which devices there are, or what is known of their writes; the next waits for its end.
class SpaceState::Turn {
public:
    explicit Turn(SpaceState& space) : space_(space) {
        const sys::Lock lock(space_.mutex_);
        while (space_.changing_) space_.changed_.wait(space_.mutex_);
        space_.changing_ = true;
    }
    ~Turn() {
        const sys::Lock lock(space_.mutex_);
        space_.changing_ = false;
        space_.changed_.notify_all();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

private:
    SpaceState& space_;
};

}  // namespace iommufd::inline v0_1::dma
