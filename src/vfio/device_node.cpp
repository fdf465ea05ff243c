// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vfio/device_node.hpp"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstring>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/vfio/features.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::vfio {

namespace abi = uapi::vfio;

DeviceNode::DeviceNode(User user, sys::Fd fd, DeviceId id, std::string name, bool translated)
    : user_(std::move(user)), fd_(std::move(fd)), id_(id), name_(std::move(name)) {
    info_.translated = translated;
}

Result<int> DeviceNode::call(Operation operation, unsigned long request, void* argument,
                             std::string_view what) const {
    const int result = ioctl(request, argument);
    if (result < 0)
        return failed(operation, -result, [&] { return compose("cannot ", what, " of ", name_); });
    return result;
}

Result<void> DeviceNode::start() {
    abi::DeviceInfo info{};
    info.argsz = sizeof info;
    if (auto got = call(Operation::vfio_get_info, abi::kDeviceGetInfo, &info, "read the description"); !got)
        return got.error();
    info_ = {.translated = info_.translated,
             .is_pci = (info.flags & abi::kDeviceFlagPci) != 0,
             .resets = (info.flags & abi::kDeviceFlagReset) != 0,
             .regions = info.num_regions,
             .interrupts = info.num_irqs};
    logs_dma_ = has_feature(abi::kFeatureDmaLoggingStart, abi::kFeatureSet);
    if (!info_.is_pci) return {};
    if (auto armed = arm(Irq::request, request_); !armed) return armed;
    return arm(Irq::error, error_);
}

Result<void> DeviceNode::arm(Irq irq, sys::Fd& eventfd) const {
    const auto info = irq_info(irq);
    // An index that the device doesn't have is no failure: it then never calls.
    if (!info || info->count == 0) return {};
    sys::Fd made(fd_.kernel(), ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!made)
        return failed(Operation::vfio_set_irqs, errno,
                      [&] { return compose("cannot make an eventfd for ", name_); });
    const int number = made.number();
    auto set =
        set_irqs(abi::kIrqSetDataEventfd | abi::kIrqSetTrigger, irq, 0, 1, {&number, 1}, "arm an interrupt");
    if (!set) return set;
    eventfd = std::move(made);
    return {};
}

Result<IrqInfo> DeviceNode::irq_info(Irq irq) const {
    abi::IrqInfo info{.argsz = sizeof info, .flags = 0, .index = static_cast<std::uint32_t>(irq), .count = 0};
    return call(Operation::vfio_get_irq_info, abi::kDeviceGetIrqInfo, &info, "describe an interrupt")
        .transform([&](int) {
            return IrqInfo{.count = info.count,
                           .eventfd = (info.flags & abi::kIrqEventfd) != 0,
                           .maskable = (info.flags & abi::kIrqMaskable) != 0,
                           .automasked = (info.flags & abi::kIrqAutomasked) != 0,
                           .noresize = (info.flags & abi::kIrqNoresize) != 0};
        });
}

Result<void> DeviceNode::set_irqs(std::uint32_t flags, Irq irq, std::uint32_t first, std::uint32_t count,
                                  std::span<const int> eventfds, std::string_view what) const {
    return guarded(Operation::vfio_set_irqs, [&]() -> Result<void> {
        std::vector<std::byte> buffer(sizeof(abi::IrqSet) + eventfds.size_bytes());
        const abi::IrqSet header{.argsz = static_cast<std::uint32_t>(buffer.size()),
                                 .flags = flags,
                                 .index = static_cast<std::uint32_t>(irq),
                                 .start = first,
                                 .count = count};
        std::memcpy(buffer.data(), &header, sizeof header);
        if (!eventfds.empty())
            std::memcpy(buffer.data() + sizeof header, eventfds.data(), eventfds.size_bytes());
        auto set = call(Operation::vfio_set_irqs, abi::kDeviceSetIrqs, buffer.data(), what);
        if (!set) return set.error();
        // A positive answer is no success: so many vectors there would be, and none was enabled.
        if (*set > 0)
            return Error::refused(ENOSPC, compose("cannot ", what, " of ", name_),
                                  compose("the device has ", *set, " vectors to give, not ", count),
                                  "ask for no more than that");
        return {};
    });
}

