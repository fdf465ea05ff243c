// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Viommus, their devices and their queues in memory.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <new>

#include "model/caller.hpp"
#include "model/context.hpp"
#include "model/viommu.hpp"

namespace iommufd::inline v0_1::model {
namespace {

namespace mock = uapi::mock;

constexpr std::uint64_t kWindowLength = 2 * user::kPage;

}  // namespace

RegisterWindow::~RegisterWindow() {
    if (fd_ >= 0) (void)::close(fd_);
}

int RegisterWindow::make(std::uint64_t offset, std::uint64_t length, std::uint32_t first_word) {
    fd_ = ::memfd_create("viommu", MFD_CLOEXEC);
    if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(length)) < 0 ||
        ::pwrite(fd_, &first_word, sizeof first_word, 0) != sizeof first_word)
        return -ENOMEM;
    offset_ = offset;
    length_ = length;
    return 0;
}

int RegisterWindow::show_in(int file) {
    struct stat found{};
    if (::fstat(file, &found) < 0) return -ENOMEM;
    const FileIdentity identity = identity_of(found);
    if (shown_in_ == identity) return 0;
    std::vector<char> content(length_);
    const auto end = static_cast<off_t>(offset_ + length_);
    if ((found.st_size < end && ::ftruncate(file, end) < 0) ||
        ::pread(fd_, content.data(), length_, 0) != static_cast<ssize_t>(length_) ||
        ::pwrite(file, content.data(), length_, static_cast<off_t>(offset_)) != static_cast<ssize_t>(length_))
        return -ENOMEM;
    shown_in_ = identity;
    return 0;
}

bool RegisterWindow::is_mapped() const {
    return shown_in_ && caller().is_mapped(*shown_in_, offset_, length_);
}

int Context::open_window(Viommu& viommu, const UserData& data, Windows& opened) {
    mock::ViommuSelftest config{};
    constexpr std::size_t kLeast = offsetof(mock::ViommuSelftest, out_mmap_offset);
    if (const int rc = data.copy_to(&config, mock::kViommuSelftest, sizeof config, kLeast); rc < 0) return rc;
    std::uint64_t offset = user::kPage;  // the lowest that is free, but 0
    while (windows_.contains(offset)) offset += kWindowLength;
    opened.emplace(offset, &viommu);
    if (const int rc = viommu.window.make(offset, kWindowLength, config.in_data); rc < 0) return rc;
    config.out_data = config.in_data;
    config.out_mmap_offset = offset;
    config.out_mmap_length = kWindowLength;
    return user::copy_to(data.address, &config, data.length) < 0 ? -EFAULT : 0;
}

int Context::viommu_alloc(uapi::ViommuAlloc& command, const Call& call) {
    if (command.flags != 0 || command.type == uapi::kViommuDefault) return -EOPNOTSUPP;
    const sys::Lock lock(mutex_);
    const auto* const device = objects_.find<BoundDevice>(command.dev_id);
    if (device == nullptr) return -ENOENT;
    if (!device->endpoint->has_viommu(command.type)) return -EOPNOTSUPP;
    auto* const parent = objects_.find<PagingHwpt>(command.hwpt_id);
    if (parent == nullptr) return -ENOENT;
    if (!parent->nest_parent) return -EINVAL;
    auto made = std::make_unique<Viommu>();
    made->iommu = device->endpoint->iommu();
    made->parent = parent;
    Windows opened;
    if (command.data_len != 0) {
        const UserData data{.type = command.type, .address = command.data_uptr, .length = command.data_len};
        if (const int rc = open_window(*made, data, opened); rc < 0) return rc;
    }
    Viommu& viommu = objects_.add(std::move(made));
    ++parent->users;
    windows_.merge(opened);
    command.out_viommu_id = viommu.id;
    const int rc = call.reply(command);
    if (rc < 0) drop(viommu);
    return rc;
}

void Context::drop(Viommu& viommu) {
    windows_.erase(viommu.window.offset());
    --viommu.parent->users;
    objects_.remove(viommu);
}

