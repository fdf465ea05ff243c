// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What programs have mapped of the model's files, and what each mapping keeps until its last page is unmapped.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "model/user.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

class Mappings {
public:
    void add(user::Address address, std::size_t length, std::shared_ptr<void> kept) IOMMUFD_EXCLUDES(mutex_) {
        std::set<user::Address> pages;
        for (std::size_t offset = 0; offset < length; offset += user::kPage) pages.insert(address + offset);
        const sys::Lock lock(mutex_);
        all_.push_back({.pages = std::move(pages), .kept = std::move(kept)});
    }

    // Nothing of the model is there any more.
    void remove(user::Address address, std::size_t length) IOMMUFD_EXCLUDES(mutex_) {
        std::vector<Mapping> gone;  // let go of without the mutex
        const sys::Lock lock(mutex_);
        for (Mapping& mapping : all_)
            mapping.pages.erase(mapping.pages.lower_bound(address),
                                mapping.pages.lower_bound(address + length));
        const auto first_gone =
            std::ranges::partition(all_, [](const Mapping& m) { return !m.pages.empty(); });
        std::ranges::move(first_gone, std::back_inserter(gone));
        all_.erase(first_gone.begin(), first_gone.end());
    }

    // All of them, with the process.
    void clear() IOMMUFD_EXCLUDES(mutex_) {
        std::vector<Mapping> gone;
        const sys::Lock lock(mutex_);
        gone.swap(all_);
    }

private:
    struct Mapping {
        std::set<user::Address> pages;
        std::shared_ptr<void> kept;
    };

    sys::Mutex mutex_;
    std::vector<Mapping> all_ IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace iommufd::inline v0_1::model
