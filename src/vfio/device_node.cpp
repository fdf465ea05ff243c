// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vfio/device_node.hpp"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/core/hw_info.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::vfio {

namespace abi = uapi::vfio;

DeviceNode::DeviceNode(User user, sys::Fd fd, std::string name, bool translated)
    : user_(std::move(user)),
      name_(std::move(name)),
      fd_(std::move(fd)),
      attachments_(*user_.context(), fd_, name_) {
    info_.translated = translated;
}

// The kernel ends a device's DMA before it detaches it, when the file is closed: so nothing is detached one
// by one here, which would let a running device fault.
DeviceNode::~DeviceNode() {
    if (auto closed = close(); !closed) context()->notice(Severity::error, closed.error());
}

Result<void> DeviceNode::close() noexcept {
    if (!fd_) return {};
    const bool owed = attachments_.end();
    const int result = fd_.close();
    // What could not be detached is now, and what it kept from being destroyed can be.
    if (owed) (void)context()->retry_releases();
    if (result < 0)
        return failed(Operation::close, -result,
                      [&] { return compose("closing ", name_, " reported a failure"); });
    return {};
}

int DeviceNode::bind(const VfToken* token) noexcept {
    abi::DeviceBindIommufd command{
        .argsz = sizeof command,
        .flags = token ? abi::kBindToken : 0,
        .iommufd = context()->fd().number(),
        .out_devid = 0,
        .token_uuid_ptr = token ? reinterpret_cast<std::uintptr_t>(token->data()) : 0};
    // Kernels without tokens know a shorter struct.
    if (!token) command.argsz = offsetof(abi::DeviceBindIommufd, token_uuid_ptr);
    const int result = ioctl(abi::kDeviceBindIommufd, &command);
    id_ = DeviceId{command.out_devid};
    return result;
}

Result<int> DeviceNode::call(Operation operation, unsigned long request, void* argument,
                             std::string_view what) const {
    const int result = ioctl(request, argument);
    if (result < 0)
        return failed(operation, -result, [&] { return compose("cannot ", what, " of ", name_); });
    return result;
}

Result<void> DeviceNode::describe() {
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
    return {};
}

Result<void> DeviceNode::start() {
    if (auto described = describe(); !described || !info_.is_pci) return described;
    if (auto armed = arm(Irq::request, request_); !armed) return armed;
    return arm(Irq::error, error_);
}

Result<void> DeviceNode::adopt(DeviceId id, sys::Fd request, sys::Fd error) {
    return guarded(Operation::get_hw_info, [&]() -> Result<void> {
        const auto known = core::hw_info(core::Context(context()), id);
        // Of a device without an IOMMU it is known that it is there, and no more.
        if (!known && known.error().code() != EOPNOTSUPP)
            return known.error().within(compose("cannot take over ", name_));
        id_ = id;
        request_ = std::move(request);
        error_ = std::move(error);
        return describe();
    });
}

Result<void> DeviceNode::arm(Irq irq, sys::Fd& eventfd) const {
    const auto info = irq_info(irq);
    // An index that the device doesn't have is no failure: it then never calls.
    if (!info && info.error().code() != EINVAL) return info.error();
    if (!info || info->count == 0 || !info->eventfd) return {};
    sys::Fd made(kernel(), ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
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

Result<HwptId> DeviceNode::attach(PageTableId table, Pasid pasid) {
    if (pasid)
        if (auto good = check_pasid(table, *pasid); !good) return good.error();
    return attachments_.attach(table, pasid);
}

// The kernel attaches a PASID of a device that has none, and does nothing; and takes PASID 0 for the device.
Result<void> DeviceNode::check_pasid(PageTableId table, std::uint32_t pasid) const {
    return guarded(Operation::vfio_attach, [&]() -> Result<void> {
        const auto info = core::hw_info(core::Context(context()), id_);
        if (!info) return info.error();
        const std::string what =
            compose("cannot attach ", name_, " (PASID ", pasid, ") to page table ", table.value);
        if (info->max_pasid_log2 == 0)
            return Error::refused(EOPNOTSUPP, what, "the device, or its IOMMU, has no PASIDs",
                                  "attach without a PASID");
        if (pasid == 0 || pasid >> info->max_pasid_log2 != 0)
            return Error::refused(
                EINVAL, what,
                compose("its PASIDs are those from 1 to ", (std::uint64_t{1} << info->max_pasid_log2) - 1),
                "choose one of them");
        return {};
    });
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
    // The last page may be a part of one; and a range of all 2^64 addresses has a length of 0.
    if (page_size == 0 || range.length() == 0 || bitmap.size() < (range.length() - 1) / page_size / 64 + 1)
        return guarded(Operation::vfio_feature, [&]() -> Result<void> {
            return Error::refused(EINVAL, compose("cannot read the DMA log of ", name_),
                                  "the bitmap has too few bits, or the range has no length that can be told",
                                  "pass a bit for each page of the range");
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
