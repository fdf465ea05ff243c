// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Every call, with each of its allocations failing once: it is ENOMEM, and nothing has changed.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <string>
#include <utility>

#include "model/memory_failure_world.hpp"
#include "support/allocation_faults.hpp"

namespace iommufd::model::testing {
namespace {

namespace mock = uapi::mock;
using uapi::vfio::IommuType1DmaMap;
using uapi::vfio::IommuType1DmaUnmap;

struct Operation {
    const char* name;
    std::function<std::int64_t(World&)> run;
    int no_memory = -ENOMEM;
};

std::ostream& operator<<(std::ostream& out, const Operation& operation) { return out << operation.name; }

const std::vector<Operation>& ioctls() {
    static const std::vector<Operation> kAll = {
        {"DestroyIoas", [](World& w) { return w.destroy(w.spare_ioas); }},
        {"DestroyHwpt", [](World& w) { return w.destroy(w.dirty_hwpt); }},
        {"DestroyNestedHwpt", [](World& w) { return w.destroy(w.spare_nested); }},
        {"DestroyMockDevice", [](World& w) { return w.destroy(w.plain.stdev); }},
        {"DestroyHwQueue", [](World& w) { return w.destroy(w.hw_queue); }},
        {"DestroyVdevice", [](World& w) { return w.destroy(w.vdevice); }},
        {"IoasAlloc", [](World& w) { return w.ioas() == 0 ? -ENOMEM : 0; }},
        {"IoasAllowIovas",
         [](World& w) {
             const std::array<uapi::IovaRange, 3> ranges = {
                 {{0x30000000, 0x3fffffff}, {0x1000000, 0x1ffffff}, {0x50000000, 0x5fffffff}}};
             uapi::IoasAllowIovas command{
                 .ioas_id = w.first, .num_iovas = 3, .allowed_iovas = user::address(ranges.data())};
             return w.call(uapi::kIoasAllowIovas, command);
         }},
        {"IoasIovaRanges",
         [](World& w) {
             std::array<uapi::IovaRange, 8> ranges;
             uapi::IoasIovaRanges command{
                 .ioas_id = w.first, .num_iovas = 8, .allowed_iovas = user::address(ranges.data())};
             return w.call(uapi::kIoasIovaRanges, command);
         }},
        {"IoasMapAnywhere", [](World& w) { return w.map_anywhere(w.first, w.memory.address(), 3 * kPage); }},
        {"IoasMapFixed", [](World& w) { return w.map(w.first, w.memory.address(), 16 * kPage, 0x7f000000); }},
        {"IoasMapFile",
         [](World& w) { return w.map_file(w.first, w.file.number(), kPage, 2 * kPage, 0x7f000000); }},
        {"IoasMapDmaBuffer",
         [](World& w) { return w.map_file(w.first, w.dma_buffer, 0, kPage, 0x7f000000); }},
        {"IoasCopy",
         [](World& w) { return w.copy(w.first, World::kIova + kPage, 9 * kPage, w.second, 0x100000); }},
        {"IoasCopyIntoADomain",
         [](World& w) { return w.copy(w.second, 0x5000, 2 * kPage, w.first, 0x7f000000); }},
        {"IoasUnmap", [](World& w) { return w.unmap(w.first, World::kIova, 8 * kPage); }},
        {"IoasUnmapAll", [](World& w) { return w.unmap(w.second, 0, ~std::uint64_t{0}); }},
        {"OptionHugePages",
         [](World& w) { return w.option(uapi::kOptionSet, uapi::kOptionHugePages, w.second, 0); }},
        {"VfioIoas",
         [](World& w) {
             uapi::VfioIoas command{.ioas_id = w.first, .op = uapi::kVfioIoasSet};
             return w.call(uapi::kVfioIoas, command);
         }},
        {"HwptAllocPaging",
         [](World& w) {
             return w.hwpt(w.nesting.idev, w.first, uapi::kHwptDirtyTracking | uapi::kHwptPasid);
         }},
        {"HwptAllocNested", [](World& w) { return w.nested(w.parent, w.faults); }},
        {"HwptAllocOnViommu", [](World& w) { return w.nested(w.viommu, w.faults); }},
        {"GetHwInfo",
         [](World& w) {
             std::array<std::byte, 32> data{};
             uapi::HwInfo command{
                 .dev_id = w.nesting.idev, .data_len = data.size(), .data_uptr = user::address(data.data())};
             return w.call(uapi::kGetHwInfo, command);
         }},
        {"HwptSetDirtyTracking",
         [](World& w) {
             uapi::HwptSetDirtyTracking command{.flags = uapi::kDirtyTrackingEnable, .hwpt_id = w.dirty_hwpt};
             return w.call(uapi::kHwptSetDirtyTracking, command);
         }},
        {"HwptGetDirtyBitmap",
         [](World& w) {
             std::uint64_t bits = 0;
             uapi::HwptGetDirtyBitmap command{.hwpt_id = w.dirty_hwpt,
                                              .iova = World::kIova,
                                              .length = 8 * kPage,
                                              .page_size = kPage,
                                              .data = user::address(&bits)};
             return w.call(uapi::kHwptGetDirtyBitmap, command);
         }},
        {"HwptInvalidateNested",
         [](World& w) {
             const mock::HwptInvalidateSelftest entry{.flags = 0, .iotlb_id = 2};
             uapi::HwptInvalidate command{.hwpt_id = w.nested_hwpt,
                                          .data_uptr = user::address(&entry),
                                          .data_type = mock::kHwptInvalidateSelftest,
                                          .entry_len = sizeof entry,
                                          .entry_num = 1};
             return w.call(uapi::kHwptInvalidate, command);
         }},
        {"HwptInvalidateViommu",
         [](World& w) {
             const mock::ViommuInvalidateSelftest entry{.flags = 0, .vdev_id = World::kNumber, .cache_id = 1};
             uapi::HwptInvalidate command{.hwpt_id = w.viommu,
                                          .data_uptr = user::address(&entry),
                                          .data_type = mock::kViommuInvalidateSelftest,
                                          .entry_len = sizeof entry,
                                          .entry_num = 1};
             return w.call(uapi::kHwptInvalidate, command);
         }},
        {"FaultQueueAlloc",
         [](World& w) {
             uapi::FaultQueueAlloc command{};
             const int rc = w.call(uapi::kFaultQueueAlloc, command);
             if (rc == 0) w.keep(command.out_fault_fd);
             return rc;
         }},
        {"ViommuAlloc",
         [](World& w) {
             mock::ViommuSelftest data{.in_data = 7};
             uapi::ViommuAlloc command{.type = mock::kViommuSelftest,
                                       .dev_id = w.nesting.idev,
                                       .hwpt_id = w.parent,
                                       .data_len = sizeof data,
                                       .data_uptr = user::address(&data)};
             return w.call(uapi::kViommuAlloc, command);
         }},
        {"VdeviceAlloc",
         [](World& w) {
             uapi::VdeviceAlloc command{.viommu_id = w.viommu, .dev_id = w.plain.idev, .virt_id = 0x77};
             return w.call(uapi::kVdeviceAlloc, command);
         }},
        {"IoasChangeProcess",
         [](World& w) {
             uapi::IoasChangeProcess command{};
             const int rc = w.call(uapi::kIoasChangeProcess, command);
             return rc == -EINVAL ? 0 : rc;  // some memory there isn't a file's
         }},
        {"VeventqAlloc",
         [](World& w) {
             uapi::VeventqAlloc command{.viommu_id = w.viommu, .type = 0x55, .veventq_depth = 2};
             const int rc = w.call(uapi::kVeventqAlloc, command);
             if (rc == 0) w.keep(command.out_veventq_fd);
             return rc;
         }},
        {"HwQueueAlloc",
         [](World& w) {
             uapi::HwQueueAlloc command{.viommu_id = w.viommu,
                                        .type = mock::kHwQueueSelftest,
                                        .index = 1,
                                        .nesting_parent_iova = World::kIova + 2 * kPage,
                                        .length = 2 * kPage};
             return w.call(uapi::kHwQueueAlloc, command);
         }},
        {"IoasNoiommuGetPa",
         [](World& w) {
             uapi::IoasNoiommuGetPa command{.ioas_id = w.first, .iova = World::kIova, .length = kPage};
             const int rc = w.call(uapi::kIoasNoiommuGetPa, command);
             return rc == -EOPNOTSUPP ? 0 : rc;  // it is behind an IOMMU
         }},
        {"FaultRead",
         [](World& w) {
             std::array<uapi::HwptPgfault, 4> read{};
             return w.kernel().read(w.fault_fd, read.data(), sizeof read);
         }},
        {"VeventRead",
         [](World& w) {
             std::array<std::byte, 64> read{};
             return w.kernel().read(w.event_fd, read.data(), read.size());
         }},
        {"MmapWindow",
         [](World& w) {
             void* at = nullptr;
             const int rc = w.kernel().mmap(&at, 2 * kPage, PROT_READ, MAP_SHARED, w.iommufd, w.window);
             if (rc == 0) (void)w.kernel().munmap(at, 2 * kPage);
             return rc;
         }},
        {"VfioMapDma",
         [](World& w) {
             IommuType1DmaMap command{.argsz = sizeof command,
                                      .flags = 3,
                                      .vaddr = w.memory.address(),
                                      .iova = 0x6000000,
                                      .size = 4 * kPage};
             return w.kernel().ioctl(w.iommufd, uapi::vfio::kIommuMapDma, &command);
         }},
        {"VfioUnmapDmaInTheMiddle",
         [](World& w) {
             IommuType1DmaUnmap command{
                 .argsz = sizeof command, .iova = World::kTypeOneIova + kPage, .size = 2 * kPage};
             return w.kernel().ioctl(w.iommufd, uapi::vfio::kIommuUnmapDma, &command);
         }},
        {"VfioGetInfo",
         [](World& w) {
             std::array<std::uint32_t, 64> info{sizeof info};
             return w.kernel().ioctl(w.iommufd, uapi::vfio::kIommuGetInfo, info.data());
         }},
        {"OpenIommufd",
         [](World& w) {
             const int fd = w.kernel().open("/dev/iommu", O_RDWR);
             if (fd >= 0) w.keep(static_cast<std::uint32_t>(fd));
             return fd;
         }},
        {"DupIommufd",
         [](World& w) {
             const int fd = w.kernel().dup(w.iommufd);
             if (fd >= 0) (void)w.kernel().close(fd);
             return fd;
         }},
        {"VfioBind", [](World& w) { return w.bind(w.cdev); }},
        {"VfioAttach", [](World& w) { return w.attach(w.bound_cdev, w.second); }},
        {"VfioReplace", [](World& w) { return w.attach(w.attached_cdev, w.second); }},
        {"VfioSetIrqs", [](World& w) { return w.set_irqs(); }},
        {"VdpaUpdate", [](World& w) { return w.vdpa_message(uapi::vhost::kIotlbUpdate, 0x100000); }, -EFAULT},
        {"VdpaInvalidate", [](World& w) { return w.vdpa_message(uapi::vhost::kIotlbInvalidate, 0); },
         -EFAULT},
    };
    return kAll;
}

const std::vector<Operation>& test_operations() {
    static const std::vector<Operation> kAll = {
        {"AddReserved",
         [](World& w) {
             return w.test(mock::kAddReserved, w.first,
                           [](auto& c) { c.add_reserved = {.start = 0x70000000, .length = kPage}; });
         }},
        {"MockDomain", [](World& w) { return w.test(mock::kMockDomain, w.spare_ioas); }},
        {"MockDomainOnMappedIoas", [](World& w) { return w.test(mock::kMockDomain, w.third); }},
        {"MockDomainFlags",
         [](World& w) {
             return w.test(mock::kMockDomainFlags, w.first,
                           [](auto& c) { c.mock_domain_flags.dev_flags = mock::kDeviceNoDirty; });
         }},
        {"MdCheckMap",
         [](World& w) {
             return w.test(mock::kMdCheckMap, w.parent, [&](auto& c) {
                 c.check_map = {.iova = World::kIova, .length = 8 * kPage, .uptr = w.memory.address()};
             });
         }},
        {"MdCheckRefs",
         [](World& w) {
             return w.test(mock::kMdCheckRefs, 0, [&](auto& c) {
                 c.check_refs = {.length = kPage, .uptr = w.untouched.address(), .refs = 0};
             });
         }},
        {"CreateAccess",
         [](World& w) {
             mock::TestCmd made{};
             const int rc =
                 w.test(mock::kCreateAccess, w.second, [](auto& c) { c.create_access.flags = 1; }, &made);
             if (rc == 0) w.keep(made.create_access.out_access_fd);
             return rc;
         }},
        {"DestroyAccessPages",
         [](World& w) { return w.test(mock::kDestroyAccessPages, w.access, [](auto&) {}); }},
        {"AccessPages",
         [](World& w) {
             return w.test(mock::kAccessPages, w.access, [&](auto& c) {
                 c.access_pages = {.flags = mock::kAccessWrite,
                                   .iova = World::kIova + kPage,
                                   .length = 9 * kPage,
                                   .uptr = w.memory.address() + kPage};
             });
         }},
        {"AccessRw",
         [](World& w) {
             std::array<std::byte, 5000> data{};
             return w.test(mock::kAccessRw, w.access, [&](auto& c) {
                 c.access_rw = {
                     .iova = World::kIova + 100, .length = data.size(), .uptr = user::address(data.data())};
             });
         }},
        {"SetTempMemoryLimit",
         [](World& w) {
             return w.test(mock::kSetTempMemoryLimit, 0, [](auto& c) { c.memory_limit.limit = 65536; });
         }},
        {"MockDomainReplace",
         [](World& w) {
             return w.test(mock::kMockDomainReplace, w.plain.stdev,
                           [&](auto& c) { c.mock_domain_replace.pt_id = w.third; });
         }},
        {"AccessReplaceIoas",
         [](World& w) {
             return w.test(mock::kAccessReplaceIoas, w.access,
                           [&](auto& c) { c.access_replace_ioas.ioas_id = w.second; });
         }},
        {"Dirty",
         [](World& w) {
             const std::uint64_t bits = 0xff;
             return w.test(mock::kDirty, w.tracked_hwpt, [&](auto& c) {
                 c.dirty = {.iova = World::kIova,
                            .length = 8 * kPage,
                            .page_size = kPage,
                            .uptr = user::address(&bits)};
             });
         }},
        {"MdCheckIotlb",
         [](World& w) {
             return w.test(mock::kMdCheckIotlb, w.nested_hwpt,
                           [](auto& c) { c.check_iotlb = {.id = 1, .iotlb = mock::kIotlbDefault}; });
         }},
        {"TriggerIopf",
         [](World& w) {
             return w.test(mock::kTriggerIopf, 0, [&](auto& c) {
                 c.trigger_iopf = {
                     .dev_id = w.nesting.idev, .pasid = 0, .grpid = 3, .perm = 1, .addr = 0x5000};
             });
         }},
        {"DevCheckCache",
         [](World& w) {
             return w.test(mock::kDevCheckCache, w.nesting.idev,
                           [](auto& c) { c.check_dev_cache = {.id = 0, .cache = mock::kDevCacheDefault}; });
         }},
        {"TriggerVevent",
         [](World& w) {
             return w.test(mock::kTriggerVevent, 0,
                           [&](auto& c) { c.trigger_vevent.dev_id = w.nesting.idev; });
         }},
        {"TriggerVeventOnAFullQueue",
         [](World& w) {
             return w.test(mock::kTriggerVevent, 0, [&](auto& c) { c.trigger_vevent.dev_id = w.full.idev; });
         }},
        {"PasidAttach",
         [](World& w) {
             return w.test(mock::kPasidAttach, w.nesting.stdev,
                           [&](auto& c) { c.pasid_attach = {.pasid = 200, .pt_id = w.parent}; });
         }},
        {"PasidReplace",
         [](World& w) {
             return w.test(mock::kPasidReplace, w.nesting.stdev,
                           [&](auto& c) { c.pasid_replace = {.pasid = 100, .pt_id = w.tracked_hwpt}; });
         }},
        {"PasidDetach",
         [](World& w) {
             return w.test(mock::kPasidDetach, w.nesting.stdev, [](auto& c) { c.pasid_detach.pasid = 100; });
         }},
        {"PasidCheckHwpt",
         [](World& w) {
             return w.test(mock::kPasidCheckHwpt, w.nesting.stdev,
                           [&](auto& c) { c.pasid_check = {.pasid = 100, .hwpt_id = w.parent}; });
         }},
        {"DmabufGet",
         [](World& w) {
             const int fd = w.test(mock::kDmabufGet, 0, [](auto& c) { c.dmabuf_get.length = 3 * kPage; });
             if (fd >= 0) w.keep(static_cast<std::uint32_t>(fd));
             return fd;
         }},
        {"DmabufRevoke",
         [](World& w) {
             return w.test(mock::kDmabufRevoke, 0,
                           [&](auto& c) { c.dmabuf_revoke = {.dmabuf_fd = w.dma_buffer, .revoked = 1}; });
         }},
    };
    return kAll;
}

class ModelMemoryFailure : public ::testing::TestWithParam<Operation> {};

TEST_P(ModelMemoryFailure, LeavesNothingChanged) {
    World world;
    ASSERT_TRUE(world.complete());
    for (std::uint64_t n = 1; n < 10000; ++n) {
        const std::string before = world.snapshot();
        std::int64_t rc = 0;
        const bool struck = [&] {
            const AllocationFaults::Armed armed(n);
            rc = GetParam().run(world);
            return armed.struck();
        }();
        if (!struck) {
            ASSERT_GE(rc, 0) << "with all the memory that it wants";
            break;
        }
        ASSERT_EQ(rc, GetParam().no_memory) << "allocation " << n;
        ASSERT_EQ(world.snapshot(), before) << "allocation " << n;
    }
    world.expect_that_all_can_be_given_back();
}

std::string name_of(const ::testing::TestParamInfo<Operation>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Ioctl, ModelMemoryFailure, ::testing::ValuesIn(ioctls()), name_of);
INSTANTIATE_TEST_SUITE_P(TestOperation, ModelMemoryFailure, ::testing::ValuesIn(test_operations()), name_of);

}  // namespace
}  // namespace iommufd::model::testing
