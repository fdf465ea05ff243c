// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The ids of a context: small numbers from 1, the lowest free one first. Guarded by the lock of the context.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>

#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

struct Object {
    Object() = default;
    Object(const Object&) = delete;
    Object& operator=(const Object&) = delete;
    virtual ~Object() = default;

    std::uint32_t id = 0;
    unsigned users = 1;   // the table is one
    unsigned in_use = 0;  // by calls that wait; each is a user too
    bool hidden = false;  // is being made, or taken apart: nobody finds it
};

// A call lets go of the lock, and finds the object again when it has it back (Linux: iommufd_lock_obj()).
class InUse {
public:
    InUse(Object& object, sys::Condition& ended) noexcept : object_(object), ended_(ended) {
        ++object_.users;
        ++object_.in_use;
    }
    ~InUse() {
        --object_.users;
        if (--object_.in_use == 0) ended_.notify_all();
    }
    InUse(const InUse&) = delete;
    InUse& operator=(const InUse&) = delete;

private:
    Object& object_;
    sys::Condition& ended_;
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
    // The object goes, and its id is never given out again.
    void bury(Object& object) noexcept {
        objects_[object.id].reset();
        ++buried_;
    }

    Object* find(std::uint32_t id) const {
        const auto found = objects_.find(id);
        Object* const object = found == objects_.end() ? nullptr : found->second.get();
        return object == nullptr || object->hidden ? nullptr : object;
    }
    // Null, too, where the id names another kind of object.
    template <class T>
    T* find(std::uint32_t id) const {
        return dynamic_cast<T*>(find(id));
    }

    // Whether no id is taken.
    bool empty() const noexcept { return objects_.empty(); }
    std::size_t size() const noexcept { return objects_.size() - buried_; }
    // Of these, buried ones have no object.
    auto begin() const { return objects_.begin(); }
    auto end() const { return objects_.end(); }

private:
    std::map<std::uint32_t, std::unique_ptr<Object>> objects_;
    std::uint32_t first_free_ = 1;  // no id below it is free
    std::size_t buried_ = 0;
};

}  // namespace iommufd::inline v0_1::model
