// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// VFIO_DEVICE_FEATURE_DMA_BUF: a part of a BAR as a dma-buf, by which other devices reach it (vfio_pci_dmabuf.c). A reset, memory
// decoding that is turned off, and close revoke it.
#include <cerrno>

#include "model/vfio_device.hpp"

namespace iommufd::inline v0_1::model {

using namespace uapi::vfio;

namespace {

constexpr std::size_t kMostRangesSize = 4U << 20;  // of what Linux copies in one piece

bool adds_up(std::uint64_t a, std::uint64_t b, std::uint64_t& sum) {
    return !__builtin_add_overflow(a, b, &sum);
}

// The whole length of ranges that are not empty and of whole pages; -EINVAL.
int length_of(const std::vector<RegionDmaRange>& ranges, std::uint64_t& length) {
    for (const RegionDmaRange& range : ranges) {
        if (range.length == 0 || range.offset % user::kPage != 0 || range.length % user::kPage != 0)
            return -EINVAL;
        if (!adds_up(length, range.length, length)) return -EINVAL;
    }
    return length >> 63 != 0 ? -EINVAL : 0;
}

// By addresses of the bus, as Linux does it.
int check_inside(const std::vector<RegionDmaRange>& ranges, const PciBar& bar) {
    for (const RegionDmaRange& range : ranges) {
        std::uint64_t first = 0;
        std::uint64_t end = 0;
        if (!adds_up(bar.address, range.offset, first) || !adds_up(first, range.length, end))
            return -EOVERFLOW;
        if (end > bar.address + bar.size) return -EINVAL;
    }
    return 0;
}

}  // namespace

class VfioDevice::BarRegisters final : public Registers {
public:
    explicit BarRegisters(VfioDevice& device) : device_(device) {}

    bool access(std::uint64_t offset, std::byte* bytes, std::size_t length, bool write) noexcept override {
        return device_.peer_access(offset, bytes, length, write);
    }

private:
    VfioDevice& device_;
};

int VfioDevice::export_dma_buffer(std::uint32_t flags, user::Address data, std::uint32_t size) {
    if ((flags & kFeatureSet) != 0) return -EINVAL;
    if ((flags & kFeatureProbe) != 0) return 0;
    FeatureDmaBuf wanted{};
    if ((flags & kFeatureGet) == 0 || size < sizeof wanted) return -EINVAL;
    if (user::get(wanted, data) < 0) return -EFAULT;
    if (wanted.nr_ranges == 0 || wanted.flags != 0) return -EINVAL;
    if (wanted.region_index >= identity_.bars.size() || identity_.bars[wanted.region_index].size == 0)
        return -ENODEV;
    if (std::uint64_t{wanted.nr_ranges} * sizeof(RegionDmaRange) > kMostRangesSize) return -ENOMEM;
    std::vector<RegionDmaRange> ranges(wanted.nr_ranges);
    if (user::copy_from(ranges.data(), data + sizeof wanted, ranges.size() * sizeof(RegionDmaRange)) < 0)
        return -EFAULT;
    std::shared_ptr<DmaBuffer> buffer;
    {
        const TurnLock lock(turn_);
        if (const int rc = dma_buffer(wanted, ranges, buffer); rc < 0) return rc;
    }
    return files_.install(std::make_shared<DmaBufferFile>(std::move(buffer)), "dmabuf", 0);
}

int VfioDevice::dma_buffer(const FeatureDmaBuf& wanted, const std::vector<RegionDmaRange>& ranges,
                           std::shared_ptr<DmaBuffer>& buffer) {
    std::uint64_t length = 0;
    if (const int rc = length_of(ranges, length); rc < 0) return rc;
    if (const int rc = check_inside(ranges, identity_.bars[wanted.region_index]); rc < 0) return rc;
    std::shared_ptr<AddressSpace> space = memories_[wanted.region_index];
    if (!space) {
        if (!registers_) registers_ = std::make_shared<BarRegisters>(*this);
        space = registers_;
    }
    const physical::Address first = space->tag() + ranges.front().offset;
    buffer = std::make_shared<DmaBuffer>(length, first, std::move(space), ranges.size() == 1,
                                         !config_.memory_enabled());
    std::erase_if(exported_, [](const auto& entry) { return entry.expired(); });
    exported_.push_back(buffer);
    return 0;
}

void VfioDevice::revoke_dma_buffers(bool revoked) {
    for (const auto& entry : exported_)
        if (const auto buffer = entry.lock(); buffer && buffer->revoked() != revoked)
            buffer->set_revoked(revoked);
}

}  // namespace iommufd::inline v0_1::model
