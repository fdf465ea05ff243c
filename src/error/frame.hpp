// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The errnos that every ioctl of a kind can give before, or around, its own work. with_frame() appends
// them, at compile time, to the rows of a part, for each operation that has no row of its own for them.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string_view>

#include "error/operations.hpp"
#include "error/table.hpp"

namespace iommufd::inline v0_1 {

// A text composed at compile time. Its length is fixed so that all of them fit one array.
struct FrameText {
    char characters[96] = {};
    std::size_t length = 0;

    constexpr void append(std::string_view piece) {
        for (const char c : piece) characters[length++] = c;  // too long does not compile
    }
    constexpr std::string_view view() const { return {characters, length}; }
};

struct AbsentIoctl {
    FrameText cause;
    FrameText next_step;
};

constexpr AbsentIoctl absent_ioctl(const OperationFacts& operation) {
    AbsentIoctl text;
    switch (operation.through) {
        case Through::call:
            return text;
        case Through::iommufd:
            text.cause.append("this kernel's /dev/iommu has no ");
            break;
        case Through::vfio:
            text.cause.append("this device's VFIO driver has no ");
            break;
        case Through::type1:
            text.cause.append("this kernel's /dev/iommu does not emulate ");
            break;
        case Through::vdpa:
            text.cause.append("this kernel's vhost-vdpa has no ");
            break;
    }
    text.cause.append(operation.name);
    text.next_step.append("boot Linux ");
    text.next_step.append(operation.since);
    text.next_step.append(operation.through == Through::vfio ? " or later and bind the device to vfio-pci"
                                                             : " or later");
    return text;
}

inline constexpr auto kAbsentIoctls = [] {
    std::array<AbsentIoctl, std::size(kOperations)> texts{};
    std::ranges::transform(kOperations, texts.begin(), absent_ioctl);
    return texts;
}();

struct FrameRow {
    Through through;
    int code;
    std::string_view cause;
    std::string_view next_step;
};

// ENOTTY is not here: its texts name the operation and its first kernel.
inline constexpr FrameRow kFrameRows[] = {
    {Through::iommufd, EFAULT, "the kernel could not read or write memory that the argument points to",
     "pass pointers to mapped, writable memory of the stated size"},
    {Through::iommufd, EINVAL, "the argument's size is less than the command had in its first kernel",
     "set the size field to the size of the command's struct"},
    {Through::iommufd, E2BIG, "this kernel's struct is shorter, and a field that it doesn't know is not zero",
     "leave the newer fields zero, or boot the Linux that brought them"},
    {Through::iommufd, ENOMEM, "the kernel has no memory for the object, or this memory cgroup has none left",
     "free memory, or raise memory.max of the cgroup"},
    {Through::vfio, EFAULT, "the kernel could not read or write memory that the argument points to",
     "pass pointers to mapped, writable memory of the size in argsz"},
    {Through::vfio, EINVAL,
     "the device is not bound yet, or argsz or flags are not ones that this kernel takes",
     "call VFIO_DEVICE_BIND_IOMMUFD first, and set argsz to the struct's size"},
    {Through::vfio, EIO, "the device did not come back from its low-power state",
     "look at `dmesg | tail`, and set power/control of the device to `on`"},
    {Through::vfio, ENOMEM, "the kernel has no memory for the request, or this memory cgroup has none left",
     "free memory, or raise memory.max of the cgroup"},
    {Through::type1, EFAULT, "the kernel could not read or write memory that the argument points to",
     "pass pointers to mapped, writable memory of the size in argsz"},
    {Through::type1, ENODEV, "the iommufd has no compatibility IOAS",
     "set one with IOMMU_VFIO_IOAS before the VFIO container's ioctls"},
    {Through::vdpa, EFAULT, "the kernel could not read or write memory that the argument points to",
     "pass pointers to mapped, writable memory"},
};

// The frame's rows of one operation, without those for which `own` has a row already.
template <std::size_t N, class Visit>
constexpr void visit_frame(const Row (&own)[N], const OperationFacts& operation, Visit&& visit) {
    const auto has_own = [&](int code) {
        return std::ranges::any_of(
            own, [&](const Row& row) { return row.operation == operation.operation && row.code == code; });
    };
    if (operation.through == Through::call) return;
    for (const FrameRow& row : kFrameRows)
        if (row.through == operation.through && !has_own(row.code))
            visit(Row{operation.operation, row.code, row.cause, row.next_step});
    if (!has_own(ENOTTY)) {
        const AbsentIoctl& text = kAbsentIoctls[static_cast<std::size_t>(operation.operation)];
        visit(Row{operation.operation, ENOTTY, text.cause.view(), text.next_step.view()});
    }
}

// `Own`, and the frame's rows of the operations that `Own` has rows of.
template <const auto& Own>
consteval auto with_frame() {
    const auto visit_all = [](auto&& visit) {
        for (const OperationFacts& operation : kOperations)
            if (std::ranges::any_of(Own,
                                    [&](const Row& row) { return row.operation == operation.operation; }))
                visit_frame(Own, operation, visit);
    };
    constexpr std::size_t kCount = [&] {
        std::size_t count = std::size(Own);
        visit_all([&](const Row&) { ++count; });
        return count;
    }();
    std::array<Row, kCount> rows{};
    auto* next = std::ranges::copy(Own, rows.begin()).out;
    visit_all([&](const Row& row) { *next++ = row; });
    return rows;
}

}  // namespace iommufd::inline v0_1
