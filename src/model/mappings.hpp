// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What programs have mapped of the model's files, and what is to be done when the last page of a mapping is
// unmapped.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <set>
#include <utility>

#include "model/user.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

class Mappings {
    struct Mapping {
        user::Address first;
        std::set<std::uint64_t> pages;  // by their offset
        std::function<void()> gone;
    };

public:
    // All that a mapping needs but its address, so that nothing can fail once memory is mapped.
    using Prepared = std::list<Mapping>;

    static Prepared prepare(std::size_t length, std::function<void()> gone) {
        Prepared prepared;
        Mapping& mapping = prepared.emplace_back(Mapping{.first = 0, .pages = {}, .gone = std::move(gone)});
        for (std::size_t offset = 0; offset < length; offset += user::kPage)
            mapping.pages.insert(mapping.pages.end(), offset);
        return prepared;
    }

    void add(user::Address address, Prepared mapping) noexcept IOMMUFD_EXCLUDES(mutex_) {
        mapping.front().first = address;
        const sys::Lock lock(mutex_);
        all_.splice(all_.end(), mapping);
    }

    // Nothing of the model is there any more.
    void remove(user::Address address, std::size_t length) noexcept IOMMUFD_EXCLUDES(mutex_) {
        std::list<Mapping> gone;
        {
            const sys::Lock lock(mutex_);
            for (auto next = all_.begin(); next != all_.end();) {
                const auto mapping = next++;
                std::erase_if(mapping->pages, [&](std::uint64_t offset) {
                    const user::Address page = mapping->first + offset;
                    return page >= address && page - address < length;
                });
                if (mapping->pages.empty()) gone.splice(gone.end(), all_, mapping);
            }
        }
        for (const Mapping& mapping : gone) mapping.gone();
    }

    // All of them, with the process.
    void clear() noexcept IOMMUFD_EXCLUDES(mutex_) {
        std::list<Mapping> gone;
        {
            const sys::Lock lock(mutex_);
            gone.swap(all_);
        }
        for (const Mapping& mapping : gone) mapping.gone();
    }

private:
    sys::Mutex mutex_;
    std::list<Mapping> all_ IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace iommufd::inline v0_1::model