Result<int> DeviceNode::feature(std::uint32_t index, std::uint32_t use, std::span<std::byte> data,
                                std::string_view what) const {
    return guarded(Operation::vfio_feature, [&]() -> Result<int> {
        std::vector<std::byte> buffer(sizeof(abi::DeviceFeature) + data.size());
        const abi::DeviceFeature header{.argsz = static_cast<std::uint32_t>(buffer.size()),
                                        .flags = index | use};
        std::memcpy(buffer.data(), &header, sizeof header);
        if (!data.empty()) std::memcpy(buffer.data() + sizeof header, data.data(), data.size());
        auto result = call(Operation::vfio_feature, abi::kDeviceFeature, buffer.data(), what);
        if (result && !data.empty()) std::memcpy(data.data(), buffer.data() + sizeof header, data.size());
        return result;
    });
}

bool DeviceNode::has_feature(std::uint32_t index, std::uint32_t use) const noexcept {
    abi::DeviceFeature probe{.argsz = sizeof probe, .flags = index | use | abi::kFeatureProbe};
    return ioctl(abi::kDeviceFeature, &probe) >= 0;
}

Result<HwptId> DeviceNode::attach(PageTableId table, const std::uint32_t* pasid) {
    abi::DeviceAttachIommufdPt command{.argsz = sizeof command,
                                       .flags = pasid ? abi::kAttachPasid : 0,
                                       .pt_id = table.value,
                                       .pasid = pasid ? *pasid : 0};
    if (const int result = ioctl(abi::kDeviceAttachIommufdPt, &command); result < 0)
        return failed(Operation::vfio_attach, -result, [&] {
            return compose("cannot attach ", name_, pasid ? compose(" (PASID ", *pasid, ")") : std::string(),
                           " to page table ", table.value, " of '", context()->label(), "'");
        });
    return HwptId{command.pt_id};
}

Result<void> DeviceNode::detach(const std::uint32_t* pasid) {
    abi::DeviceDetachIommufdPt command{
        .argsz = sizeof command, .flags = pasid ? abi::kAttachPasid : 0, .pasid = pasid ? *pasid : 0};
    if (const int result = ioctl(abi::kDeviceDetachIommufdPt, &command); result < 0)
        return failed(Operation::vfio_detach, -result,
                      [&] { return compose("cannot detach ", name_, ", which closing it will"); });
    return {};
}

Result<void> DeviceNode::start_dirty(std::span<const Range> ranges, std::uint64_t page_size) {
    return guarded(Operation::vfio_feature, [&]() -> Result<void> {
        std::vector<abi::FeatureDmaLoggingRange> list;
        list.reserve(ranges.size());
        for (const Range& range : ranges)
            list.push_back({.iova = range.first.value, .length = range.length()});
        abi::FeatureDmaLoggingControl control{.page_size = page_size,
                                              .num_ranges = static_cast<std::uint32_t>(list.size()),
                                              .reserved = 0,
                                              .ranges = reinterpret_cast<std::uintptr_t>(list.data())};
        return feature(abi::kFeatureDmaLoggingStart, abi::kFeatureSet,
                       std::as_writable_bytes(std::span(&control, 1)), "start the DMA log")
            .transform([](int) {});
    });
}

Result<void> DeviceNode::stop_dirty() {
    return feature(abi::kFeatureDmaLoggingStop, abi::kFeatureSet, {}, "stop the DMA log").transform([](int) {
    });
}

Result<void> DeviceNode::read_dirty(Range range, std::uint64_t page_size, std::span<std::uint64_t> bitmap) {
    if (page_size == 0 || range.length() == 0 || bitmap.size() * 64 < range.length() / page_size)
        return guarded(Operation::vfio_feature, [&]() -> Result<void> {
            return Error::refused(EINVAL, compose("cannot read the DMA log of ", name_),
                                  "the bitmap has too few bits", "pass a bit for each page of the range");
        });
    abi::FeatureDmaLoggingReport report{.iova = range.first.value,
                                        .length = range.length(),
                                        .page_size = page_size,
                                        .bitmap = reinterpret_cast<std::uintptr_t>(bitmap.data())};
    return feature(abi::kFeatureDmaLoggingReport, abi::kFeatureGet,
                   std::as_writable_bytes(std::span(&report, 1)), "read the DMA log")
        .transform([](int) {});
}

}  // namespace iommufd::inline v0_1::vfio
