// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/core/hwpt.hpp"

#include <cerrno>

#include "core/invalidate.hpp"
#include "core/node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/core/fault_queue.hpp"
#include "iommufd/core/viommu.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::core {

Result<void> invalidate(const ObjectNode& target, const Invalidation& invalidation, std::uint32_t& done) {
    done = 0;
    const std::size_t size = invalidation.entries.size();
    const std::size_t length = invalidation.entry_length;
    if (length == 0 ? size != 0 : size % length != 0)
        return guarded(Operation::hwpt_invalidate, [&]() -> Result<void> {
            return Error::refused(EINVAL, compose("cannot invalidate in ", target.describe()),
                                  compose(size, " bytes are no whole number of entries of ", length),
                                  "give as many bytes as the entries have");
        });
    const std::size_t count = length == 0 ? 0 : size / length;
    uapi::HwptInvalidate command{.size = sizeof command,
                                 .hwpt_id = target.id(),
                                 .data_uptr = reinterpret_cast<std::uintptr_t>(invalidation.entries.data()),
                                 .data_type = invalidation.type,
                                 .entry_len = invalidation.entry_length,
                                 .entry_num = static_cast<std::uint32_t>(count),
                                 .reserved = 0};
    const int result = target.context().ioctl(uapi::kHwptInvalidate, &command);
    if (result >= 0 || command.entry_num < count) done = command.entry_num;
    if (result < 0)
        return failed(Operation::hwpt_invalidate, -result, [&] {
            return compose("cannot invalidate entry ", done, " of ", count, " of ", target.describe());
        });
    return {};
}

Result<Hwpt> Hwpt::make(const Context& context, DeviceId device, const std::shared_ptr<ObjectNode>& parent,
                        const Options& options) {
    return guarded(Operation::hwpt_alloc, [&]() -> Result<Hwpt> {
        ObjectNode::Parents parents{parent};
        if (options.fault_queue) parents.push_back(options.fault_queue->node());
        auto node = std::make_shared<ObjectNode>(context.node(), "hwpt", options.label, std::move(parents));
        uapi::HwptAlloc command{.size = sizeof command,
                                .flags = (options.nest_parent ? uapi::kHwptNestParent : 0) |
                                         (options.dirty_tracking ? uapi::kHwptDirtyTracking : 0) |
                                         (options.fault_queue ? uapi::kHwptFaultIdValid : 0) |
                                         (options.pasid ? uapi::kHwptPasid : 0),
                                .dev_id = device.value,
                                .pt_id = parent->id(),
                                .out_hwpt_id = 0,
                                .reserved = 0,
                                .data_type = options.data.type,
                                .data_len = static_cast<std::uint32_t>(options.data.bytes.size()),
                                .data_uptr = reinterpret_cast<std::uintptr_t>(options.data.bytes.data()),
                                .fault_id = options.fault_queue ? options.fault_queue->id().value : 0,
                                .reserved2 = 0};
        if (const int result = context.node()->allocate(uapi::kHwptAlloc, &command, command.out_hwpt_id);
            result < 0)
            return failed(Operation::hwpt_alloc, -result, [&] {
                return compose("cannot make a page table for device ", device.value, " in ",
                               parent->describe());
            });
        node->born(command.out_hwpt_id);
        return Hwpt(std::move(node));
    });
}

Result<Hwpt> Hwpt::alloc(const Context& context, DeviceId device, const Ioas& ioas) {
    return make(context, device, ioas.node(), {});
}

Result<Hwpt> Hwpt::alloc(const Context& context, DeviceId device, const Ioas& ioas, Options options) {
    return make(context, device, ioas.node(), options);
}

Result<Hwpt> Hwpt::nest(const Context& context, DeviceId device, const Hwpt& parent, Options options) {
    return make(context, device, parent.node(), options);
}

Result<Hwpt> Hwpt::nest(const Context& context, DeviceId device, const Viommu& viommu, Options options) {
    return make(context, device, viommu.node(), options);
}

Result<Hwpt> Hwpt::adopt(const Context& context, HwptId id, const Ioas& ioas, Options options) {
    return guarded(Operation::hwpt_alloc, [&]() -> Result<Hwpt> {
        if (!id)
            return Error::refused(EINVAL,
                                  compose("cannot take over a page table of ", ioas.node()->describe()),
                                  "0 is no id", "pass the id that its maker was given");
        auto node = std::make_shared<ObjectNode>(context.node(), "hwpt", options.label,
                                                 ObjectNode::Parents{ioas.node()});
        node->born(id.value);
        return Hwpt(std::move(node));
    });
}

Hwpt::Hwpt(std::shared_ptr<ObjectNode> node) noexcept : node_(std::move(node)) {}
Hwpt::Hwpt(Hwpt&&) noexcept = default;
Hwpt& Hwpt::operator=(Hwpt&&) noexcept = default;
Hwpt::~Hwpt() = default;

HwptId Hwpt::id() const noexcept { return HwptId{node_->id()}; }

Result<void> Hwpt::set_dirty_tracking(bool on) const {
    uapi::HwptSetDirtyTracking command{.size = sizeof command,
                                       .flags = on ? uapi::kDirtyTrackingEnable : 0,
                                       .hwpt_id = node_->id(),
                                       .reserved = 0};
    if (const int result = node_->context().ioctl(uapi::kHwptSetDirtyTracking, &command); result < 0)
        return failed(Operation::hwpt_set_dirty_tracking, -result, [&] {
            return compose("cannot ", on ? "start" : "stop", " dirty tracking of ", node_->describe());
        });
    return {};
}

Result<void> Hwpt::read_dirty(Range range, std::uint64_t page_size, std::span<std::uint64_t> bitmap,
                              Dirty after) const {
    const auto what = [&] {
        return compose("cannot read the dirty pages of ", Hex{range.first.value}, "+", Hex{range.length()},
                       " of ", node_->describe());
    };
    // The kernel checks neither: a bad pointer loses bits in silence.
    if (page_size == 0 || range.length() % page_size != 0 || range.length() == 0 ||
        bitmap.size() * 64 < range.length() / page_size)
        return guarded(Operation::hwpt_get_dirty_bitmap, [&]() -> Result<void> {
            return Error::refused(EINVAL, what(),
                                  "the bitmap has too few bits, or the range is no multiple of the page",
                                  "pass a bit for each page of the range");
        });
    uapi::HwptGetDirtyBitmap command{.size = sizeof command,
                                     .hwpt_id = node_->id(),
                                     .flags = after == Dirty::keep ? uapi::kDirtyBitmapNoClear : 0,
                                     .reserved = 0,
                                     .iova = range.first.value,
                                     .length = range.length(),
                                     .page_size = page_size,
                                     .data = reinterpret_cast<std::uintptr_t>(bitmap.data())};
    if (const int result = node_->context().ioctl(uapi::kHwptGetDirtyBitmap, &command); result < 0)
        return failed(Operation::hwpt_get_dirty_bitmap, -result, what);
    return {};
}

Result<void> Hwpt::invalidate(const Invalidation& invalidation, std::uint32_t& done) const {
    return core::invalidate(*node_, invalidation, done);
}

Result<void> Hwpt::destroy() && { return core::destroy(node_); }

}  // namespace iommufd::inline v0_1::core
