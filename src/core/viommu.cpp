// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/core/viommu.hpp"

#include <sys/mman.h>

#include <cerrno>

#include "core/invalidate.hpp"
#include "core/node.hpp"
#include "core/unmapping.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::core {

Result<Viommu> Viommu::alloc(const Context& context, DeviceId device, const Hwpt& parent, Options options) {
    return guarded(Operation::viommu_alloc, [&]() -> Result<Viommu> {
        auto node = std::make_shared<ObjectNode>(context.node(), "viommu", options.label,
                                                 ObjectNode::Parents{parent.node()});
        uapi::ViommuAlloc command{.size = sizeof command,
                                  .flags = 0,
                                  .type = options.type,
                                  .dev_id = device.value,
                                  .hwpt_id = parent.id().value,
                                  .out_viommu_id = 0,
                                  .data_len = static_cast<std::uint32_t>(options.data.size()),
                                  .reserved = 0,
                                  .data_uptr = reinterpret_cast<std::uintptr_t>(options.data.data())};
        if (const int result = context.node()->allocate(uapi::kViommuAlloc, &command, command.out_viommu_id);
            result < 0)
            return failed(Operation::viommu_alloc, -result, [&] {
                return compose("cannot make a viommu of type ", options.type, " for device ", device.value,
                               " on ", parent.node()->describe());
            });
        node->born(command.out_viommu_id);
        return Viommu(std::move(node));
    });
}

Viommu::Viommu(std::shared_ptr<ObjectNode> node) noexcept : node_(std::move(node)) {}
Viommu::Viommu(Viommu&&) noexcept = default;
Viommu& Viommu::operator=(Viommu&&) noexcept = default;
Viommu::~Viommu() = default;

ViommuId Viommu::id() const noexcept { return ViommuId{node_->id()}; }

Result<void> Viommu::invalidate(const Invalidation& invalidation, std::uint32_t& done) const {
    return core::invalidate(*node_, invalidation, done);
}

Result<MmioMapping> Viommu::mmap(std::uint64_t offset, std::uint64_t length) const {
    return guarded(Operation::iommufd_mmap, [&]() -> Result<MmioMapping> {
        const sys::Fd& fd = node_->context().fd();
        auto unmapping =
            std::make_unique<Unmapping>(fd.kernel(), compose("registers of ", node_->describe()));
        void* address = nullptr;
        if (const int result =
                fd.kernel().mmap(&address, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd.number(), offset);
            result < 0)
            return failed(Operation::iommufd_mmap, -result, [&] {
                return compose("cannot map ", Hex{offset}, "+", Hex{length}, " of the registers of ",
                               node_->describe());
            });
        unmapping->mapped(address, length);
        return MmioMapping(node_, std::move(unmapping));
    });
}

Result<void> Viommu::destroy() && { return core::destroy(node_); }

MmioMapping::MmioMapping(std::shared_ptr<ObjectNode> owner, std::unique_ptr<Unmapping> unmapping) noexcept
    : owner_(std::move(owner)), unmapping_(std::move(unmapping)) {}
MmioMapping::MmioMapping(MmioMapping&& other) noexcept = default;

MmioMapping& MmioMapping::operator=(MmioMapping&& other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(unmapping_, other.unmapping_);
    return *this;
}

MmioMapping::~MmioMapping() {
    if (unmapping_) (void)owner_->context().release(std::move(unmapping_));
}

volatile void* MmioMapping::data() const noexcept { return unmapping_->address(); }
std::uint64_t MmioMapping::size() const noexcept { return unmapping_->length(); }

Result<Vdevice> Vdevice::alloc(const Context& context, const Viommu& viommu, DeviceId device,
                               std::uint64_t virtual_id, std::string_view label) {
    return guarded(Operation::vdevice_alloc, [&]() -> Result<Vdevice> {
        auto node = std::make_shared<ObjectNode>(context.node(), "vdevice", label,
                                                 ObjectNode::Parents{viommu.node()});
        uapi::VdeviceAlloc command{.size = sizeof command,
                                   .viommu_id = viommu.id().value,
                                   .dev_id = device.value,
                                   .out_vdevice_id = 0,
                                   .virt_id = virtual_id};
        if (const int result =
                context.node()->allocate(uapi::kVdeviceAlloc, &command, command.out_vdevice_id);
            result < 0)
            return failed(Operation::vdevice_alloc, -result, [&] {
                return compose("cannot make device ", device.value, " the virtual device ", Hex{virtual_id},
                               " of ", viommu.node()->describe());
            });
        node->born(command.out_vdevice_id);
        node->may_be_gone();  // with its device
        return Vdevice(std::move(node));
    });
}

Vdevice::Vdevice(std::shared_ptr<ObjectNode> node) noexcept : node_(std::move(node)) {}
Vdevice::Vdevice(Vdevice&&) noexcept = default;
Vdevice& Vdevice::operator=(Vdevice&&) noexcept = default;
Vdevice::~Vdevice() = default;

VdeviceId Vdevice::id() const noexcept { return VdeviceId{node_->id()}; }
Result<void> Vdevice::destroy() && { return core::destroy(node_); }

namespace {

Result<std::shared_ptr<ObjectNode>> make_queue(const Context& context, const Viommu& viommu, Range memory,
                                               const HwQueue::Options& options, ObjectNode::Parents parents) {
    auto node = std::make_shared<ObjectNode>(context.node(), "hw queue", options.label, std::move(parents));
    uapi::HwQueueAlloc command{.size = sizeof command,
                               .flags = 0,
                               .viommu_id = viommu.id().value,
                               .type = options.type,
                               .index = options.index,
                               .out_hw_queue_id = 0,
                               .nesting_parent_iova = memory.first.value,
                               .length = memory.length()};
    if (const int result = context.node()->allocate(uapi::kHwQueueAlloc, &command, command.out_hw_queue_id);
        result < 0)
        return failed(Operation::hw_queue_alloc, -result, [&] {
            return compose("cannot make hardware queue ", options.index, " (memory at ",
                           Hex{memory.first.value}, "+", Hex{memory.length()}, ") of ",
                           viommu.node()->describe());
        });
    node->born(command.out_hw_queue_id);
    return node;
}

}  // namespace

Result<HwQueue> HwQueue::alloc(const Context& context, const Viommu& viommu, Range memory, Options options) {
    return guarded(Operation::hw_queue_alloc, [&] {
        return make_queue(context, viommu, memory, options, {viommu.node()}).transform([](auto node) {
            return HwQueue(std::move(node));
        });
    });
}

Result<HwQueue> HwQueue::alloc(const Context& context, const Viommu& viommu, Range memory, Options options,
                               const HwQueue& previous) {
    return guarded(Operation::hw_queue_alloc, [&] {
        return make_queue(context, viommu, memory, options, {viommu.node(), previous.node_})
            .transform([](auto node) { return HwQueue(std::move(node)); });
    });
}

HwQueue::HwQueue(std::shared_ptr<ObjectNode> node) noexcept : node_(std::move(node)) {}
HwQueue::HwQueue(HwQueue&&) noexcept = default;
HwQueue& HwQueue::operator=(HwQueue&&) noexcept = default;
HwQueue::~HwQueue() = default;

HwQueueId HwQueue::id() const noexcept { return HwQueueId{node_->id()}; }
Result<void> HwQueue::destroy() && { return core::destroy(node_); }

}  // namespace iommufd::inline v0_1::core
