// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Some sequences begin with a mock device that has PASIDs, dirty tracking or a viommu with all that belongs to it, in
// different orders and with gaps.
#include <algorithm>
#include <cstddef>

#include "conformance/generator.hpp"

namespace iommufd::inline v0_1::conformance {

namespace mock = uapi::mock;
using mock::TestCmd;

namespace {

enum Step : unsigned {
    kIoas,
    kMap,
    kMapMore,
    kDevice,
    kTracked,
    kTrack,
    kParent,
    kFaults,
    kViommu,
    kNumber,
    kNested,
    kEvents,
    kMove,
    kPasid,
    kAccess,
    kSteps,
};

}  // namespace

void Generator::prepare() {
    preamble_.clear();
    if (chance(25)) return;
    for (unsigned step = kSteps; step-- > 0;)
        if (chance(88)) preamble_.push_back(step);
}

Call Generator::preamble(unsigned step) {
    const auto hwpt = [&](std::uint32_t flags, const Reference& on, bool nested) {
        const mock::HwptSelftest data{.iotlb = mock::kIotlbDefault, .pagetable_type = 0};
        uapi::HwptAlloc command{.flags = flags};
        if (nested) {
            command.data_type = mock::kHwptDataSelftest;
            command.data_len = sizeof data;
        }
        Call call = ioctl("HWPT_ALLOC", uapi::kHwptAlloc, command, 24);
        refer(call, offsetof(uapi::HwptAlloc, dev_id), exactly({Kind::idev}));
        refer(call, offsetof(uapi::HwptAlloc, pt_id), on);
        if ((flags & uapi::kHwptFaultIdValid) != 0)
            refer(call, offsetof(uapi::HwptAlloc, fault_id), exactly({Kind::fault}));
        if (nested) attach_buffer(call, offsetof(uapi::HwptAlloc, data_uptr), bytes_of(data));
        call.outputs = {{nested ? Kind::nested : Kind::paging, offsetof(uapi::HwptAlloc, out_hwpt_id), 4}};
        return call;
    };
    const auto last_made = [&](Kind kind) {
        const auto found = std::ranges::find(known_.rbegin(), known_.rend(), kind, &Known::kind);
        return found == known_.rend() ? Reference{.call = Reference::kNone} : found->reference;
    };
    switch (step) {
        case kIoas:
            return ioas_alloc();
        case kMap:
        case kMapMore: {
            Call call = ioctl("IOAS_MAP", uapi::kIoasMap,
                              uapi::IoasMap{.flags = 7,
                                            .user_va = Arena::kShared.address + kPage * below(40),
                                            .length = kPage * (1 + below(20)),
                                            .iova = mock::kApertureStart + (step == kMap ? 0 : 40 * kPage)});
            refer(call, offsetof(uapi::IoasMap, ioas_id), exactly({Kind::ioas}));
            return call;
        }
        case kDevice: {
            TestCmd command{};
            command.mock_domain_flags.dev_flags = mock::kDevicePasid;
            Call call = test("MOCK_DOMAIN_FLAGS", mock::kMockDomainFlags, command);
            refer(call, offsetof(TestCmd, id), exactly({Kind::ioas}));
            call.outputs = {{Kind::stdev, offsetof(TestCmd, mock_domain.out_stdev_id), 4},
                            {Kind::paging, offsetof(TestCmd, mock_domain.out_hwpt_id), 4},
                            {Kind::idev, offsetof(TestCmd, mock_domain.out_idev_id), 4}};
            return call;
        }
        case kTracked:
            return hwpt(uapi::kHwptDirtyTracking | (chance(50) ? uapi::kHwptPasid : 0), exactly({Kind::ioas}),
                        false);
        case kTrack: {
            Call call = ioctl("HWPT_SET_DIRTY_TRACKING", uapi::kHwptSetDirtyTracking,
                              uapi::HwptSetDirtyTracking{.flags = 1});
            refer(call, offsetof(uapi::HwptSetDirtyTracking, hwpt_id), last_made(Kind::paging));
            return call;
        }
        case kParent:
            return hwpt(uapi::kHwptNestParent | uapi::kHwptPasid, exactly({Kind::ioas}), false);
        case kFaults:
            return fault_alloc();
        case kViommu: {
            Call call = ioctl("VIOMMU_ALLOC", uapi::kViommuAlloc,
                              uapi::ViommuAlloc{.type = mock::kViommuSelftest}, 24);
            refer(call, offsetof(uapi::ViommuAlloc, dev_id), exactly({Kind::idev}));
            refer(call, offsetof(uapi::ViommuAlloc, hwpt_id), last_made(Kind::paging));
            call.outputs = {{Kind::viommu, offsetof(uapi::ViommuAlloc, out_viommu_id), 4}};
            return call;
        }
        case kNumber: {
            Call call = ioctl("VDEVICE_ALLOC", uapi::kVdeviceAlloc,
                              uapi::VdeviceAlloc{.virt_id = pick<std::uint64_t>({1, 2, 0x99})});
            refer(call, offsetof(uapi::VdeviceAlloc, viommu_id), last_made(Kind::viommu));
            refer(call, offsetof(uapi::VdeviceAlloc, dev_id), exactly({Kind::idev}));
            call.outputs = {{Kind::vdevice, offsetof(uapi::VdeviceAlloc, out_vdevice_id), 4}};
            return call;
        }
        case kNested:
            return hwpt((chance(70) ? uapi::kHwptPasid : 0) | (chance(70) ? uapi::kHwptFaultIdValid : 0),
                        chance(75) ? exactly({Kind::viommu}) : exactly({Kind::paging}), true);
        case kEvents: {
            Call call = ioctl("VEVENTQ_ALLOC", uapi::kVeventqAlloc,
                              uapi::VeventqAlloc{.type = mock::kVeventqSelftest,
                                                 .veventq_depth = static_cast<std::uint32_t>(1 + below(3))},
                              28);
            refer(call, offsetof(uapi::VeventqAlloc, viommu_id), last_made(Kind::viommu));
            call.outputs = {{Kind::veventq, offsetof(uapi::VeventqAlloc, out_veventq_id), 4},
                            {Kind::veventq_fd, offsetof(uapi::VeventqAlloc, out_veventq_fd), 4}};
            return call;
        }
        case kMove: {
            Call call = test("MOCK_DOMAIN_REPLACE", mock::kMockDomainReplace, {});
            refer(call, offsetof(TestCmd, id), exactly({Kind::stdev}));
            refer(call, offsetof(TestCmd, mock_domain_replace.pt_id),
                  chance(75) ? last_made(Kind::nested) : exactly({Kind::paging}));
            call.outputs = {{Kind::paging, offsetof(TestCmd, mock_domain_replace.pt_id), 4}};
            return call;
        }
        case kPasid: {
            TestCmd command{};
            command.pasid_attach.pasid = pick<std::uint32_t>({1, 2, 100, 1024});
            Call call = test("PASID_ATTACH", mock::kPasidAttach, command);
            refer(call, offsetof(TestCmd, id), exactly({Kind::stdev}));
            refer(call, offsetof(TestCmd, pasid_attach.pt_id), exactly({Kind::nested, Kind::paging}));
            call.outputs = {{Kind::paging, offsetof(TestCmd, pasid_attach.pt_id), 4}};
            return call;
        }
        default: {
            TestCmd command{};
            command.create_access.flags = 1;
            Call call = test("CREATE_ACCESS", mock::kCreateAccess, command);
            refer(call, offsetof(TestCmd, id), exactly({Kind::ioas}));
            call.outputs = {{Kind::access_fd, offsetof(TestCmd, create_access.out_access_fd), 4}};
            return call;
        }
    }
}

}  // namespace iommufd::inline v0_1::conformance
