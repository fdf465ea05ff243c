// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Data in an IOMMU's own format, as it goes to the kernel and comes from it.
//
//     struct Table { static constexpr std::uint32_t kType = 2; std::uint64_t ste[2]; };
//
// The bytes are the kernel's struct, and kType the kernel's number of it, of the enum that goes with what it is used as: a
// table (iommu_hwpt_data_type), an entry of an invalidation (iommu_hwpt_invalidate_data_type), an event
// (iommu_veventq_type). The formats that come with the library are in vtd.hpp and smmuv3.hpp; another one is a struct of
// yours.
//
// Threads: values.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "iommufd/core/hwpt.hpp"

namespace iommufd::inline v0_1::viommu {

template <class T>
concept Encoded = std::is_trivially_copyable_v<T> && std::has_unique_object_representations_v<T> &&
                  requires { requires std::same_as<decltype(T::kType), const std::uint32_t>; };

template <Encoded T>
core::HwData data_of(const T& value) noexcept {
    return {.type = T::kType, .bytes = std::as_bytes(std::span(&value, 1))};
}

}  // namespace iommufd::inline v0_1::viommu
