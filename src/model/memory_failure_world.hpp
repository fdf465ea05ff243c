// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A context with one of everything, of which a test can see whether anything has changed.
//
//     first:   Ioas <- automatic hwpt <- plain;  parent, dirty, tracked hwpts
//              parent <- viommu <- vdevice, nested hwpt <- nesting (with a fault queue), event queue, hw queue
//     second:  no domain;  third: of VFIO's type 1, with small pages;  spare: empty
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "model/testing.hpp"
#include "model/user.hpp"
#include "uapi/iommufd_test.hpp"
#include "uapi/vhost.hpp"

namespace iommufd::inline v0_1::model::testing {

class World : public Bench {
public:
    static constexpr std::uint64_t kIova = 0x10000000;
    static constexpr std::uint64_t kTypeOneIova = 0x5000000;
    static constexpr std::uint32_t kNumber = 0x99;
    static constexpr std::uint32_t kMostIds = 64;

    struct MockIds {
        std::uint32_t stdev = 0;
        std::uint32_t idev = 0;
        std::uint32_t hwpt = 0;
    };

    World() : Bench(description()), file(::memfd_create("world", MFD_CLOEXEC)) {
        kept_.reserve(kMostIds);
        memory.fill(1);
        ok(::ftruncate(file.number(), 8 * kPage));
        first = ioas();
        second = ioas();
        third = ioas();
        spare_ioas = ioas();
        ok(map(first, memory.address(), 8 * kPage, kIova));
        ok(map(first, memory.address() + 8 * kPage, 4 * kPage, kIova + 8 * kPage));
        ok(map(second, memory.address() + 2 * kPage, 4 * kPage, 0x5000));

        plain = mock_device(first, uapi::mock::kDevicePasid);
        parent = id(hwpt(plain.idev, first, uapi::kHwptNestParent | uapi::kHwptPasid));
        dirty_hwpt = id(hwpt(plain.idev, first, uapi::kHwptDirtyTracking));
        tracked_hwpt = id(hwpt(plain.idev, first, uapi::kHwptDirtyTracking | uapi::kHwptPasid));
        uapi::HwptSetDirtyTracking track{.flags = uapi::kDirtyTrackingEnable, .hwpt_id = tracked_hwpt};
        ok(call(uapi::kHwptSetDirtyTracking, track));

        uapi::FaultQueueAlloc fault_queue{};
        ok(call(uapi::kFaultQueueAlloc, fault_queue));
        faults = fault_queue.out_fault_id;
        fault_fd = keep(fault_queue.out_fault_fd);

        // Attached on a viommu each, so that both can report events there; the second one's queue is full.
        nesting = nested_device(viommu, event_fd, vdevice, 4);
        full = nested_device(other_viommu, full_event_fd, other_vdevice, 1);
        for (int i = 0; i < 2; ++i)
            ok(test(uapi::mock::kTriggerVevent, 0, [&](auto& c) { c.trigger_vevent.dev_id = full.idev; }));
        for (int i = 0; i < 2; ++i)
            ok(test(uapi::mock::kTriggerVevent, 0, [&](auto& c) { c.trigger_vevent.dev_id = nesting.idev; }));
        ok(test(uapi::mock::kTriggerIopf, 0, [&](auto& c) {
            c.trigger_iopf = {.dev_id = nesting.idev, .pasid = 0, .grpid = 1, .perm = 1, .addr = 0x1000};
        }));
        ok(test(uapi::mock::kPasidAttach, nesting.stdev,
                [&](auto& c) { c.pasid_attach = {.pasid = 100, .pt_id = parent}; }));
        spare_nested = id(nested(parent, faults));
        uapi::HwQueueAlloc queue{.viommu_id = viommu,
                                 .type = uapi::mock::kHwQueueSelftest,
                                 .index = 0,
                                 .nesting_parent_iova = kIova + 8 * kPage,
                                 .length = kPage};
        ok(call(uapi::kHwQueueAlloc, queue));
        hw_queue = queue.out_hw_queue_id;

        uapi::mock::TestCmd made{};
        ok(test(uapi::mock::kCreateAccess, first, [](auto& c) { c.create_access.flags = 1; }, &made));
        access = static_cast<std::uint32_t>(keep(made.create_access.out_access_fd));
        ok(test(uapi::mock::kAccessPages, access, [&](auto& c) {
            c.access_pages = {.iova = kIova, .length = 2 * kPage, .uptr = memory.address()};
        }));
        dma_buffer = keep(static_cast<std::uint32_t>(
            test(uapi::mock::kDmabufGet, 0, [](auto& c) { c.dmabuf_get.length = 2 * kPage; })));
        ok(map_file(first, dma_buffer, 0, 2 * kPage, 0x40000000));
        ok(map_file(first, file.number(), 0, kPage, 0x41000000));

        uapi::VfioIoas compat{.ioas_id = third, .op = uapi::kVfioIoasSet};
        ok(call(uapi::kVfioIoas, compat));
        ok(kernel().ioctl(iommufd, uapi::vfio::kSetIommu, reinterpret_cast<void*>(1)));
        ok(map(third, memory.address(), 5 * kPage, kTypeOneIova));
        small = mock_device(third, 0);

        uapi::ViommuAlloc with_window = viommu_command();
        uapi::mock::ViommuSelftest data{.in_data = 5};
        with_window.data_len = sizeof data;
        with_window.data_uptr = user::address(&data);
        ok(call(uapi::kViommuAlloc, with_window));
        window = data.out_mmap_offset;

        cdev = opened("/dev/vfio/devices/vfio0");
        bound_cdev = opened("/dev/vfio/devices/vfio1");
        attached_cdev = opened("/dev/vfio/devices/vfio2");
        ok(bind(bound_cdev));
        ok(bind(attached_cdev));
        ok(attach(attached_cdev, spare_ioas_for_devices()));
        vdpa = opened("/dev/vhost-vdpa-0");
        ok(kernel().ioctl(vdpa, uapi::vhost::kSetOwner, nullptr));
        ok(vdpa_message(uapi::vhost::kIotlbUpdate, 0));
    }
    ~World() { close_all(); }

