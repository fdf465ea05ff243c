// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The objects of a context, and the table of their ids: small numbers from 1, the lowest free one first.
//
//     Ioas <--(users)-- Hwpt <--(users)-- BoundDevice
//
// Guarded by the lock of the context.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "model/dma_port.hpp"
#include "model/domain.hpp"
#include "model/io_pagetable.hpp"

namespace iommufd::inline v0_1::model {

struct Object {
    Object() = default;
    Object(const Object&) = delete;
    Object& operator=(const Object&) = delete;
    virtual ~Object() = default;

    std::uint32_t id = 0;
    unsigned users = 1;  // the table is one
};

struct Hwpt;

struct Ioas final : Object {
    IoPagetable iopt;
    std::vector<Hwpt*> hwpts;  // in the order in which they came
};

// A hardware page table: a domain that follows an IOAS.
struct Hwpt final : Object {
    Ioas* ioas = nullptr;
    std::shared_ptr<Domain> domain;
    bool automatic = false;  // made by an attach, gone with the last detach
};

struct BoundDevice final : Object {
    DmaPort* port = nullptr;
    Hwpt* hwpt = nullptr;  // while attached
};

class ObjectTable {
public:
    // Takes an id; the object is found from now on.
    template <class T>
    T& add(std::unique_ptr<T> object) {
        std::uint32_t id = first_free_;
        for (auto taken = objects_.lower_bound(id); taken != objects_.end() && taken->first == id; ++taken)
            ++id;
        object->id = id;
        T& added = *object;
        objects_[id] = std::move(object);
        first_free_ = id + 1;
        return added;
    }

    void remove(Object& object) noexcept {
        const std::uint32_t id = object.id;
        first_free_ = std::min(first_free_, id);
        objects_.erase(id);
    }

    Object* find(std::uint32_t id) const {
        const auto found = objects_.find(id);
        return found == objects_.end() ? nullptr : found->second.get();
    }
    // Null, too, where the id names another kind of object.
    template <class T>
    T* find(std::uint32_t id) const {
        return dynamic_cast<T*>(find(id));
    }

    bool empty() const noexcept { return objects_.empty(); }
    std::size_t size() const noexcept { return objects_.size(); }
    auto begin() const { return objects_.begin(); }
    auto end() const { return objects_.end(); }

private:
    std::map<std::uint32_t, std::unique_ptr<Object>> objects_;
    std::uint32_t first_free_ = 1;  // no id below it is free
};

}  // namespace iommufd::inline v0_1::model
