// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Regions of a VFIO device: what there is, reads and writes at a position of its descriptor, and mmap of what is memory.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <vector>

#include "model/vfio_device.hpp"
#include "model/vfio_header.hpp"

namespace iommufd::inline v0_1::model {

using namespace uapi::vfio;

namespace {

constexpr unsigned kRegionShift = 40;  // a position's region, and the offset in it

constexpr std::uint64_t whole_pages(std::uint64_t size) {
    return (size + user::kPage - 1) / user::kPage * user::kPage;
}

// The widest access that the alignment allows, as vfio-pci makes them.
unsigned widest(std::uint64_t offset, std::size_t length) {
    unsigned width = 8;
    while (width > length || offset % width != 0) width /= 2;
    return width;
}

std::uint64_t region_of(std::uint64_t position) { return position >> kRegionShift; }
std::uint64_t offset_of(std::uint64_t position) {
    return position & ((std::uint64_t{1} << kRegionShift) - 1);
}

}  // namespace

int VfioDevice::region_info(user::Address argument) const {
    RegionInfo command{};
    if (const int rc = vfio_header(command, argument, sizeof command); rc < 0) return rc;
    if (command.index >= kPciVga) return -EINVAL;
    command.flags = 0;
    command.size = 0;
    command.cap_offset = 0;
    command.offset = first_region_ + (std::uint64_t{command.index} << kRegionShift);
    if (command.index < identity_.bars.size()) command.size = identity_.bars[command.index].size;
    if (command.index == kPciConfig) command.size = PciConfig::kSize;
    if (command.size != 0) command.flags = kRegionRead | kRegionWrite;
    const TurnLock lock(turn_);
    if (memory_of(command.index) != nullptr) command.flags |= kRegionMmap;
    return user::put(argument, command);
}

// Registers have effects, so they can't be mapped, unless somebody looks for what was written.
BarMemory* VfioDevice::memory_of(std::uint64_t region) const {
    if (region >= memories_.size()) return nullptr;
    return region == 0 && polled_ ? &polled_->memory() : memories_[region].get();
}

void VfioDevice::is_mapped(const BarMemory& memory) {
    if (!polled_ || &memory != &polled_->memory()) return decode_memory();
    polled_->begin();
    if (poller_) return;
    poller_ = std::make_unique<Poller>([this] {
        const TurnLock lock(turn_);
        return config_.memory_enabled() && polled_->look();
    });
}

// What a program has mapped of memory is there as long as the device decodes its addresses, and so for other devices.
void VfioDevice::decode_memory() {
    revoke_dma_buffers(!config_.memory_enabled());
    for (const auto& memory : memories_) {
        if (!memory) continue;
        if (config_.memory_enabled())
            memory->give_back();
        else
            memory->take_away();
    }
}

ssize_t VfioDevice::access(user::Address buffer, std::size_t count, std::uint64_t position, bool write) {
    const std::uint64_t region = region_of(position);
    const std::uint64_t offset = offset_of(position);
    if (region >= kPciNumRegions) return -EINVAL;
    if (count == 0) return 0;
    if (region == kPciConfig) return access_config(buffer, count, offset, write);
    if (region >= identity_.bars.size()) return -EINVAL;
    const std::uint64_t size = identity_.bars[region].size;
    if (offset >= size) return -EINVAL;  // absent, or beyond it
    if (!config_.memory_enabled()) return -EIO;
    count = std::min<std::size_t>(count, size - offset);
    if (memories_[region]) return access_memory(*memories_[region], buffer, count, offset, write);
    if (polled_) (void)polled_->look();  // what was written before this
    const ssize_t done = access_registers(buffer, count, offset, write);
    if (polled_) polled_->refresh();
    return done;
}

ssize_t VfioDevice::access_config(user::Address buffer, std::size_t count, std::uint64_t offset, bool write) {
    if (offset >= PciConfig::kSize || count > PciConfig::kSize - offset) return -EFAULT;
    std::array<std::byte, PciConfig::kSize> copy{};
    const std::span<std::byte> part = std::span(copy).first(count);
    if (write) {
        if (user::copy_from(part.data(), buffer, count) < 0) return -EFAULT;
        config_.write(offset, part);
        dma_.set_bus_master(config_.bus_master());
        irqs_.disable_line(config_.line_disabled());
        decode_memory();
    } else {
        config_.read(offset, part);
        if (user::copy_to(buffer, part.data(), count) < 0) return -EFAULT;
    }
    return static_cast<ssize_t>(count);
}

// The program doesn't see the table: it is the kernel's.
bool VfioDevice::in_msix_table(std::uint64_t offset) const {
    constexpr std::uint64_t kEntry = 16;
    return offset >= identity_.msix_table && offset - identity_.msix_table < identity_.msix_vectors * kEntry;
}

std::uint64_t VfioDevice::read_register(std::uint64_t offset, unsigned width) {
    return in_msix_table(offset) ? ~std::uint64_t{0} : device_->read(offset, width);
}

void VfioDevice::write_register(std::uint64_t offset, unsigned width, std::uint64_t value) {
    if (!in_msix_table(offset)) device_->write(offset, width, value);
}

ssize_t VfioDevice::access_registers(user::Address buffer, std::size_t count, std::uint64_t offset,
                                     bool write) {
    for (std::size_t done = 0; done < count;) {
        const unsigned width = widest(offset + done, count - done);
        std::uint64_t value = 0;
        if (write) {
            if (user::copy_from(&value, buffer + done, width) < 0) return -EFAULT;
            write_register(offset + done, width, value);
        } else {
            value = read_register(offset + done, width);
            if (user::copy_to(buffer + done, &value, width) < 0) return -EFAULT;
        }
        done += width;
    }
    return static_cast<ssize_t>(count);
}

bool VfioDevice::peer_access(std::uint64_t offset, std::byte* bytes, std::size_t length,
                             bool write) noexcept {
    if (!turn_.lock_for_peer()) return false;
    const bool answers = config_.memory_enabled();
    try {
        if (polled_) (void)polled_->look();
        for (std::size_t done = 0; answers && done < length;) {
            const unsigned width = widest(offset + done, length - done);
            std::uint64_t value = 0;
            if (write) {
                std::memcpy(&value, bytes + done, width);
                write_register(offset + done, width, value);
            } else {
                value = read_register(offset + done, width);
                std::memcpy(bytes + done, &value, width);
            }
            done += width;
        }
        if (polled_) polled_->refresh();
    } catch (const std::bad_alloc&) {
        turn_.unlock();
        return false;
    }
    turn_.unlock();
    return answers;
}

ssize_t VfioDevice::access_memory(BarMemory& memory, user::Address buffer, std::size_t count,
                                  std::uint64_t offset, bool write) {
    std::array<std::byte, user::kPage> copy;
    for (std::size_t done = 0; done < count;) {
        const std::size_t now = std::min(copy.size(), count - done);
        const int rc = write ? user::copy_from(copy.data(), buffer + done, now)
                             : memory.read(copy.data(), offset + done, now);
        if (rc < 0 || (write ? memory.write(offset + done, copy.data(), now)
                             : user::copy_to(buffer + done, copy.data(), now)) < 0)
            return -EFAULT;
        done += now;
    }
    return static_cast<ssize_t>(count);
}

int VfioDevice::mappable(std::size_t length, int flags, std::uint64_t position, BarMemory*& memory,
                         std::uint64_t& offset) const {
    const std::uint64_t region = region_of(position);
    offset = offset_of(position);
    memory = memory_of(region);
    if ((flags & MAP_TYPE) == MAP_PRIVATE || memory == nullptr) return -EINVAL;
    const std::uint64_t size = whole_pages(identity_.bars[region].size);
    return offset > size || whole_pages(length) > size - offset ? -EINVAL : 0;
}

ssize_t VfioFile::access(user::Address buffer, std::size_t count, std::uint64_t position, bool write) {
    if (!device_.owned_by(this)) return -EINVAL;
    const TurnLock lock(device_.turn_);
    return device_.access(buffer, count, position, write);
}

// A cdev keeps no position that anybody would use: read(2) and write(2) start at its first byte.
ssize_t VfioFile::read(user::Address buffer, std::size_t count) { return access(buffer, count, 0, false); }
ssize_t VfioFile::write(user::Address buffer, std::size_t count) { return access(buffer, count, 0, true); }

ssize_t VfioFile::pread(user::Address buffer, std::size_t count, std::uint64_t position) {
    return access(buffer, count, position - device_.first_region_, false);
}
ssize_t VfioFile::pwrite(user::Address buffer, std::size_t count, std::uint64_t position) {
    return access(buffer, count, position - device_.first_region_, true);
}

// `map` makes what a program sees of a BAR's memory: 0 or a negative errno.
template <class Map>
int VfioFile::show_memory(std::size_t length, int flags, std::uint64_t position, Map&& map) {
    if (!device_.owned_by(this)) return -EINVAL;
    const TurnLock lock(device_.turn_);
    BarMemory* memory = nullptr;
    std::uint64_t offset = 0;
    if (const int rc = device_.mappable(length, flags, position - device_.first_region_, memory, offset);
        rc < 0)
        return rc;
    if (const int rc = map(*memory, offset); rc < 0) return rc;
    device_.is_mapped(*memory);
    return 0;
}

// A mapping holds the open file, and so the device.
int VfioFile::mmap(void** address, std::size_t length, int protection, int flags, std::uint64_t position) {
    return show_memory(length, flags, position, [&](BarMemory& memory, std::uint64_t offset) {
        Mappings::Prepared mapping =
            Mappings::prepare(whole_pages(length), [self = shared_from_this()] { (void)self; });
        if (const int rc = memory.map(address, length, protection, flags, offset); rc < 0) return rc;
        device_.mappings_.add(user::address(*address), std::move(mapping));
        return 0;
    });
}

int VfioFile::show(int own, std::size_t length, int /*protection*/, int flags, std::uint64_t position) {
    return show_memory(length, flags, position, [&](BarMemory& memory, std::uint64_t offset) {
        return memory.show_in(own, position - offset);
    });
}

}  // namespace iommufd::inline v0_1::model
