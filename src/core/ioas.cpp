// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/core/ioas.hpp"

#include <cerrno>

#include "core/node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::core {
namespace {

constexpr std::uint64_t kEverything = ~std::uint64_t{0};

constexpr std::uint32_t map_flags(Access access, bool fixed) noexcept {
    return (fixed ? uapi::kMapFixedIova : 0) | (may_read(access) ? uapi::kMapReadable : 0) |
           (may_write(access) ? uapi::kMapWriteable : 0);
}

std::uint64_t address_of(const void* pointer) noexcept { return reinterpret_cast<std::uintptr_t>(pointer); }

// "0x1000+0x2000", or what the kernel was to choose.
std::string place(std::uint64_t length, const Iova* at) {
    return at ? compose(Hex{at->value}, "+", Hex{length})
              : compose(Hex{length}, " bytes at an IOVA of the kernel's choice");
}

Result<Iova> map_memory(const ObjectNode& node, const void* address, std::uint64_t length, Access access,
                        const Iova* at) {
    uapi::IoasMap command{.size = sizeof command,
                          .flags = map_flags(access, at != nullptr),
                          .ioas_id = node.id(),
                          .reserved = 0,
                          .user_va = address_of(address),
                          .length = length,
                          .iova = at ? at->value : 0};
    if (const int result = node.context().ioctl(uapi::kIoasMap, &command); result < 0) [[unlikely]]
        return failed(Operation::ioas_map, -result, [&] {
            return compose("cannot map ", place(length, at), " (memory at ", Hex{address_of(address)},
                           ") into ", node.describe());
        });
    return Iova{command.iova};
}

Result<Iova> map_memory_file(const ObjectNode& node, int fd, std::uint64_t start, std::uint64_t length,
                             Access access, const Iova* at) {
    uapi::IoasMapFile command{.size = sizeof command,
                              .flags = map_flags(access, at != nullptr),
                              .ioas_id = node.id(),
                              .fd = fd,
                              .start = start,
                              .length = length,
                              .iova = at ? at->value : 0};
    if (const int result = node.context().ioctl(uapi::kIoasMapFile, &command); result < 0) [[unlikely]]
        return failed(Operation::ioas_map_file, -result, [&] {
            return compose("cannot map ", place(length, at), " (descriptor ", fd, ", offset ", Hex{start},
                           ") into ", node.describe());
        });
    return Iova{command.iova};
}

Result<Iova> copy_areas(const ObjectNode& node, const ObjectNode& source, Iova from, std::uint64_t length,
                        Access access, const Iova* at) {
    uapi::IoasCopy command{.size = sizeof command,
                           .flags = map_flags(access, at != nullptr),
                           .dst_ioas_id = node.id(),
                           .src_ioas_id = source.id(),
                           .length = length,
                           .dst_iova = at ? at->value : 0,
                           .src_iova = from.value};
    if (const int result = node.context().ioctl(uapi::kIoasCopy, &command); result < 0) [[unlikely]]
        return failed(Operation::ioas_copy, -result, [&] {
            return compose("cannot copy ", Hex{from.value}, "+", Hex{length}, " of ", source.describe(),
                           " to ", place(length, at), " of ", node.describe());
        });
    return Iova{command.dst_iova};
}

uapi::Option huge_pages_option(const ObjectNode& node, std::uint16_t op, bool on) noexcept {
    return {.size = sizeof(uapi::Option),
            .option_id = uapi::kOptionHugePages,
            .op = op,
            .reserved = 0,
            .object_id = node.id(),
            .val64 = on};
}

}  // namespace

Result<Ioas> Ioas::alloc(const Context& context) { return alloc(context, {}); }

Result<Ioas> Ioas::alloc(const Context& context, Options options) {
    return guarded(Operation::ioas_alloc, [&]() -> Result<Ioas> {
        auto node =
            std::make_shared<ObjectNode>(context.node(), "ioas", options.label, ObjectNode::Parents{});
        uapi::IoasAlloc command{.size = sizeof command, .flags = 0, .out_ioas_id = 0};
        if (const int result = context.node()->allocate(uapi::kIoasAlloc, &command, command.out_ioas_id);
            result < 0)
            return failed(Operation::ioas_alloc, -result,
                          [&] { return compose("cannot make an ioas in '", context.label(), "'"); });
        node->born(command.out_ioas_id);
        return Ioas(std::move(node));
    });
}

