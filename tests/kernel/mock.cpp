// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "kernel/mock.hpp"

#include "error/compose.hpp"

namespace iommufd::inline v0_1::kernel_tests {

namespace mock = uapi::mock;

int mock_operation(const core::Context& context, mock::TestCmd& command) {
    command.size = sizeof command;
    return context.node()->ioctl(mock::kTest, &command);
}

int check_iotlb(const core::Context& context, HwptId nested, std::uint32_t place, std::uint32_t value) {
    mock::TestCmd command{};
    command.op = mock::kMdCheckIotlb;
    command.id = nested.value;
    command.check_iotlb = {.id = place, .iotlb = value};
    return mock_operation(context, command);
}

int check_map(const core::Context& context, HwptId table, Iova iova, std::uint64_t length,
              const void* address) {
    mock::TestCmd command{};
    command.op = mock::kMdCheckMap;
    command.id = table.value;
    command.check_map = {
        .iova = iova.value, .length = length, .uptr = reinterpret_cast<std::uintptr_t>(address)};
    return mock_operation(context, command);
}

Result<MockDevice> MockDevice::make(const core::Context& context, PageTableId table, std::uint32_t flags) {
    mock::TestCmd command{};
    command.op = mock::kMockDomainFlags;
    command.id = table.value;
    command.mock_domain_flags.dev_flags = flags;
    if (const int result = mock_operation(context, command); result < 0)
        return Error(Operation::vfio_attach, -result, compose("no mock device on page table ", table.value));
    return MockDevice(core::Context(context.node()), command.mock_domain_flags);
}

MockDevice::MockDevice(core::Context context, const mock::MockDomainFlags& made)
    : context_(std::move(context)),
      stdev_(made.out_stdev_id),
      id_(made.out_idev_id),
      hwpt_(made.out_hwpt_id) {}

MockDevice::MockDevice(MockDevice&& other) noexcept
    : context_(other.context_.node()),
      stdev_(std::exchange(other.stdev_, 0)),
      id_(other.id_),
      hwpt_(other.hwpt_) {}

MockDevice::~MockDevice() {
    if (stdev_ == 0) return;
    uapi::Destroy command{.size = sizeof command, .id = stdev_};
    (void)context_.node()->ioctl(uapi::kDestroy, &command);
}

int MockDevice::run(std::uint32_t op, mock::TestCmd command) const {
    command.op = op;
    command.id = stdev_;
    return mock_operation(context_, command);
}

int MockDevice::replace(PageTableId table) const {
    mock::TestCmd command{};
    command.mock_domain_replace.pt_id = table.value;
    return run(mock::kMockDomainReplace, command);
}

int MockDevice::attach_pasid(std::uint32_t pasid, PageTableId table) const {
    mock::TestCmd command{};
    command.pasid_attach = {.pasid = pasid, .pt_id = table.value};
    return run(mock::kPasidAttach, command);
}

int MockDevice::replace_pasid(std::uint32_t pasid, PageTableId table) const {
    mock::TestCmd command{};
    command.pasid_replace = {.pasid = pasid, .pt_id = table.value};
    return run(mock::kPasidReplace, command);
}

int MockDevice::detach_pasid(std::uint32_t pasid) const {
    mock::TestCmd command{};
    command.pasid_detach.pasid = pasid;
    return run(mock::kPasidDetach, command);
}

int MockDevice::check_pasid(std::uint32_t pasid, HwptId table) const {
    mock::TestCmd command{};
    command.pasid_check = {.pasid = pasid, .hwpt_id = table.value};
    return run(mock::kPasidCheckHwpt, command);
}

int MockDevice::fault(std::uint64_t address, std::uint32_t pasid, std::uint32_t group) const {
    mock::TestCmd command{};
    command.op = mock::kTriggerIopf;
    command.trigger_iopf = {.dev_id = id_.value,
                            .pasid = pasid,
                            .grpid = group,
                            .perm = uapi::kFaultPermRead | uapi::kFaultPermWrite,
                            .addr = address};
    return mock_operation(context_, command);
}

int MockDevice::report_event() const {
    mock::TestCmd command{};
    command.op = mock::kTriggerVevent;
    command.trigger_vevent.dev_id = id_.value;
    return mock_operation(context_, command);
}

int MockDevice::check_cache(std::uint32_t id, std::uint32_t value) const {
    mock::TestCmd command{};
    command.op = mock::kDevCheckCache;
    command.id = id_.value;
    command.check_dev_cache = {.id = id, .cache = value};
    return mock_operation(context_, command);
}

}  // namespace iommufd::inline v0_1::kernel_tests