int Context::vdevice_alloc(uapi::VdeviceAlloc& command, const Call& call) {
    const sys::Lock lock(mutex_);
    auto* const viommu = objects_.find<Viommu>(command.viommu_id);
    auto* const device = viommu == nullptr ? nullptr : objects_.find<BoundDevice>(command.dev_id);
    if (device == nullptr) return -ENOENT;
    if (viommu->iommu != device->endpoint->iommu()) return -EINVAL;
    if (device->vdevice != nullptr || viommu->vdevices.contains(command.virt_id)) return -EEXIST;
    auto made = std::make_unique<Vdevice>();
    made->viommu = viommu;
    made->device = device;
    made->number = command.virt_id;
    std::map<std::uint64_t, Vdevice*> entry{{command.virt_id, made.get()}};
    Vdevice& vdevice = objects_.add(std::move(made));
    viommu->vdevices.merge(entry);
    ++viommu->users;
    device->vdevice = &vdevice;
    command.out_vdevice_id = vdevice.id;
    const int rc = call.reply(command);
    if (rc < 0) {
        unlink(vdevice);
        objects_.remove(vdevice);
    }
    return rc;
}

void Context::unlink(Vdevice& vdevice) {
    vdevice.viommu->vdevices.erase(vdevice.number);
    vdevice.device->vdevice = nullptr;
    --vdevice.viommu->users;
}

int Context::hw_queue_alloc(uapi::HwQueueAlloc& command, const Call& call) {
    if (command.flags != 0 || command.type == uapi::kHwQueueDefault) return -EOPNOTSUPP;
    if (command.length == 0) return -EINVAL;
    if (command.nesting_parent_iova + (command.length - 1) < command.nesting_parent_iova) return -EOVERFLOW;
    const sys::Lock lock(mutex_);
    auto* const viommu = objects_.find<Viommu>(command.viommu_id);
    if (viommu == nullptr) return -ENOENT;
    if (command.type != mock::kHwQueueSelftest) return -EOPNOTSUPP;

    HwQueue& queue = objects_.add(std::make_unique<HwQueue>());
    queue.hidden = true;
    const auto build = [&]() IOMMUFD_REQUIRES(mutex_) {
        const std::uint64_t offset = command.nesting_parent_iova % user::kPage;
        const std::uint64_t pages = offset + command.length + (user::kPage - 1);
        if (pages < command.length) return -ERANGE;
        queue.first_page = command.nesting_parent_iova - offset;
        queue.length = pages / user::kPage * user::kPage;
        queue.viommu = viommu;
        ++viommu->users;
        if (const int rc = hold_queue(queue); rc < 0) return rc;
        if (command.index >= viommu->hw_queues.size()) return -EINVAL;
        if (viommu->hw_queues[command.index] != nullptr) return -EEXIST;
        if (command.index != 0) {
            queue.previous = viommu->hw_queues[command.index - 1];
            if (queue.previous == nullptr) return -EIO;
            ++queue.previous->users;
        }
        viommu->hw_queues[command.index] = &queue;
        queue.built = true;
        command.out_hw_queue_id = queue.id;
        return call.reply(command);
    };
    int rc = 0;
    try {
        rc = build();
    } catch (const std::bad_alloc&) {
        rc = -ENOMEM;
    }
    queue.hidden = false;
    if (rc < 0) drop(queue);
    return rc;
}

int Context::hold_queue(HwQueue& queue) {
    // So many that no memory would be left for their list.
    constexpr std::uint64_t kTooMany = std::uint64_t{1} << 28;
    if (queue.length / user::kPage >= kTooMany) return -ENOMEM;
    AccessObject& access = make_access(true);
    Ioas& ioas = *queue.viommu->parent->ioas;
    await_quiet(ioas);
    int rc = change_ioas(access, &ioas);
    if (rc == 0) {
        rc = ioas.iopt.pin(queue.first_page, queue.length, false, true);
        if (rc == 0) {
            queue.access = &access;
            const std::vector<user::Address> pages = ioas.iopt.addresses(queue.first_page, queue.length);
            const auto gap = std::ranges::adjacent_find(
                pages, [](user::Address a, user::Address b) { return b != a + user::kPage; });
            return gap == pages.end() ? 0 : -EFAULT;
        }
    }
    drop(access);
    return rc;
}

void Context::drop(HwQueue& queue) {
    if (queue.previous != nullptr) --queue.previous->users;
    if (queue.access != nullptr) {
        queue.access->ioas->iopt.unpin(queue.first_page, queue.length, true);
        drop(*queue.access);
    }
    if (queue.viommu != nullptr) {
        // Linux's mock forgets the index: whichever goes, the first is free, and the second never again.
        if (queue.built) queue.viommu->hw_queues[0] = nullptr;
        --queue.viommu->users;
    }
    objects_.remove(queue);
}

}  // namespace iommufd::inline v0_1::model
