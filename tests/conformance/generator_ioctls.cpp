// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The ioctls of /dev/iommu.
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <span>

#include "conformance/generator.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::conformance {

namespace mock = uapi::mock;
using uapi::vfio::IommuType1DmaMap;
using uapi::vfio::IommuType1DmaUnmap;

Call Generator::ioas_alloc() {
    Call call = ioctl("IOAS_ALLOC", uapi::kIoasAlloc, uapi::IoasAlloc{.flags = rarely(1)});
    call.outputs = {{Kind::ioas, offsetof(uapi::IoasAlloc, out_ioas_id), 4}};
    return call;
}

Call Generator::map() {
    Call call = ioctl("IOAS_MAP", uapi::kIoasMap,
                      uapi::IoasMap{.flags = map_flags(),
                                    .reserved = chance(1) ? 1U : 0U,
                                    .user_va = address(),
                                    .length = length(),
                                    .iova = iova()});
    refer(call, offsetof(uapi::IoasMap, ioas_id), object({Kind::ioas}));
    return call;
}

Call Generator::map_file() {
    std::uint64_t start = kPage * below(Arena::kFile.pages);
    if (chance(10))
        start = pick<std::uint64_t>({1, 2048, ~0UL, ~0UL - kPage + 1, 1UL << 63, Arena::kFile.pages * kPage});
    Call call =
        ioctl("IOAS_MAP_FILE", uapi::kIoasMapFile,
              uapi::IoasMapFile{.flags = map_flags(), .start = start, .length = length(), .iova = iova()});
    refer(call, offsetof(uapi::IoasMapFile, ioas_id), object({Kind::ioas}));
    Reference file{.call = Call::kMemfd};
    if (chance(25)) file = exactly({Kind::dma_buffer_fd});
    if (chance(3)) file = {.call = Call::kEventfd};
    refer_descriptor(call, offsetof(uapi::IoasMapFile, fd), file);
    return call;
}

Call Generator::copy() {
    const Reference from = object({Kind::ioas});
    uapi::IoasCopy command{.flags = map_flags(), .dst_iova = iova()};
    near_mapped(from, command.src_iova, command.length);
    Call call = ioctl("IOAS_COPY", uapi::kIoasCopy, command);
    refer(call, offsetof(uapi::IoasCopy, dst_ioas_id), object({Kind::ioas}));
    refer(call, offsetof(uapi::IoasCopy, src_ioas_id), from);
    return call;
}

Call Generator::unmap() {
    const Reference from = object({Kind::ioas});
    uapi::IoasUnmap command{};
    near_mapped(from, command.iova, command.length);
    if (chance(6)) {
        command.iova = 0;
        command.length = ~0UL;
    }
    Call call = ioctl("IOAS_UNMAP", uapi::kIoasUnmap, command);
    refer(call, offsetof(uapi::IoasUnmap, ioas_id), from);
    return call;
}

Call Generator::allow_iovas() {
    std::array<uapi::IovaRange, 4> ranges{};
    const auto count = static_cast<std::uint32_t>(below(5));
    for (uapi::IovaRange& range : ranges) {
        range.start = iova() & (chance(90) ? ~0xfffUL : ~0UL);
        range.last = range.start + (chance(80) ? (kPage << below(20)) - 1 : length());
    }
    Call call = ioctl("IOAS_ALLOW_IOVAS", uapi::kIoasAllowIovas,
                      uapi::IoasAllowIovas{.num_iovas = count, .reserved = rarely(1)});
    refer(call, offsetof(uapi::IoasAllowIovas, ioas_id), object({Kind::ioas}));
    attach_buffer(call, offsetof(uapi::IoasAllowIovas, allowed_iovas), bytes_of(ranges));
    return call;
}

Call Generator::iova_ranges() {
    Call call = ioctl(
        "IOAS_IOVA_RANGES", uapi::kIoasIovaRanges,
        uapi::IoasIovaRanges{.num_iovas = pick<std::uint32_t>({0, 1, 2, 3, 16}), .reserved = rarely(1)});
    refer(call, offsetof(uapi::IoasIovaRanges, ioas_id), object({Kind::ioas}));
    attach_buffer(call, offsetof(uapi::IoasIovaRanges, allowed_iovas), {});
    return call;
}

