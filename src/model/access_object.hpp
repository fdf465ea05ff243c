// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Someone who reaches the memory of an IOAS without a device of its own (Linux: iommufd_access).
#pragma once

#include <vector>

#include "model/objects.hpp"

namespace iommufd::inline v0_1::model {

struct AccessObject final : Object, IovaUser {
    struct Item {  // a range that is pinned
        std::uint64_t iova;
        std::uint64_t length;
        std::uint32_t id;
    };

    // One that pins works on whole pages.
    explicit AccessObject(bool pins_pages) : pins(pins_pages) {}

    std::uint64_t alignment() const override { return pins ? user::kPage : 1; }
    void let_go(std::uint64_t first, std::uint64_t last) override {
        std::erase_if(items, [&](const Item& item) {
            if (first > item.iova + item.length - 1 || last < item.iova) return false;
            ioas->iopt.unpin(item.iova, item.length, false);
            return true;
        });
    }

    const bool pins;
    Ioas* ioas = nullptr;
    std::vector<Item> items;
    std::uint32_t next_item = 0;
};

}  // namespace iommufd::inline v0_1::model
