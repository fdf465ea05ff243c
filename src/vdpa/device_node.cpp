// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vdpa/device_node.hpp"

#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/vhost.hpp"

namespace iommufd::inline v0_1::vdpa {
namespace {

using namespace uapi::vhost;

static_assert(static_cast<unsigned>(BackendFeature::message_v2) == kIotlbMsgV2);
static_assert(static_cast<unsigned>(BackendFeature::batch) == kIotlbBatch);
static_assert(static_cast<unsigned>(BackendFeature::address_spaces) == kIotlbAsid);
static_assert(static_cast<unsigned>(BackendFeature::suspend) == kSuspend);
static_assert(static_cast<unsigned>(BackendFeature::resume) == kResume);
static_assert(static_cast<unsigned>(BackendFeature::enable_after_driver_ok) == kEnableAfterDriverOk);
static_assert(static_cast<unsigned>(BackendFeature::descriptor_group) == kDescAsid);
static_assert(static_cast<unsigned>(BackendFeature::persist) == kIotlbPersist);

// Those that this library knows what to do with.
constexpr std::uint64_t kKnown = bit(BackendFeature::message_v2) | bit(BackendFeature::batch) |
                                 bit(BackendFeature::address_spaces) | bit(BackendFeature::suspend) |
                                 bit(BackendFeature::resume) | bit(BackendFeature::enable_after_driver_ok) |
                                 bit(BackendFeature::descriptor_group) | bit(BackendFeature::persist);

// What Linux takes where its module parameter isn't to be seen.
constexpr std::size_t kUsualEntries = 2048;

}  // namespace

DeviceNode::DeviceNode(std::optional<User> user, sys::Fd fd, std::string name, Report report)
    : user_(std::move(user)), fd_(std::move(fd)), name_(std::move(name)), report_(std::move(report)) {}

DeviceNode::~DeviceNode() {
    if (auto closed = close(); !closed && report_)
        report_({.severity = Severity::error, .error = closed.error()});
}

Result<void> DeviceNode::close() noexcept {
    const int error = fd_.close();
    if (error < 0) return failed(Operation::close, -error, [&] { return compose("cannot close ", name_); });
    return {};
}

Result<void> DeviceNode::done(Operation operation, int result, std::string_view what) const noexcept {
    if (result >= 0) return {};
    return failed(operation, -result, [&] { return compose("cannot ", what, " of ", name_); });
}

Result<std::shared_ptr<DeviceNode>> DeviceNode::make(sys::Fd fd, std::string name, bool given,
                                                     const Device::Options& options) {
    std::optional<User> user;
    if (options.backend) {
        auto joined = options.backend->join(name);
        if (!joined) return joined.error();
        user.emplace(std::move(*joined));
    }
    auto node = std::make_shared<DeviceNode>(std::move(user), std::move(fd), std::move(name), options.report);
    if (auto taken = node->take(given); !taken) return taken.error();
    if (auto agreed = node->agree_on_features(options.decline); !agreed) return agreed.error();
    if (auto chosen = node->choose_address_space(options); !chosen) return chosen.error();
    if (auto made = node->make_sink(); !made) return made.error();
    return node;
}

Result<void> DeviceNode::take(bool given) {
    if (const int result = fd_.ioctl(kVdpaGetDeviceId, &device_id_); result < 0)
        return Error::refused(
            -result, compose("cannot use ", name_),
            result == -EBADF ? "the descriptor is not open in this process"
                             : "it is not a vhost-vdpa device: it does not answer VHOST_VDPA_GET_DEVICE_ID",
            "pass /dev/vhost-vdpa-N, or a descriptor that was opened on it for reading and writing");
    const int result = fd_.ioctl(kSetOwner, nullptr);
    // Whether an owner that was set before is this process shows at the first message.
    if (given && result == -EBUSY) return {};
    return done(Operation::vdpa_set_owner, result, "become the owner");
}

Result<void> DeviceNode::agree_on_features(std::uint64_t decline) {
    std::uint64_t offered = 0;
    if (auto got = ioctl(Operation::vdpa_backend_features, kGetBackendFeatures, &offered,
                         "read the backend features");
        !got)
        return got;
    std::uint64_t wanted = offered & kKnown & ~decline;
    if ((wanted & bit(BackendFeature::address_spaces)) == 0)
        wanted &= ~bit(BackendFeature::descriptor_group);  // EINVAL otherwise
    if ((wanted & bit(BackendFeature::message_v2)) == 0)
        return Error::refused(EOPNOTSUPP, compose("cannot use ", name_),
                              "VHOST_BACKEND_F_IOTLB_MSG_V2 is not offered, or was declined",
                              "boot Linux 5.9 or later, and do not decline it");
    if (auto set =
            ioctl(Operation::vdpa_backend_features, kSetBackendFeatures, &wanted, "set the backend features");
        !set)
        return set;
    backend_features_ = wanted;
    return {};
}

Result<void> DeviceNode::choose_address_space(const Device::Options& options) {
    if (has(BackendFeature::address_spaces)) {
        if (auto got = ioctl(Operation::vdpa_address_space, kVdpaGetAsNum, &address_spaces_,
                             "read the number of address spaces");
            !got)
            return got;
        if (auto got = ioctl(Operation::vdpa_address_space, kVdpaGetGroupNum, &groups_,
                             "read the number of queue groups");
            !got)
            return got;
    }
    if (options.asid >= address_spaces_)
        return Error::refused(EINVAL, compose("cannot use address space ", options.asid, " of ", name_),
                              compose("it has ", address_spaces_, ", counted from 0"),
                              address_spaces_ == 1 ? "leave asid= out" : "choose another asid=");
    if (options.group && *options.group >= groups_)
        return Error::refused(EINVAL, compose("cannot use queue group ", *options.group, " of ", name_),
                              compose("it has ", groups_, ", counted from 0"),
                              groups_ == 1 ? "leave group= out" : "choose another group=");
    asid_ = options.asid;
    if (options.group) {
        moved_.push_back(*options.group);
    } else if (asid_ != 0) {
        for (std::uint32_t group = 0; group < groups_; ++group) moved_.push_back(group);
    }
    // All groups use address space 0 from the start, and a device with only one may not know the call.
    if (address_spaces_ == 1) moved_.clear();
    return assign_groups();
}

Result<void> DeviceNode::assign_groups() const {
    for (const std::uint32_t group : moved_)
        if (auto set = set_group_asid(group, asid_); !set) return set;
    return {};
}

Result<void> DeviceNode::set_group_asid(std::uint32_t group, std::uint32_t asid) const {
    VringState state{.index = group, .num = asid};
    if (const int result = fd_.ioctl(kVdpaSetGroupAsid, &state); result < 0)
        return failed(Operation::vdpa_address_space, -result, [&] {
            return compose("cannot let queue group ", group, " use address space ", asid, " of ", name_);
        });
    return {};
}

std::size_t DeviceNode::most_entries() const {
    std::string text;
    std::size_t number = 0;
    if (kernel().read_file("/sys/module/vhost_vdpa/parameters/max_iotlb_entries", text) < 0)
        return kUsualEntries;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    return read.ec == std::errc() ? number : kUsualEntries;
}

Result<void> DeviceNode::make_sink() {
    VdpaIovaRange range{.first = 0, .last = ~std::uint64_t{0}};
    const int got = fd_.ioctl(kVdpaGetIovaRange, &range);
    // Before Linux 5.10 nothing is known of it, and nothing refused for it.
    if (got < 0 && got != -ENOTTY) return done(Operation::vdpa_iova_range, got, "read the IOVA range");

    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const Iotlb iotlb(kernel(), fd(), asid_);
    const Iova first{range.first == 0 ? 0 : (range.first - 1) / page * page + page};
    const Probed probed = probe(kernel(), iotlb, first, page);
    if (probed.error == -EPERM)
        return Error::refused(
            EPERM, compose("cannot map into ", name_),
            "another process is its owner: the one that called VHOST_SET_OWNER through this "
            "open file, or a parent that forked",
            "open the device in the process that is to map, or hand its descriptor over "
            "before VHOST_SET_OWNER");
    if (probed.error < 0)
        return failed(Operation::iotlb_update, -probed.error,
                      [&] { return compose("cannot find out how ", name_, " takes memory"); });
    sink_.emplace(kernel(), iotlb, name_,
                  IotlbSink::Terms{.range = {Iova{range.first}, Iova{range.last}},
                                   .page_size = page,
                                   .uses_addresses = probed.uses_addresses,
                                   .batches = has(BackendFeature::batch),
                                   .most_entries = most_entries()});
    return {};
}

Result<void> DeviceNode::reset() {
    return sink_->around_reset(!has(BackendFeature::persist), [this]() -> Result<void> {
        std::uint8_t status = 0;
        if (auto set = ioctl(Operation::vdpa_status, kVdpaSetStatus, &status, "reset the device"); !set)
            return set;
        return assign_groups();
    });
}

}  // namespace iommufd::inline v0_1::vdpa
