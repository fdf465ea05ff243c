// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A model machine by the C API, with an object on it. A test that leaves anything in it fails.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "iommufd/capi.h"
#include "iommufd/capi/model.h"

namespace iommufd::inline v0_1::capi {

// A handle that lets itself go.
template <auto free, class T>
struct Owned {
    Owned() = default;
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    ~Owned() { free(std::exchange(handle, nullptr)); }
    T** operator&() { return &handle; }
    operator T*() const { return handle; }
    T* release() { return std::exchange(handle, nullptr); }
    T* handle = nullptr;
};

using OwnedObject = Owned<iommufd_free, iommufd_object>;
using OwnedMemory = Owned<iommufd_memory_free, iommufd_memory>;
using OwnedSpace = Owned<iommufd_space_free, iommufd_space>;
using OwnedMapping = Owned<iommufd_mapping_free, iommufd_mapping>;
using OwnedReader = Owned<iommufd_reader_free, iommufd_reader>;
using OwnedVfio = Owned<iommufd_vfio_free, iommufd_vfio>;
using OwnedRegion = Owned<iommufd_region_free, iommufd_region>;
using OwnedVdpa = Owned<iommufd_vdpa_free, iommufd_vdpa>;

// What a call that writes text writes.
template <class Call>
std::string text_of(Call&& call) {
    std::string text(static_cast<std::size_t>(call(nullptr, 0)) + 1, '?');
    call(text.data(), text.size());
    text.pop_back();
    return text;
}

inline constexpr const char* kEdu = "0000:00:10.0";

class CapiTest : public ::testing::Test {
protected:
    explicit CapiTest(const char* description = nullptr) { start(description); }
    ~CapiTest() override {
        iommufd_free(object_);
        EXPECT_EQ(text_of([&](char* text, std::size_t length) {
                      return iommufd_model_leaks(model_, text, length);
                  }),
                  "");
        iommufd_model_free(model_);
    }

    // Another machine.
    void start(const char* description) {
        iommufd_free(std::exchange(object_, nullptr));
        iommufd_model_free(std::exchange(model_, nullptr));
        ASSERT_EQ(iommufd_model_create(description, &model_), 0) << iommufd_error_text();
        options_.kernel = iommufd_model_kernel(model_);
        ASSERT_EQ(iommufd_open(&options_, &object_), 0) << iommufd_error_text();
    }

    iommufd_model* model_ = nullptr;
    iommufd_object* object_ = nullptr;
    iommufd_options options_{.size = sizeof options_, .id = nullptr, .path = nullptr, .kernel = nullptr};
};

}  // namespace iommufd::inline v0_1::capi
