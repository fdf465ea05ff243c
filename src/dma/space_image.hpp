// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A Space as one process describes it to the next, which takes it over (live/): what the kernel has, and what only the
// books know.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "iommufd/dma/space.hpp"

namespace iommufd::inline v0_1::dma {

struct SpaceImage {
    struct Table {
        HwptId id;
        bool dirty_tracking;
        bool pasid;
        std::vector<std::shared_ptr<Attachable>> devices;
    };
    struct Interval {
        Range range;
        std::shared_ptr<const Memory::Node> memory;
        std::uint64_t offset;  // into the memory, in bytes
        Access access;
        std::uint64_t granule;
        bool owned;  // by a live Mapping
    };

    std::string id;
    IoasId ioas;                      // 0: nothing is attached, all is planned only
    bool left_to_the_kernel = false;  // its page tables
    std::vector<Table> tables;
    std::vector<std::shared_ptr<Attachable>> devices;  // all that are attached, through a table or not
    std::vector<Interval> intervals;                   // ascending
};

// The one that may make a Space and what hangs on it from an image.
class SpaceHandover {
public:
    struct Restored {
        Space space;
        std::vector<Attachment> attachments;  // of image.devices, in that order
        std::vector<Mapping> mappings;        // of the intervals that are owned, in that order
    };
    // The kernel is asked what the IOAS allows, and nothing else: it has all of this already.
    // EINVAL: the image is not that of a space in this backend's context. ENOENT: there is no such IOAS.
    static Result<Restored> restore(const Backend& backend, const SpaceImage& image);
};

}  // namespace iommufd::inline v0_1::dma
