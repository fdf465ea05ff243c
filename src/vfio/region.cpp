// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/vfio/region.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "core/unmapping.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "vfio/device_node.hpp"
#include "vfio/region_info.hpp"

namespace iommufd::inline v0_1::vfio {

namespace abi = uapi::vfio;

struct Region::State {
    std::shared_ptr<DeviceNode> device;
    abi::RegionInfo info;
    std::vector<MappedArea> mapped;
    std::vector<std::unique_ptr<core::Unmapping>> unmappings;

    ~State() {
        for (auto& unmapping : unmappings) (void)device->context()->release(std::move(unmapping));
    }

    Result<void> map(const Area& area);
};

namespace {

// The kernel maps registers in pages of these sizes, where the address fits.
constexpr std::uint64_t kHugePages[] = {1_GiB, 2_MiB};

// The largest huge page that `length` bytes hold; 0: none.
std::uint64_t huge_page_in(std::uint64_t length) {
    for (const std::uint64_t page : kHugePages)
        if (length >= page) return page;
    return 0;
}

// What the kernel answers of a region, capabilities included, is less than that.
constexpr std::size_t kMostInfo = 64_KiB;

Error cannot(const DeviceNode& device, std::string_view what, std::uint32_t index, int code,
             Operation operation) {
    return failed(operation, code,
                  [&] { return compose("cannot ", what, " region ", index, " of ", device.name()); });
}

}  // namespace

Result<void> Region::State::map(const Area& area) {
    const sys::Fd& fd = device->fd();
    auto unmapping = std::make_unique<core::Unmapping>(
        fd.kernel(), compose("the mapping of region ", info.index, " of ", device->name()));
    mapped.reserve(mapped.size() + 1);
    unmappings.reserve(unmappings.size() + 1);
    const auto refused = [&](int result) {
        return cannot(*device, "map", info.index, -result, Operation::region_mmap);
    };
    void* address = nullptr;
    int fixed = 0;
    const std::uint64_t page = huge_page_in(area.size);
    if (page != 0) {
        // Room for the area wherever it starts in a huge page. A BAR is aligned to its size, so addresses
        // that are congruent to the offset are congruent to the physical ones.
        void* room = nullptr;
        if (const int result = fd.kernel().mmap(&room, area.size + page, PROT_NONE,
                                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            result < 0)
            return refused(result);
        unmapping->mapped(room, area.size + page);
        const auto start = reinterpret_cast<std::uintptr_t>(room);
        address = static_cast<std::byte*>(room) + ((area.offset - start) & (page - 1));
        fixed = MAP_FIXED;
    }
    const int protection =
        (info.flags & abi::kRegionRead ? PROT_READ : 0) | (info.flags & abi::kRegionWrite ? PROT_WRITE : 0);
    const int result = fd.kernel().mmap(&address, area.size, protection, MAP_SHARED | fixed, fd.number(),
                                        info.offset + area.offset);
    if (result >= 0 && page == 0) unmapping->mapped(address, area.size);
    // Without it the kernel uses huge pages only where they are on for everybody.
    if (result >= 0 && page != 0) (void)::madvise(address, area.size, MADV_HUGEPAGE);
    unmappings.push_back(std::move(unmapping));
    if (result < 0) return refused(result);
    mapped.push_back({.offset = area.offset, .size = area.size, .address = static_cast<std::byte*>(address)});
    return {};
}

Result<Region> Device::region(std::uint32_t index) const {
    return guarded(Operation::vfio_get_region_info, [&]() -> Result<Region> {
        std::vector<std::byte> answer(sizeof(abi::RegionInfo));
        abi::RegionInfo info{};
        // The second time with room for the capabilities.
        do {
            answer.resize(std::max<std::size_t>(info.argsz, sizeof info));
            info = {.argsz = static_cast<std::uint32_t>(answer.size()),
                    .flags = 0,
                    .index = index,
                    .cap_offset = 0,
                    .size = 0,
                    .offset = 0};
            std::memcpy(answer.data(), &info, sizeof info);
            if (const int result = node_->ioctl(abi::kDeviceGetRegionInfo, answer.data()); result < 0)
                return cannot(*node_, "describe", index, -result, Operation::vfio_get_region_info);
            std::memcpy(&info, answer.data(), sizeof info);
        } while (info.argsz > answer.size() && info.argsz <= kMostInfo);
        if (info.size == 0)
            return Error::refused(ENODEV, compose("cannot use region ", index, " of ", name()),
                                  "the device has none there", "look at lspci -v for the BARs that it has");
        auto state = std::make_unique<Region::State>();
        state->device = node_;
        state->info = info;
        for (const Area& area : mappable_areas(answer))
            // Then it is read and written by system calls, which takes longer but always works.
            if (auto mapped = state->map(area); !mapped)
                node_->context()->notice(Severity::warning, mapped.error());
        return Region(std::move(state));
    });
}

Region::Region(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Region::Region(Region&&) noexcept = default;
Region& Region::operator=(Region&&) noexcept = default;
Region::~Region() = default;

std::uint32_t Region::index() const noexcept { return state_->info.index; }
std::uint64_t Region::size() const noexcept { return state_->info.size; }
bool Region::readable() const noexcept { return (state_->info.flags & abi::kRegionRead) != 0; }
bool Region::writable() const noexcept { return (state_->info.flags & abi::kRegionWrite) != 0; }
std::span<const MappedArea> Region::mapped() const noexcept { return state_->mapped; }

std::byte* Region::address(std::uint64_t offset, std::size_t width) const noexcept {
    if (offset % width != 0) return nullptr;
    for (const MappedArea& area : state_->mapped)
        if (offset >= area.offset && offset - area.offset < area.size &&
            area.size - (offset - area.offset) >= width)
            return area.address + (offset - area.offset);
    return nullptr;
}

Result<void> Region::check(std::uint64_t offset, std::size_t length, bool allowed,
                           std::string_view what) const {
    if (allowed && offset <= size() && length <= size() - offset) return {};
    return guarded(Operation::none, [&]() -> Result<void> {
        return Error::refused(
            EINVAL,
            compose("cannot ", what, " ", length, " bytes at ", Hex{offset}, " of region ", index(), " of ",
                    state_->device->name()),
            allowed ? compose("it ends at ", Hex{size()}) : std::string("it doesn't allow that"),
            "compare with the region's size and flags (VFIO_DEVICE_GET_REGION_INFO)");
    });
}

Result<void> Region::read_bytes(std::uint64_t offset, void* buffer, std::size_t length) const {
    if (auto good = check(offset, length, readable(), "read"); !good) return good;
    const sys::Fd& fd = state_->device->fd();
    const ssize_t got = fd.kernel().pread(fd.number(), buffer, length, state_->info.offset + offset);
    if (got == static_cast<ssize_t>(length)) return {};
    return failed(Operation::region_read, got < 0 ? static_cast<int>(-got) : EIO, [&] {
        return compose("cannot read ", length, " bytes at ", Hex{offset}, " of region ", index(), " of ",
                       state_->device->name());
    });
}

Result<void> Region::write_bytes(std::uint64_t offset, const void* buffer, std::size_t length) const {
    if (auto good = check(offset, length, writable(), "write"); !good) return good;
    const sys::Fd& fd = state_->device->fd();
    const ssize_t put = fd.kernel().pwrite(fd.number(), buffer, length, state_->info.offset + offset);
    if (put == static_cast<ssize_t>(length)) return {};
    return failed(Operation::region_write, put < 0 ? static_cast<int>(-put) : EIO, [&] {
        return compose("cannot write ", length, " bytes at ", Hex{offset}, " of region ", index(), " of ",
                       state_->device->name());
    });
}

}  // namespace iommufd::inline v0_1::vfio
