// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How the types of the table come to life: one row for each, made of functions in the files types_*.cpp.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "iommufd/object/registry.hpp"
#include "iommufd/viommu/page_requests.hpp"
#include "object/descriptors.hpp"
#include "object/values.hpp"

namespace iommufd::inline v0_1::object {

// An object that exists. Its destructor does what destroy() does, if that is still to be done, and reports
// failures through its handles.
class Object {
public:
    Object() = default;
    Object(const Object&) = delete;
    Object& operator=(const Object&) = delete;
    virtual ~Object() = default;

    virtual Handle handle() const noexcept = 0;
    // The open file that it stands on; -1: none now.
    virtual int descriptor() const noexcept { return -1; }
    // The value of a property that it knows better than its definition; nothing: it has none, or doesn't.
    virtual std::optional<std::string> value(std::string_view key) const = 0;

    // Of a dma-space: where page requests of devices go that are attached through `context`. Null: nowhere.
    virtual Result<std::shared_ptr<const viommu::PageRequests>> page_requests(
        const core::Context& /*context*/) {
        return std::shared_ptr<const viommu::PageRequests>();
    }
    // The same that such devices have now.
    virtual const viommu::PageRequests* page_requests() const noexcept { return nullptr; }

    // Gives back what it holds. After an error is_gone() says whether anything is left to try again.
    virtual Result<void> destroy() = 0;
    virtual bool is_gone() const noexcept = 0;
};

// What creating an object needs besides its values.
struct Site {
    const Registry& registry;  // has all that the object refers to
    const Registry::Options& options;
    Descriptors& descriptors;

    sys::Kernel& kernel() const noexcept { return registry.kernel(); }
    // Of one that is there.
    Object& object(std::string_view id) const noexcept;
};

// The definition with an id, of an object that exists or is to be created; null: there is none.
using FindDefinition = std::function<const Definition*(std::string_view id)>;

using Made = Result<std::unique_ptr<Object>>;

struct Kind {
    std::string_view type;
    Made (*create)(const Values& values, const Site& site);
    // Rules that the table can't say; null: none.
    Result<void> (*check)(const Values& values) = nullptr;
    // Rules about what it refers to, which is there and of the right types; null: none.
    Result<void> (*check_references)(const Values& values, const FindDefinition& find) = nullptr;
};

const Kind& kind_of(const TypeInfo& type) noexcept;

Made create_iommufd(const Values& values, const Site& site);

Made create_memfd(const Values& values, const Site& site);
Made create_file(const Values& values, const Site& site);
Made create_ram(const Values& values, const Site& site);
Result<void> check_memory(const Values& values);
// Whether the machine has that much memory at all, before every page of it is touched. ENOMEM.
Result<void> check_machine_has(std::uint64_t length, std::string_view label, const Site& site);

Made create_space(const Values& values, const Site& site);
Made create_mapping(const Values& values, const Site& site);
Result<void> check_mapping(const Values& values);

Made create_vfio_pci(const Values& values, const Site& site);
Result<void> check_vfio(const Values& values);
Result<void> check_vfio_references(const Values& values, const FindDefinition& find);

Made create_vhost_vdpa(const Values& values, const Site& site);

Made create_fd_server(const Values& values, const Site& site);
Result<void> check_fd_server(const Values& values);

}  // namespace iommufd::inline v0_1::object