    // Whether it could be built.
    bool complete() const { return complete_; }

    int keep(std::uint32_t fd) {
        kept_.push_back(static_cast<int>(fd));
        return kept_.back();
    }

    template <class Fill>
    int test(std::uint32_t op, std::uint32_t on, Fill&& fill, uapi::mock::TestCmd* result = nullptr) {
        uapi::mock::TestCmd command{};
        command.op = op;
        command.id = on;
        fill(command);
        const int rc = call(uapi::mock::kTest, command);
        if (result != nullptr) *result = command;
        return rc;
    }
    int test(std::uint32_t op, std::uint32_t on) {
        return test(op, on, [](auto&) {});
    }
    std::int64_t nested(std::uint32_t on, std::uint32_t fault_id) {
        const uapi::mock::HwptSelftest data{.iotlb = uapi::mock::kIotlbDefault, .pagetable_type = 0};
        uapi::HwptAlloc command{.flags = uapi::kHwptFaultIdValid | uapi::kHwptPasid,
                                .dev_id = plain.idev,
                                .pt_id = on,
                                .data_type = uapi::mock::kHwptDataSelftest,
                                .data_len = sizeof data,
                                .data_uptr = user::address(&data),
                                .fault_id = fault_id};
        const int rc = call(uapi::kHwptAlloc, command);
        return rc < 0 ? rc : std::int64_t{command.out_hwpt_id};
    }
    int set_irqs() {
        struct {
            uapi::vfio::IrqSet header;
            int fd;
        } command{{.argsz = 24,
                   .flags = uapi::vfio::kIrqSetDataEventfd | uapi::vfio::kIrqSetTrigger,
                   .index = uapi::vfio::kPciMsi,
                   .start = 0,
                   .count = 1},
                  event.number()};
        return kernel().ioctl(bound_cdev, uapi::vfio::kDeviceSetIrqs, &command);
    }
    std::int64_t vdpa_message(std::uint8_t type, std::uint64_t iova) {
        uapi::vhost::MsgV2 message{};
        message.type = uapi::vhost::kMsgIotlbV2;
        message.iotlb = {.iova = iova,
                         .size = 4 * kPage,
                         .uaddr = memory.address(),
                         .perm = uapi::vhost::kAccessRw,
                         .type = type};
        return kernel().write(vdpa, &message, sizeof message);
    }

    // What can be seen without changing anything.
    std::string snapshot() {
        const Leaks leaks = machine.leaks();
        std::string text = leaks.text() + "; ";
        const auto add = [&](const char* what, auto value) { text += what + std::to_string(value) + ' '; };
        for (std::uint32_t object = 1; object < kMostIds; ++object) {
            const int exists = test(uapi::mock::kPasidCheckHwpt, nesting.stdev,
                                    [&](auto& c) { c.pasid_check = {.pasid = 77, .hwpt_id = object}; });
            if (exists == -ENOENT) continue;
            add("object ", object);
            for (const MockIds& device : {nesting, plain, full, small})
                for (const std::uint32_t pasid : {0U, 100U, 200U})
                    if (test(uapi::mock::kPasidCheckHwpt, device.stdev,
                             [&](auto& c) { c.pasid_check = {.pasid = pasid, .hwpt_id = object}; }) == 0)
                        add("attached at ", device.stdev * 1000 + pasid);
            std::uint64_t alignment = 0;
            for (const IovaRange& range : ranges(object, &alignment)) {
                add("range ", range.first);
                add("to ", range.last);
            }
            add("alignment ", alignment);
            add("pages ", option(uapi::kOptionGet, uapi::kOptionHugePages, object));
            for (std::uint64_t page = 0; page < 16; ++page)
                if (test(uapi::mock::kMdCheckMap, object, [&](auto& c) {
                        c.check_map = {.iova = kIova + page * kPage,
                                       .length = kPage,
                                       .uptr = memory.address() + page * kPage};
                    }) == 0)
                    add("page ", page);
            for (const std::uint32_t iotlb : {0U, uapi::mock::kIotlbDefault})
                if (test(uapi::mock::kMdCheckIotlb, object,
                         [&](auto& c) { c.check_iotlb = {.id = 2, .iotlb = iotlb}; }) == 0)
                    add("iotlb ", iotlb);
        }
        for (std::uint64_t page = 0; page < 12; ++page)
            for (std::uint32_t pins = 0; pins < 8; ++pins) {
                const int rc = test(uapi::mock::kMdCheckRefs, 0, [&](auto& c) {
                    c.check_refs = {.length = kPage, .uptr = memory.address() + page * kPage, .refs = pins};
                });
                if (rc == 0) add("pins ", pins);
                if (rc == 0) break;
            }
        uapi::VfioIoas compat{.op = uapi::kVfioIoasGet};
        (void)call(uapi::kVfioIoas, compat);
        add("compat ", compat.ioas_id);
        const std::filesystem::directory_iterator descriptors("/proc/self/fd");
        add("descriptors ", std::distance(begin(descriptors), end(descriptors)));
        return text;
    }

