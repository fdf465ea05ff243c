// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the C API's opaque handles are: each is an object of the C++ library.
//
// Threads: as the object within.
#pragma once

#include <optional>

#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/vdpa/device.hpp"
#include "iommufd/vfio/region.hpp"

struct iommufd_object {
    iommufd::Backend backend;
};

struct iommufd_memory {
    iommufd::dma::Memory memory;
};

struct iommufd_space {
    iommufd::dma::Space space;
};

struct iommufd_mapping {
    iommufd::dma::Mapping mapping;
};

struct iommufd_reader {
    iommufd::dma::Reader reader;
    std::optional<iommufd::dma::Guard> guard = {};
};

// The attachment goes before the device.
struct iommufd_vfio {
    iommufd::vfio::Device device;
    std::optional<iommufd::dma::Attachment> attachment = {};
};

struct iommufd_region {
    iommufd::vfio::Region region;
};

struct iommufd_vdpa {
    iommufd::vdpa::Device device;
    std::optional<iommufd::dma::Attachment> attachment = {};
};