Result<Ioas> Ioas::adopt(const Context& context, IoasId id, Options options) {
    return guarded(Operation::ioas_iova_ranges, [&]() -> Result<Ioas> {
        auto node =
            std::make_shared<ObjectNode>(context.node(), "ioas", options.label, ObjectNode::Parents{});
        // A question that only an IOAS answers, if it were to say that there is no room for the answer.
        uapi::IoasIovaRanges command{.size = sizeof command, .ioas_id = id.value};
        const int result = context.node()->ioctl(uapi::kIoasIovaRanges, &command);
        if (result < 0 && result != -EMSGSIZE)
            return failed(Operation::ioas_iova_ranges, -result, [&] {
                return compose("cannot take over ioas ", id.value, " of '", context.label(), "'");
            });
        node->born(id.value);
        return Ioas(std::move(node));
    });
}

Ioas::Ioas(std::shared_ptr<ObjectNode> node) noexcept : node_(std::move(node)) {}
Ioas::Ioas(Ioas&&) noexcept = default;
Ioas& Ioas::operator=(Ioas&&) noexcept = default;
Ioas::~Ioas() = default;

IoasId Ioas::id() const noexcept { return IoasId{node_->id()}; }

Result<Iova> Ioas::map(const void* address, std::uint64_t length, Access access) const {
    return map_memory(*node_, address, length, access, nullptr);
}

Result<Iova> Ioas::map(const void* address, std::uint64_t length, Access access, Iova at) const {
    return map_memory(*node_, address, length, access, &at);
}

Result<Iova> Ioas::map_file(int fd, std::uint64_t start, std::uint64_t length, Access access) const {
    return map_memory_file(*node_, fd, start, length, access, nullptr);
}

Result<Iova> Ioas::map_file(int fd, std::uint64_t start, std::uint64_t length, Access access, Iova at) const {
    return map_memory_file(*node_, fd, start, length, access, &at);
}

Result<Iova> Ioas::copy(const Ioas& source, Iova from, std::uint64_t length, Access access) const {
    return copy_areas(*node_, *source.node_, from, length, access, nullptr);
}

Result<Iova> Ioas::copy(const Ioas& source, Iova from, std::uint64_t length, Access access, Iova at) const {
    return copy_areas(*node_, *source.node_, from, length, access, &at);
}

Result<std::uint64_t> Ioas::unmap(Iova iova, std::uint64_t length) const {
    uapi::IoasUnmap command{
        .size = sizeof command, .ioas_id = node_->id(), .iova = iova.value, .length = length};
    if (const int result = node_->context().ioctl(uapi::kIoasUnmap, &command); result < 0) [[unlikely]]
        return failed(Operation::ioas_unmap, -result, [&] {
            return compose("cannot unmap ", Hex{iova.value}, "+", Hex{length}, " of ", node_->describe());
        });
    return command.length;
}

Result<std::uint64_t> Ioas::unmap_all() const { return unmap(Iova{0}, kEverything); }

Result<IovaRanges> Ioas::iova_ranges() const {
    return guarded(Operation::ioas_iova_ranges, [&]() -> Result<IovaRanges> {
        std::vector<uapi::IovaRange> found(8);
        uapi::IoasIovaRanges command{};
        int result = -EMSGSIZE;
        // The number may grow between two calls, when a device attaches.
        while (result == -EMSGSIZE) {
            if (command.num_iovas > found.size()) found.resize(command.num_iovas);
            command = {.size = sizeof command,
                       .ioas_id = node_->id(),
                       .num_iovas = static_cast<std::uint32_t>(found.size()),
                       .reserved = 0,
                       .allowed_iovas = address_of(found.data()),
                       .out_iova_alignment = 0};
            result = node_->context().ioctl(uapi::kIoasIovaRanges, &command);
        }
        if (result < 0)
            return failed(Operation::ioas_iova_ranges, -result,
                          [&] { return compose("cannot read the IOVA ranges of ", node_->describe()); });
        IovaRanges ranges{.ranges = {}, .alignment = command.out_iova_alignment};
        ranges.ranges.reserve(command.num_iovas);
        for (std::uint32_t i = 0; i < command.num_iovas; ++i)
            ranges.ranges.push_back({Iova{found[i].start}, Iova{found[i].last}});
        return ranges;
    });
}

