// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/viommu/guest_device.hpp"

#include <algorithm>
#include <cerrno>

#include "core/node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/core/hw_info.hpp"
#include "viommu/guest_state.hpp"

namespace iommufd::inline v0_1::viommu {

class GuestState::Turn {
public:
    explicit Turn(GuestState& state) : state_(state) {
        const sys::Lock lock(state_.mutex_);
        while (state_.changing_) state_.changed_.wait(state_.mutex_);
        state_.changing_ = true;
    }
    ~Turn() {
        const sys::Lock lock(state_.mutex_);
        state_.changing_ = false;
        state_.changed_.notify_all();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

private:
    GuestState& state_;
};

GuestState::GuestState(std::shared_ptr<dma::Attachable> device) noexcept
    : device_(std::move(device)), inner_(*device_->iommu_device()) {}

GuestState::~GuestState() { device_->release_claim(); }

std::string GuestState::describe(Pasid pasid) const {
    return pasid ? compose(name(), " (PASID ", *pasid, ")") : name();
}

std::vector<GuestState::PasidTable>::iterator GuestState::find(std::uint32_t pasid) noexcept {
    return std::ranges::find(pasid_tables_, pasid, &PasidTable::pasid);
}

GuestState::Table GuestState::publish(Translation translation, Table table) noexcept {
    const sys::Lock lock(mutex_);
    translation_ = translation;
    table_.swap(table);
    return table;
}

Result<HwptId> GuestState::attach(PageTableId) {
    return guarded(Operation::vfio_attach, [&]() -> Result<HwptId> {
        return Error::refused(EOPNOTSUPP, compose("cannot nest a guest's tables of ", name()),
                              "its IOMMU's driver can't make a page table before it is attached",
                              "do without, and shadow the guest's tables in this space");
    });
}

Result<HwptId> GuestState::attach_to(const core::Hwpt& table) {
    const Turn turn(*this);
    auto attached = inner_.attach(table.id());
    if (!attached) return attached;
    const auto info = core::hw_info(core::Context(context()), id());
    pasids_ = info && info->max_pasid_log2 != 0;
    const sys::Lock lock(mutex_);
    parent_ = table.node();
    translation_ = Translation::bypass;
    return attached;
}

Result<void> GuestState::detach() {
    const Turn turn(*this);
    std::vector<PasidTable> pasid_tables;
    {
        const sys::Lock lock(mutex_);
        pasid_tables.swap(pasid_tables_);
    }
    Result<void> detached;
    for (const PasidTable& entry : pasid_tables)
        if (auto gone = inner_.detach_pasid(entry.pasid); !gone && detached) detached = std::move(gone);
    if (auto gone = inner_.detach(); !gone && detached) detached = std::move(gone);
    // Also when the kernel refused: what it keeps then is on the context's list, and retried.
    const Table old = publish(Translation::none, nullptr);
    std::shared_ptr<core::ObjectNode> parent;
    const sys::Lock lock(mutex_);
    parent.swap(parent_);
    return detached;
}

Translation GuestState::translation() const {
    const sys::Lock lock(mutex_);
    return translation_;
}

Result<core::Hwpt> GuestState::parent(std::string_view what) const {
    {
        const sys::Lock lock(mutex_);
        if (parent_) return core::Hwpt(parent_);
    }
    return Error::refused(ENODEV, std::string(what), "the device is in no space",
                          "attach this GuestDevice to a space first");
}

Result<core::Hwpt> GuestState::nest(core::HwData data, const InstallOptions& options,
                                    const core::Hwpt& parent) {
    const core::Context context(this->context());
    const auto make = [&] {
        const core::Hwpt::Options made{
            .label = options.label, .pasid = pasids_, .fault_queue = options.fault_queue, .data = data};
        return options.viommu ? core::Hwpt::nest(context, id(), *options.viommu, made)
                              : core::Hwpt::nest(context, id(), parent, made);
    };
    auto made = make();
    // SMMUv3's tables hold their PASIDs themselves, and take no flag.
    if (made || !pasids_ || options.pasid || made.error().code() != EOPNOTSUPP) return made;
    pasids_ = false;
    made = make();
    pasids_ = !made;  // it was refused for something else
    return made;
}

Result<void> GuestState::install(core::HwData data, const InstallOptions& options) {
    const Turn turn(*this);
    return guarded(Operation::hwpt_alloc, [&]() -> Result<void> {
        const std::string what = compose("cannot install a guest's table for ", describe(options.pasid));
        const auto parent = this->parent(what);
        if (!parent) return parent.error();
        if (options.viommu && !options.viommu->node()->stands_on(*parent->node()))
            return Error::refused(EXDEV, what,
                                  compose(options.viommu->node()->describe(), " doesn't stand on ",
                                          parent->node()->describe(), ", which the device has now"),
                                  "make a viommu by viommu() of this device after each attach");
        if (options.pasid) {
            const sys::Lock lock(mutex_);
            pasid_tables_.reserve(pasid_tables_.size() + 1);
        }
        auto made = nest(data, options, *parent);
        if (!made) return made.error().within(what);
        Table table = std::make_shared<const core::Hwpt>(std::move(*made));
        auto attached =
            options.pasid ? inner_.attach_pasid(table->id(), *options.pasid) : inner_.attach(table->id());
        if (!attached) return attached.error().within(what);
        if (!options.pasid) {
            const Table old = publish(Translation::nested, std::move(table));
            return {};
        }
        Table old;
        const sys::Lock lock(mutex_);
        const auto entry = find(*options.pasid);
        if (entry == pasid_tables_.end()) {
            pasid_tables_.push_back({.pasid = *options.pasid, .table = std::move(table)});
        } else {
            old = std::exchange(entry->table, std::move(table));
        }
        return {};
    });
}

Result<void> GuestState::bypass() {
    const Turn turn(*this);
    return guarded(Operation::vfio_attach, [&]() -> Result<void> {
        const std::string what = compose("cannot let ", name(), " bypass its guest's IOMMU");
        const auto parent = this->parent(what);
        if (!parent) return parent.error();
        if (auto attached = inner_.attach(parent->id()); !attached) return attached.error().within(what);
        const Table old = publish(Translation::bypass, nullptr);
        return {};
    });
}

Result<void> GuestState::block() {
    const Turn turn(*this);
    return guarded(Operation::vfio_detach, [&]() -> Result<void> {
        const std::string what = compose("cannot block ", name());
        if (const auto parent = this->parent(what); !parent) return parent.error();
        if (auto detached = inner_.detach(); !detached) return detached.error().within(what);
        const Table old = publish(Translation::blocked, nullptr);
        return {};
    });
}

Result<void> GuestState::remove(std::uint32_t pasid) {
    const Turn turn(*this);
    return guarded(Operation::vfio_detach, [&]() -> Result<void> {
        const std::string what = compose("cannot take the guest's table off ", describe(pasid));
        {
            const sys::Lock lock(mutex_);
            if (find(pasid) == pasid_tables_.end())
                return Error::refused(ENOENT, what, "it has none", "install one first");
        }
        if (auto detached = inner_.detach_pasid(pasid); !detached) return detached.error().within(what);
        Table old;
        const sys::Lock lock(mutex_);
        const auto entry = find(pasid);
        old = std::move(entry->table);
        pasid_tables_.erase(entry);
        return {};
    });
}

Result<void> GuestState::invalidate(const core::Invalidation& invalidation, std::uint32_t& done,
                                    Pasid pasid) const {
    done = 0;
    Table table;
    {
        const sys::Lock lock(mutex_);
        if (!pasid) {
            table = table_;
        } else if (const auto entry = std::ranges::find(pasid_tables_, *pasid, &PasidTable::pasid);
                   entry != pasid_tables_.end()) {
            table = entry->table;
        }
    }
    if (!table)
        return guarded(Operation::hwpt_invalidate, [&]() -> Result<void> {
            return Error::refused(ENOENT, compose("cannot invalidate for ", describe(pasid)),
                                  "no guest's table is attached", "there is nothing cached either: go on");
        });
    return table->invalidate(invalidation, done);
}

Result<core::Viommu> GuestState::viommu(const core::Viommu::Options& options) const {
    return guarded(Operation::viommu_alloc, [&]() -> Result<core::Viommu> {
        const auto parent = this->parent(compose("cannot make a viommu for ", name()));
        if (!parent) return parent.error();
        return core::Viommu::alloc(core::Context(context()), id(), *parent, options);
    });
}

Result<GuestDevice> GuestDevice::of(std::shared_ptr<dma::Attachable> device) {
    return guarded(Operation::none, [&]() -> Result<GuestDevice> {
        const auto refused = [&](int code, std::string cause, std::string next) {
            return Error::refused(code, compose("cannot give ", device->name(), " to a guest with an IOMMU"),
                                  std::move(cause), std::move(next));
        };
        if (!device->iommu_device())
            return refused(EINVAL, "it translates itself, and has no page table to nest in",
                           "use a device that VFIO gives");
        // The claim is the state's, wherever that is.
        const void* const claim = device.get();
        if (!device->claim(claim))
            return refused(EBUSY, "it is in a space, or given to a guest already", "detach it there first");
        try {
            return GuestDevice(std::make_shared<GuestState>(device));
        } catch (const std::bad_alloc&) {
            device->release_claim();
            throw;
        }
    });
}

GuestDevice::GuestDevice(std::shared_ptr<GuestState> state) noexcept
    : state_(std::move(state)), attachable_(state_) {}
GuestDevice::GuestDevice(GuestDevice&&) noexcept = default;
GuestDevice& GuestDevice::operator=(GuestDevice&&) noexcept = default;
GuestDevice::~GuestDevice() = default;

DeviceId GuestDevice::id() const noexcept { return state_->id(); }
Translation GuestDevice::translation() const { return state_->translation(); }
Result<void> GuestDevice::install(core::HwData table, const InstallOptions& options) const {
    return state_->install(table, options);
}
Result<void> GuestDevice::bypass() const { return state_->bypass(); }
Result<void> GuestDevice::block() const { return state_->block(); }
Result<void> GuestDevice::remove(std::uint32_t pasid) const { return state_->remove(pasid); }
Result<void> GuestDevice::invalidate(const core::Invalidation& invalidation, std::uint32_t& done,
                                     std::optional<std::uint32_t> pasid) const {
    return state_->invalidate(invalidation, done, pasid);
}
Result<core::Viommu> GuestDevice::viommu(core::Viommu::Options options) const {
    return state_->viommu(options);
}
Result<core::Vdevice> GuestDevice::vdevice(const core::Viommu& viommu, std::uint64_t virtual_id) const {
    return core::Vdevice::alloc(core::Context(state_->context()), viommu, id(), virtual_id, state_->name());
}

}  // namespace iommufd::inline v0_1::viommu
