// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The objects of a process, by id.
//
//     iommufd <--iommufd=-- dma-space <--space=-- dma-mapping --memdev=--> memory-backend-*
//        ^                      ^
//        |                    space=
//        '----iommufd=---- vfio-pci, vhost-vdpa, fd-server
//
//     object::Registry registry({.report = report});
//     registry.create(definitions).value();                // all of them, or none
//     auto device = registry.get<vfio::Device>("nvme0");   // what a frontend works with
//     registry.remove("iommufd0");                         // EBUSY: it is used by vfio-pci 'nvme0'
//     registry.clear();                                    // the last one first
//
// To create a dma-mapping is to map, to create a device with space= is to attach it; to delete them undoes
// that. An object can't be deleted while another one refers to it.
//
// The order in which definitions are written doesn't matter: what they refer to is created first, and else
// they are created in their order.
//
// Descriptors (fd=, vhostfd=): a number that this process was given. It becomes the object's own, is set
// close-on-exec, and is closed once, with the object. As long as the definitions are refused for what they
// say (unknown, repeated, closed, a directory, ...), nothing is touched; once creation has begun, every
// descriptor of the call is closed if it fails.
//
// Threads: calls that are const may run at once; create(), remove() and clear() must not run against any
// other call.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "iommufd/core/report.hpp"
#include "iommufd/error/result.hpp"
#include "iommufd/object/definition.hpp"
#include "iommufd/object/fd_server.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1 {

namespace sys {
class Kernel;
}
namespace dma {
class Mapping;
class Memory;
class Space;
}  // namespace dma
namespace vfio {
class Device;
}
namespace vdpa {
class Device;
}
namespace viommu {
class PageRequests;
}
class Backend;

namespace object {

// What an object is to a program.
using Handle = std::variant<const Backend*, const dma::Memory*, const dma::Space*, const dma::Mapping*,
                            const vfio::Device*, const vdpa::Device*, const FdServer*>;

struct ObjectInfo {
    Definition definition;
    std::vector<std::string> uses;     // ids that it refers to
    std::vector<std::string> used_by;  // ids that refer to it
};

class IOMMUFD_EXPORT Registry {
public:
    struct Options {
        Report report;                  // told what a destructor or an undo could not give back
        sys::Kernel* kernel = nullptr;  // nothing: the machine's own; else it must outlive the registry
        // Called with each VFIO device that is bound, before it is attached: for what only its driver knows
        // (set_dma_bits()). It may not call into the registry.
        std::function<void(const vfio::Device&)> before_attach;
        // Makes what an fd-server stands for; nothing: there can be none (EOPNOTSUPP). It may not call into the registry.
        ServeFds serve = {};
    };

    Registry() noexcept;
    explicit Registry(Options options) noexcept;
    // Does what clear() does, and reports what failed.
    ~Registry();
    Registry(const Registry&) = delete;
    Registry& operator=(const Registry&) = delete;

    // Creates all of them, or, on an error, none. EINVAL: see check(); EEXIST: the id is taken, or one
    // descriptor is given to two objects; ENOENT: no object has the id that is referred to; EBADF: the
    // descriptor isn't open. Else what creating one of them says; ENOMEM of mapping comes with what was
    // measured (explain()), and then its operation() is none.
    // `begins`, which may not throw, is called when nothing more is refused for what it says: from then on the
    // descriptors are the objects' own.
    Result<void> create(std::span<const Definition> definitions, const std::function<void()>& begins = {});
    Result<void> create(const Definition& definition) { return create(std::span(&definition, 1)); }

    // ENOENT: no such object. EBUSY: others refer to it, or use it; they are named. Else what the kernel
    // says; the object is gone then, unless a later remove() can still do something about it.
    Result<void> remove(std::string_view id);

    // Removes all, the last one first. Returns what failed; the objects are gone whatever that is.
    std::vector<Error> clear() noexcept;

    // The handle of an object, valid until the object is removed. ENOENT: no such object; EINVAL: of another
    // kind.
    template <class T>
    Result<const T*> get(std::string_view id) const {
        auto handle = find(id);
        if (!handle) return std::move(handle).error();
        if (const auto* const found = std::get_if<const T*>(&*handle)) return *found;
        return of_another_kind(id);
    }
    Result<Handle> find(std::string_view id) const;

    // What VFIO devices of a dma-space with faults=on ask for, valid as long as one of them is there. Who reads answers. Null:
    // there is no such space, or no such device in it.
    const viommu::PageRequests* page_requests(std::string_view space) const noexcept;

    // In the order in which they were created.
    std::vector<ObjectInfo> list() const;

    // The values of an object's properties as they are now: given, standard, or its state; those that have
    // none are left out. Lists are joined by commas. ENOENT: no such object, or no value for that key.
    Result<std::vector<Property>> properties(std::string_view id) const;
    Result<std::string> property(std::string_view id, std::string_view key) const;

    sys::Kernel& kernel() const noexcept;

private:
    friend struct Site;
    struct Entry;
    class Undo;

    const Entry* entry(std::string_view id) const noexcept;
    std::vector<std::string> referrers(std::string_view id) const;
    Error no_such_object(std::string_view id) const;
    Error of_another_kind(std::string_view id) const;
    Error with_evidence(Error error, const Definition& definition) const;

    const Options options_;
    std::vector<std::unique_ptr<Entry>> entries_;  // in the order of their creation
};

}  // namespace object
}  // namespace iommufd::inline v0_1