Call Generator::option() {
    const bool huge = chance(80);
    Call call = ioctl(huge ? "OPTION(HUGE_PAGES)" : "OPTION(RLIMIT_MODE)", uapi::kOption,
                      uapi::Option{.option_id = huge ? uapi::kOptionHugePages
                                                     : pick<std::uint32_t>({uapi::kOptionRlimitMode, 2}),
                                   .op = pick<std::uint16_t>({0, 0, 1, 2}),
                                   .reserved = static_cast<std::uint16_t>(rarely(1)),
                                   .val64 = pick<std::uint64_t>({0, 0, 1, 1, 2})});
    if (huge || chance(10)) refer(call, offsetof(uapi::Option, object_id), object({Kind::ioas}));
    return call;
}

Call Generator::vfio_ioas() {
    Call call = ioctl("VFIO_IOAS", uapi::kVfioIoas,
                      uapi::VfioIoas{.op = pick<std::uint16_t>({0, 1, 1, 1, 2, 3}),
                                     .reserved = static_cast<std::uint16_t>(rarely(1))});
    refer(call, offsetof(uapi::VfioIoas, ioas_id), object({Kind::ioas}));
    return call;
}

Call Generator::change_process() {
    return ioctl("IOAS_CHANGE_PROCESS", uapi::kIoasChangeProcess,
                 uapi::IoasChangeProcess{.reserved = rarely(1)});
}

Call Generator::get_pa() {
    const Reference ioas = object({Kind::ioas});
    uapi::IoasNoiommuGetPa command{.flags = rarely(1), .reserved = rarely(1)};
    near_mapped(ioas, command.iova, command.length);
    Call call = ioctl("IOAS_NOIOMMU_GET_PA", uapi::kIoasNoiommuGetPa, command);
    refer(call, offsetof(uapi::IoasNoiommuGetPa, ioas_id), ioas);
    return call;
}

Call Generator::hwpt_alloc() {
    const bool nested = chance(40);
    const mock::HwptSelftest data{
        .iotlb = pick<std::uint32_t>({0, 7, mock::kIotlbDefault}),
        .pagetable_type = nested && chance(90) ? 0 : pick<std::uint32_t>({0, 1, 1, 2})};
    uapi::HwptAlloc command{.flags = pick<std::uint32_t>({0, 0, 1, 1, 2, 2, 8, 9, 10, 11, 4, 12, 5, 16}),
                            .reserved = rarely(1),
                            .reserved2 = rarely(1)};
    if (nested && chance(85)) command.flags = pick<std::uint32_t>({0, 8, 4, 12, 8, 12});
    const bool gives_data = nested ? chance(95) : chance(20);
    if (gives_data) {
        command.data_type = chance(96) ? mock::kHwptDataSelftest : pick<std::uint32_t>({0, 1, 2, 0xbeef});
        command.data_len = chance(96) ? sizeof data : pick<std::uint32_t>({0, 3, 4, 12, 16});
    }
    Call call = ioctl("HWPT_ALLOC", uapi::kHwptAlloc, command, 24);
    refer(call, offsetof(uapi::HwptAlloc, dev_id), object({Kind::idev}));
    refer(call, offsetof(uapi::HwptAlloc, pt_id),
          nested ? object({Kind::paging, Kind::viommu, Kind::viommu}) : object({Kind::ioas}));
    if ((command.flags & 4) != 0) refer(call, offsetof(uapi::HwptAlloc, fault_id), object({Kind::fault}));
    if (gives_data) attach_buffer(call, offsetof(uapi::HwptAlloc, data_uptr), bytes_of(data));
    call.outputs = {{nested ? Kind::nested : Kind::paging, offsetof(uapi::HwptAlloc, out_hwpt_id), 4}};
    return call;
}