    // Nothing can be destroyed that is used, and everything in the end.
    void expect_that_all_can_be_given_back() {
        for (const std::uint32_t used : {first, parent, viommu, faults})
            EXPECT_EQ(destroy(used), -EBUSY) << "object " << used;
        close_all();
        for (std::uint32_t round = 0; round < 8; ++round)
            for (std::uint32_t object = 1; object < kMostIds; ++object) (void)destroy(object);
        const Leaks leaks = machine.leaks();
        EXPECT_EQ(leaks.text(), "1 descriptor, 1 context");
    }

    Memory memory{16 * kPage};
    Memory untouched{kPage};
    HostFd file;
    Event event;
    std::uint32_t first = 0, second = 0, third = 0, spare_ioas = 0;
    MockIds plain, nesting, full, small;
    std::uint32_t parent = 0, dirty_hwpt = 0, tracked_hwpt = 0, nested_hwpt = 0, spare_nested = 0;
    std::uint32_t viommu = 0, other_viommu = 0, vdevice = 0, other_vdevice = 0, faults = 0, hw_queue = 0;
    std::uint32_t access = 0;  // its descriptor
    int fault_fd = -1, event_fd = -1, full_event_fd = -1, dma_buffer = -1;
    int cdev = -1, bound_cdev = -1, attached_cdev = -1, vdpa = -1;
    std::uint64_t window = 0;

private:
    static Description description() {
        Description description;
        description.devices = {{}, {}, {}, {.kind = DeviceKind::vdpa_blk}};
        description.mock = true;
        return description;
    }

    void ok(std::int64_t rc) {
        EXPECT_GE(rc, 0);
        complete_ = complete_ && rc >= 0;
    }
    std::uint32_t id(std::int64_t made) {
        ok(made);
        return static_cast<std::uint32_t>(made);
    }
    int opened(const char* path) {
        const int fd = kernel().open(path, O_RDWR);
        ok(fd);
        return keep(static_cast<std::uint32_t>(fd));
    }
    std::uint32_t spare_ioas_for_devices() { return ioas(); }

    MockIds mock_device(std::uint32_t pt, std::uint32_t flags) {
        uapi::mock::TestCmd made{};
        ok(test(
            uapi::mock::kMockDomainFlags, pt, [&](auto& c) { c.mock_domain_flags.dev_flags = flags; },
            &made));
        return {.stdev = made.mock_domain_flags.out_stdev_id,
                .idev = made.mock_domain_flags.out_idev_id,
                .hwpt = made.mock_domain_flags.out_hwpt_id};
    }
    uapi::ViommuAlloc viommu_command() const {
        return {.type = uapi::mock::kViommuSelftest, .dev_id = plain.idev, .hwpt_id = parent};
    }
    MockIds nested_device(std::uint32_t& on, int& events, std::uint32_t& number, std::uint32_t depth) {
        const MockIds device = mock_device(parent, uapi::mock::kDevicePasid);
        uapi::ViommuAlloc command = viommu_command();
        ok(call(uapi::kViommuAlloc, command));
        on = command.out_viommu_id;
        uapi::VdeviceAlloc numbered{.viommu_id = on, .dev_id = device.idev, .virt_id = kNumber};
        ok(call(uapi::kVdeviceAlloc, numbered));
        number = numbered.out_vdevice_id;
        nested_hwpt = id(nested(on, faults));
        ok(test(uapi::mock::kMockDomainReplace, device.stdev,
                [&](auto& c) { c.mock_domain_replace.pt_id = nested_hwpt; }));
        uapi::VeventqAlloc queue{
            .viommu_id = on, .type = uapi::mock::kVeventqSelftest, .veventq_depth = depth};
        ok(call(uapi::kVeventqAlloc, queue));
        events = keep(queue.out_veventq_fd);
        return device;
    }
    void close_all() {
        for (const int fd : kept_) (void)kernel().close(fd);
        kept_.clear();
    }

    std::vector<int> kept_;
    bool complete_ = true;
};

}  // namespace iommufd::inline v0_1::model::testing