Result<void> Ioas::allow_iovas(std::span<const Range> ranges) const {
    return guarded(Operation::ioas_allow_iovas, [&]() -> Result<void> {
        std::vector<uapi::IovaRange> allowed;
        allowed.reserve(ranges.size());
        for (const Range& range : ranges) allowed.push_back({range.first.value, range.last.value});
        uapi::IoasAllowIovas command{.size = sizeof command,
                                     .ioas_id = node_->id(),
                                     .num_iovas = static_cast<std::uint32_t>(allowed.size()),
                                     .reserved = 0,
                                     .allowed_iovas = address_of(allowed.data())};
        if (const int result = node_->context().ioctl(uapi::kIoasAllowIovas, &command); result < 0)
            return failed(Operation::ioas_allow_iovas, -result,
                          [&] { return compose("cannot limit the IOVAs of ", node_->describe()); });
        return {};
    });
}

Result<bool> Ioas::huge_pages() const {
    uapi::Option command = huge_pages_option(*node_, uapi::kOptionGet, false);
    if (const int result = node_->context().ioctl(uapi::kOption, &command); result < 0)
        return failed(Operation::option, -result,
                      [&] { return compose("cannot read the huge page option of ", node_->describe()); });
    return command.val64 != 0;
}

Result<void> Ioas::set_huge_pages(bool on) const {
    uapi::Option command = huge_pages_option(*node_, uapi::kOptionSet, on);
    if (const int result = node_->context().ioctl(uapi::kOption, &command); result < 0)
        return failed(Operation::option, -result, [&] {
            return compose("cannot turn huge pages ", on ? "on" : "off", " for ", node_->describe());
        });
    return {};
}

Result<PhysicalRange> Ioas::noiommu_physical_address(Iova iova, std::uint64_t length) const {
    uapi::IoasNoiommuGetPa command{.size = sizeof command,
                                   .flags = 0,
                                   .ioas_id = node_->id(),
                                   .reserved = 0,
                                   .iova = iova.value,
                                   .length = length,
                                   .out_phys = 0};
    if (const int result = node_->context().ioctl(uapi::kIoasNoiommuGetPa, &command); result < 0)
        return failed(Operation::ioas_noiommu_get_pa, -result, [&] {
            return compose("cannot look up the physical address of ", Hex{iova.value}, " in ",
                           node_->describe());
        });
    return PhysicalRange{.address = command.out_phys, .length = command.length};
}

Result<void> Ioas::destroy() && { return core::destroy(node_); }

Result<IoasId> vfio_ioas(const Context& context) {
    uapi::VfioIoas command{.size = sizeof command, .ioas_id = 0, .op = uapi::kVfioIoasGet, .reserved = 0};
    if (const int result = context.node()->ioctl(uapi::kVfioIoas, &command); result < 0)
        return failed(Operation::vfio_ioas, -result,
                      [&] { return compose("'", context.label(), "' has no ioas for the type1 ioctls"); });
    return IoasId{command.ioas_id};
}

Result<void> set_vfio_ioas(const Context& context, const Ioas& ioas) {
    uapi::VfioIoas command{
        .size = sizeof command, .ioas_id = ioas.id().value, .op = uapi::kVfioIoasSet, .reserved = 0};
    if (const int result = context.node()->ioctl(uapi::kVfioIoas, &command); result < 0)
        return failed(Operation::vfio_ioas, -result, [&] {
            return compose("cannot make ", ioas.node()->describe(), " the one of the type1 ioctls");
        });
    return {};
}

Result<void> clear_vfio_ioas(const Context& context) {
    uapi::VfioIoas command{.size = sizeof command, .ioas_id = 0, .op = uapi::kVfioIoasClear, .reserved = 0};
    if (const int result = context.node()->ioctl(uapi::kVfioIoas, &command); result < 0)
        return failed(Operation::vfio_ioas, -result, [&] {
            return compose("cannot take the ioas of the type1 ioctls from '", context.label(), "'");
        });
    return {};
}

}  // namespace iommufd::inline v0_1::core