Call Generator::hw_info() {
    Call call = ioctl("GET_HW_INFO", uapi::kGetHwInfo,
                      uapi::HwInfo{.flags = pick<std::uint32_t>({0, 0, 1, 2}),
                                   .data_len = pick<std::uint32_t>({0, 4, 8, 64}),
                                   .data_type = pick<std::uint32_t>({0, 0, 1, mock::kHwInfoSelftest, 0x77}),
                                   .reserved = {static_cast<std::uint8_t>(rarely(1)), 0, 0}},
                      32);
    refer(call, offsetof(uapi::HwInfo, dev_id), object({Kind::idev}));
    const std::array<std::uint8_t, 80> junk{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    attach_buffer(call, offsetof(uapi::HwInfo, data_uptr), junk);
    return call;
}

Call Generator::set_dirty() {
    Call call = ioctl(
        "HWPT_SET_DIRTY_TRACKING", uapi::kHwptSetDirtyTracking,
        uapi::HwptSetDirtyTracking{.flags = pick<std::uint32_t>({0, 1, 1, 1, 2}), .reserved = rarely(1)});
    refer(call, offsetof(uapi::HwptSetDirtyTracking, hwpt_id), object({Kind::paging}));
    return call;
}

Call Generator::get_dirty() {
    uapi::HwptGetDirtyBitmap command{
        .flags = pick<std::uint32_t>({0, 0, 1, 2 * rarely(1)}),
        .reserved = rarely(1),
        .page_size = pick<std::uint64_t>({kPage, kPage, kPage, 2048, 8192, 65536, 0, 1000})};
    near_mapped({.call = Reference::kNone}, command.iova, command.length);
    if (command.length / std::max<std::uint64_t>(command.page_size, 1) > 60000) command.length = 16 * kPage;
    Call call = ioctl("HWPT_GET_DIRTY_BITMAP", uapi::kHwptGetDirtyBitmap, command);
    refer(call, offsetof(uapi::HwptGetDirtyBitmap, hwpt_id), object({Kind::paging}));
    const std::array<std::uint8_t, 8> set{0, 0x80};
    attach_buffer(call, offsetof(uapi::HwptGetDirtyBitmap, data), set,
                  pick<std::size_t>({0, 8, 2048, 0xff1}));
    return call;
}

Call Generator::invalidate() {
    const bool through_viommu = chance(50);
    const auto count = static_cast<std::uint32_t>(below(4));
    uapi::HwptInvalidate command{
        .data_type = mock::kHwptInvalidateSelftest, .entry_num = count, .reserved = rarely(1)};
    if (chance(4)) command.data_type = pick<std::uint32_t>({0, 1, mock::kHwptInvalidateSelftestInvalid});
    std::vector<std::uint8_t> entries;
    for (std::uint32_t i = 0; i < 4; ++i) {
        const std::uint32_t flags = chance(5) ? 2 : static_cast<std::uint32_t>(below(2));
        const std::uint32_t id = chance(5) ? 4 : static_cast<std::uint32_t>(below(4));
        const auto add = [&](const auto& entry) {
            const auto span = bytes_of(entry);
            entries.insert(entries.end(), span.begin(), span.end());
        };
        if (through_viommu)
            add(mock::ViommuInvalidateSelftest{
                .flags = flags, .vdev_id = pick<std::uint32_t>({1, 1, 2, 0x99}), .cache_id = id});
        else
            add(mock::HwptInvalidateSelftest{.flags = flags, .iotlb_id = id});
    }
    command.entry_len = static_cast<std::uint32_t>(entries.size() / 4);
    if (chance(5)) command.entry_len = pick<std::uint32_t>({0, 4, 8, 12, 16, 4096, 4097});
    if (chance(2)) command.entry_num = pick<std::uint32_t>({1U << 19, (1U << 19) + 1, 1000});
    Call call = ioctl("HWPT_INVALIDATE", uapi::kHwptInvalidate, command);
    refer(call, offsetof(uapi::HwptInvalidate, hwpt_id),
          through_viommu ? object({Kind::viommu}) : object({Kind::nested}));
    attach_buffer(call, offsetof(uapi::HwptInvalidate, data_uptr), entries);
    return call;
}

Call Generator::fault_alloc() {
    Call call = ioctl("FAULT_QUEUE_ALLOC", uapi::kFaultQueueAlloc, uapi::FaultQueueAlloc{.flags = rarely(1)});
    call.outputs = {{Kind::fault, offsetof(uapi::FaultQueueAlloc, out_fault_id), 4},
                    {Kind::fault_fd, offsetof(uapi::FaultQueueAlloc, out_fault_fd), 4}};
    return call;
}

Call Generator::viommu_alloc() {
    const mock::ViommuSelftest data{.in_data = 0x1234};
    uapi::ViommuAlloc command{
        .flags = rarely(1), .type = chance(94) ? mock::kViommuSelftest : pick<std::uint32_t>({0, 1, 2, 77})};
    const bool gives_data = chance(25);
    if (gives_data) command.data_len = chance(90) ? sizeof data : pick<std::uint32_t>({1, 4, 8, 32});
    Call call = ioctl("VIOMMU_ALLOC", uapi::kViommuAlloc, command, 24);
    refer(call, offsetof(uapi::ViommuAlloc, dev_id), object({Kind::idev}));
    refer(call, offsetof(uapi::ViommuAlloc, hwpt_id), object({Kind::paging}));
    call.outputs = {{Kind::viommu, offsetof(uapi::ViommuAlloc, out_viommu_id), 4}};
    if (gives_data) {
        attach_buffer(call, offsetof(uapi::ViommuAlloc, data_uptr), bytes_of(data));
        if (call.buffer_at != Call::kNoBuffer && command.data_len == sizeof data)
            call.outputs.push_back({Kind::window, offsetof(mock::ViommuSelftest, out_mmap_offset), 8});
    }
    return call;
}

Call Generator::vdevice_alloc() {
    Call call = ioctl("VDEVICE_ALLOC", uapi::kVdeviceAlloc,
                      uapi::VdeviceAlloc{.virt_id = pick<std::uint64_t>({1, 2, 0x99, 0, 1UL << 32, ~0UL})});
    refer(call, offsetof(uapi::VdeviceAlloc, viommu_id), object({Kind::viommu}));
    refer(call, offsetof(uapi::VdeviceAlloc, dev_id), object({Kind::idev}));
    call.outputs = {{Kind::vdevice, offsetof(uapi::VdeviceAlloc, out_vdevice_id), 4}};
    return call;
}

Call Generator::veventq_alloc() {
    Call call = ioctl(
        "VEVENTQ_ALLOC", uapi::kVeventqAlloc,
        uapi::VeventqAlloc{.flags = rarely(1),
                           .type = chance(90) ? mock::kVeventqSelftest : pick<std::uint32_t>({0, 1, 2}),
                           .veventq_depth = pick<std::uint32_t>({0, 1, 2, 3, 4, 1U << 19, (1U << 19) + 1}),
                           .reserved = rarely(1)},
        28);
    refer(call, offsetof(uapi::VeventqAlloc, viommu_id), object({Kind::viommu}));
    call.outputs = {{Kind::veventq, offsetof(uapi::VeventqAlloc, out_veventq_id), 4},
                    {Kind::veventq_fd, offsetof(uapi::VeventqAlloc, out_veventq_fd), 4}};
    return call;
}

// Within one page: whether two of them are neighbours in physical memory is luck.
Call Generator::hw_queue_alloc() {
    uapi::HwQueueAlloc command{.flags = rarely(1),
                               .type = chance(94) ? mock::kHwQueueSelftest : pick<std::uint32_t>({0, 1, 5}),
                               .index = pick<std::uint32_t>({0, 0, 0, 1, 1, 2})};
    near_mapped({.call = Reference::kNone}, command.nesting_parent_iova, command.length);
    if (chance(95)) {
        command.nesting_parent_iova &= ~(kPage - 1);
        command.length = kPage;
    }
    const std::uint64_t end = command.nesting_parent_iova % kPage + command.length;
    if (end > kPage && end < 1UL << 40) command.length = kPage - command.nesting_parent_iova % kPage;
    if (chance(5)) {
        command.length = pick<std::uint64_t>({1UL << 44, 1UL << 45, ~0UL - kPage + 1, ~0UL});
        if (chance(50)) command.nesting_parent_iova = 0;
    }
    Call call = ioctl("HW_QUEUE_ALLOC", uapi::kHwQueueAlloc, command);
    refer(call, offsetof(uapi::HwQueueAlloc, viommu_id), object({Kind::viommu}));
    call.outputs = {{Kind::hw_queue, offsetof(uapi::HwQueueAlloc, out_hw_queue_id), 4}};
    return call;
}

Call Generator::destroy() {
    const Reference what =
        exactly(chance(60) ? std::initializer_list<Kind>{Kind::nested, Kind::paging, Kind::hw_queue,
                                                         Kind::vdevice, Kind::stdev}
                           : std::initializer_list<Kind>{Kind::ioas, Kind::paging, Kind::nested, Kind::stdev,
                                                         Kind::idev, Kind::fault, Kind::viommu, Kind::vdevice,
                                                         Kind::veventq, Kind::hw_queue});
    Call call = ioctl("DESTROY", uapi::kDestroy, uapi::Destroy{.id = static_cast<std::uint32_t>(below(20))});
    if (what.any() || chance(50)) refer(call, offsetof(uapi::Destroy, id), what);
    return call;
}

Call Generator::vfio_compat() {
    switch (below(6)) {
        case 0: {
            Call call = make("VFIO_CHECK_EXTENSION", uapi::vfio::kCheckExtension);
            call.direct = pick<std::uint64_t>({1, 3, 4, 6, 7, 8, 9, 10, 77});
            return call;
        }
        case 1: {
            Call call = make("VFIO_SET_IOMMU", uapi::vfio::kSetIommu);
            call.direct = pick<std::uint64_t>({1, 3, 3, 8, 0});
            if (call.direct == 8) call.direct = 5;
            return call;
        }
        case 2: {
            Call call = make("VFIO_IOMMU_GET_INFO", uapi::vfio::kIommuGetInfo);
            std::array<std::uint32_t, 64> info{pick<std::uint32_t>({256, 256, 0, 16, 20, 24, 40, 64})};
            call.set(info);
            return call;
        }
        case 3:
        case 4: {
            Call call = make("VFIO_IOMMU_MAP_DMA", uapi::vfio::kIommuMapDma);
            call.set(IommuType1DmaMap{.argsz = pick<std::uint32_t>({32, 32, 32, 31, 40}),
                                      .flags = pick<std::uint32_t>({3, 3, 3, 1, 2, 0, 4}),
                                      .vaddr = address(),
                                      .iova = iova(),
                                      .size = length()});
            return call;
        }
        default: {
            Call call = make("VFIO_IOMMU_UNMAP_DMA", uapi::vfio::kIommuUnmapDma);
            IommuType1DmaUnmap command{.argsz = pick<std::uint32_t>({24, 24, 24, 23, 32}),
                                       .flags = pick<std::uint32_t>({0, 0, 0, 0, 0, 1, 2, 2, 4})};
            near_mapped({.call = Reference::kNone}, command.iova, command.size);
            if (command.flags == 2 && chance(80)) command.iova = command.size = 0;
            call.set(command);
            return call;
        }
    }
}

// A request that there isn't, or one without its argument.
Call Generator::garbage() {
    Call call =
        make("(other)", pick<uapi::Request>({uapi::kIoasAlloc | 0x100, uapi::kIoasNoiommuGetPa + 1, 0x3b9f,
                                             uapi::kDestroy - 1, 0x3ba1, 0xaf80, 0x3b70, 0x5401}));
    call.set(std::array<std::uint32_t, 8>{pick<std::uint32_t>({0, 4, 32}), 0, 0});
    return call;
}

}  // namespace iommufd::inline v0_1::conformance
