// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a test can see of page tables and pins, and do to them; DMA buffers without a device.
#include <algorithm>
#include <cerrno>
#include <map>
#include <vector>

#include "model/dma_buffer.hpp"
#include "model/mock_commands.hpp"
#include "model/mock_device.hpp"
#include "model/page_identity.hpp"

namespace iommufd::inline v0_1::model {
namespace {

namespace mock = uapi::mock;

constexpr std::uint64_t kMostDirtyBits = (std::uint64_t{16} << 20) * 8;
constexpr std::uint64_t kLargestBuffer = 512 * user::kPage;

int mock_domain(Object* object, Domain*& domain) {
    const auto* const hwpt = dynamic_cast<const PagingHwpt*>(object);
    if (hwpt == nullptr) return -ENOENT;
    domain = hwpt->domain.get();
    return hwpt->iommu == MockDevice(0).iommu() ? 0 : -EINVAL;
}

}  // namespace

int Context::Mock::add_reserved(Context& context, const Command& command) {
    const auto [start, length] = command.add_reserved;
    if (length == 0) return -EINVAL;
    if (start + (length - 1) < start) return -EOVERFLOW;
    const sys::Lock lock(context.mutex_);
    Ioas* const ioas = context.objects_.find<Ioas>(command.id);
    if (ioas == nullptr) return -ENOENT;
    return ioas->iopt.reserve_range({.first = start, .last = start + (length - 1)}, nullptr);
}

int Context::Mock::check_map(Context& context, const Command& command) {
    const sys::Lock lock(context.mutex_);
    Domain* domain = nullptr;
    if (const int rc = mock_domain(context.objects_.find(command.id), domain); rc < 0) return rc;
    auto [iova, length, address] = command.check_map;
    const std::uint64_t step = domain->geometry().smallest_page();
    if ((iova | length | address) % step != 0 || address + length < address) return -EINVAL;
    if (length == 0) return 0;
    PageIdentities pages;
    for (; length != 0; length -= step, iova += step, address += step) {
        const std::optional<PageIdentity> expected = pages.of_user(address);
        if (!expected) return -EFAULT;
        const std::optional<physical::Address> found = domain->translate(iova);
        if (!found || *found % user::kPage != address % user::kPage || pages.of(*found) != expected)
            return -EINVAL;
    }
    return 0;
}

int Context::Mock::check_pins(Context& context, const Command& command) {
    auto [length, address, expected] = command.check_refs;
    if ((length | address) % user::kPage != 0 || address + length < address) return -EINVAL;
    if (length == 0) return 0;
    const sys::Lock lock(context.mutex_);
    PageIdentities pages;
    std::map<PageIdentity, std::uint32_t> pins;
    context.hardware_.pins.each_pinned([&](physical::Address pinned) {
        if (const auto identity = pages.of(pinned)) ++pins[*identity];
    });
    for (; length != 0; length -= user::kPage, address += user::kPage) {
        const std::optional<PageIdentity> page = pages.of_user(address);
        if (!page) return -EFAULT;
        const auto found = pins.find(*page);
        if ((found == pins.end() ? 0 : found->second) != expected) return -EIO;
    }
    return 0;
}

int Context::Mock::check_iotlb(Context& context, const Command& command) {
    const sys::Lock lock(context.mutex_);
    const auto* const nested = context.objects_.find<NestedHwpt>(command.id);
    if (nested == nullptr) return -ENOENT;
    const auto [id, expected] = command.check_iotlb;
    return id <= mock::kIotlbIdMax && nested->iotlb[id] == expected ? 0 : -EINVAL;
}

int Context::Mock::make_dirty(Context& context, Command& command, const Call& call) {
    const mock::Dirty& wanted = command.dirty;
    if (wanted.page_size == 0 || wanted.length == 0 || wanted.uptr == 0 ||
        wanted.iova % wanted.page_size != 0 || wanted.length % wanted.page_size != 0)
        return -EINVAL;
    const std::uint64_t bits = wanted.length / wanted.page_size;
    if (bits > kMostDirtyBits) return -EOVERFLOW;
    const sys::Lock lock(context.mutex_);
    Domain* domain = nullptr;
    if (const int rc = mock_domain(context.objects_.find(command.id), domain); rc < 0) return rc;
    if (!domain->tracking()) return -EINVAL;
    std::vector<std::uint8_t> bitmap((bits + 7) / 8);
    if (user::copy_from(bitmap.data(), wanted.uptr, bitmap.size()) < 0) return -EFAULT;
    std::uint64_t count = 0;
    for (std::uint64_t bit = 0; bit < bits; ++bit) {
        if ((bitmap[bit / 8] >> bit % 8 & 1) == 0) continue;
        domain->set_dirty(wanted.iova + bit * wanted.page_size);
        ++count;
    }
    command.dirty.out_nr_dirty = count;
    return call.reply(command);
}

// Linux 7.3.4 returns 0 here, and leaves it to the program to guess the descriptor.
int Context::Mock::get_dma_buffer(Context& context, const Command& command) {
    const std::uint64_t length =
        (std::uint64_t{command.dmabuf_get.length} + (user::kPage - 1)) / user::kPage * user::kPage;
    if (length == 0 || length > kLargestBuffer) return -EINVAL;
    return context.files_.install(std::make_shared<DmaBufferFile>(std::make_shared<DmaBuffer>(length)),
                                  "dmabuf", 0);
}

int Context::Mock::revoke_dma_buffer(Context& context, const Command& command) {
    const int fd = command.dmabuf_revoke.dmabuf_fd;
    const FileTable::Found found = context.files_.find(fd);
    const auto* const exported = dynamic_cast<const DmaBufferFile*>(found.file.get());
    if (exported == nullptr) return found || FileTable::is_open(fd) ? -EINVAL : -EBADF;
    exported->buffer()->set_revoked(command.dmabuf_revoke.revoked != 0);
    return 0;
}

}  // namespace iommufd::inline v0_1::model
