// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <cerrno>

#include "capi/testing.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

TEST(CapiNullTest, EveryCallThatNeedsAHandleSaysSo) {
    iommufd_object* object = nullptr;
    iommufd_memory* memory = nullptr;
    iommufd_space* space = nullptr;
    iommufd_reader* reader = nullptr;
    iommufd_vfio* device = nullptr;
    iommufd_vdpa* vdpa = nullptr;
    iommufd_region* region = nullptr;
    iommufd_model* model = nullptr;
    const int calls[] = {
        iommufd_open(nullptr, nullptr),
        iommufd_close(nullptr),
        iommufd_fd(nullptr),
        iommufd_users(nullptr, nullptr, 0),
        iommufd_get_accounting(nullptr),
        iommufd_has(nullptr, "IOAS_MAP"),
        iommufd_memory_memfd(4096, nullptr, nullptr),
        iommufd_memory_anonymous(4096, nullptr, nullptr),
        iommufd_memory_file(nullptr, 4096, nullptr, &memory),
        iommufd_memory_fd(0, 4096, nullptr, nullptr),
        iommufd_memory_dma_buf(0, 4096, nullptr, nullptr),
        iommufd_memory_borrow(&memory, 4096, nullptr, nullptr),
        iommufd_memory_file_fd(nullptr),
        iommufd_space_create(nullptr, nullptr, nullptr),
        iommufd_space_map(space, memory, nullptr, nullptr, nullptr),
        iommufd_space_unmap(space, 0, 4096, -1, nullptr),
        iommufd_mapping_unmap(nullptr, -1),
        iommufd_mapping_state(nullptr),
        iommufd_mapping_remap(nullptr),
        iommufd_space_limits(space, nullptr, 0, nullptr),
        iommufd_space_mappings(space, nullptr, 0),
        iommufd_space_ioas(space, nullptr),
        iommufd_space_not_released(space, nullptr, 0),
        iommufd_space_retry_releases(space),
        iommufd_space_get_counters(space, nullptr),
        iommufd_reader_create(space, nullptr, &reader),
        iommufd_reader_enter(reader),
        iommufd_reader_leave(reader),
        static_cast<int>(iommufd_reader_translate(reader, 0, 1, IOMMUFD_READ, nullptr)),
        iommufd_reader_iova_of(reader, nullptr, 1, nullptr),
        iommufd_reader_read(reader, 0, nullptr, 1),
        iommufd_reader_write(reader, 0, nullptr, 1),
        iommufd_vfio_open(object, kEdu, nullptr, &device),
        iommufd_vfio_open_fd(object, 0, nullptr, &device),
        iommufd_vfio_close(device),
        iommufd_vfio_attach(device, space),
        iommufd_vfio_detach(device),
        iommufd_vfio_fd(device),
        iommufd_vfio_get_info(device, nullptr),
        iommufd_vfio_enable(device),
        iommufd_vfio_reset(device),
        iommufd_vfio_hot_reset(device),
        iommufd_vfio_request_fd(device),
        iommufd_vfio_error_fd(device),
        iommufd_vfio_get_irq_info(device, 0, nullptr),
        iommufd_vfio_set_irqs(device, 0, 0, nullptr, 0),
        iommufd_vfio_disable_irqs(device, 0),
        iommufd_vfio_mask_irq(device, 0, 0),
        iommufd_vfio_unmask_irq(device, 0, 0),
        iommufd_vfio_trigger_irq(device, 0, 0),
        iommufd_vfio_export_dma_buf(device, 0, 0, 4096),
        iommufd_vfio_region(device, 0, &region),
        iommufd_region_areas(region, nullptr, 0),
        iommufd_region_read8(region, 0, nullptr),
        iommufd_region_read16(region, 0, nullptr),
        iommufd_region_read32(region, 0, nullptr),
        iommufd_region_read64(region, 0, nullptr),
        iommufd_region_write8(region, 0, 0),
        iommufd_region_write16(region, 0, 0),
        iommufd_region_write32(region, 0, 0),
        iommufd_region_write64(region, 0, 0),
        iommufd_region_read(region, 0, nullptr, 1),
        iommufd_region_write(region, 0, nullptr, 1),
        iommufd_vdpa_open(nullptr, nullptr, nullptr, &vdpa),
        iommufd_vdpa_open_fd(nullptr, 0, nullptr, nullptr),
        iommufd_vdpa_attach(vdpa, space),
        iommufd_vdpa_detach(vdpa),
        iommufd_vdpa_fd(vdpa),
        iommufd_vdpa_get_info(vdpa, nullptr),
        iommufd_vdpa_features(vdpa, nullptr),
        iommufd_vdpa_set_features(vdpa, 0),
        iommufd_vdpa_status(vdpa),
        iommufd_vdpa_set_status(vdpa, 0),
        iommufd_vdpa_reset(vdpa),
        iommufd_vdpa_suspend(vdpa),
        iommufd_vdpa_resume(vdpa),
        iommufd_vdpa_read_config(vdpa, 0, nullptr, 1),
        iommufd_vdpa_write_config(vdpa, 0, nullptr, 1),
        iommufd_vdpa_queue_count(vdpa),
        iommufd_vdpa_max_queue_size(vdpa),
        iommufd_vdpa_start_queue(vdpa, 0, nullptr),
        iommufd_vdpa_queue_base(vdpa, 0, nullptr),
        iommufd_model_create(nullptr, nullptr),
    };
    for (std::size_t i = 0; i < std::size(calls); ++i) EXPECT_EQ(calls[i], -EINVAL) << "call " << i;
    EXPECT_EQ(iommufd_model_request_device(model, nullptr), -ENOENT);
}

TEST(CapiNullTest, NothingIsLetGoAndAsked) {
    iommufd_free(nullptr);
    iommufd_memory_free(nullptr);
    iommufd_space_free(nullptr);
    iommufd_mapping_free(nullptr);
    iommufd_mapping_leave(nullptr);
    iommufd_reader_free(nullptr);
    iommufd_vfio_free(nullptr);
    iommufd_region_free(nullptr);
    iommufd_vdpa_free(nullptr);
    iommufd_model_free(nullptr);
    EXPECT_STREQ(iommufd_id(nullptr), "");
    EXPECT_STREQ(iommufd_vfio_name(nullptr), "");
    EXPECT_STREQ(iommufd_vdpa_name(nullptr), "");
    EXPECT_EQ(iommufd_memory_data(nullptr), nullptr);
    EXPECT_EQ(iommufd_memory_size(nullptr), 0U);
    EXPECT_EQ(iommufd_mapping_iova(nullptr), 0U);
    EXPECT_EQ(iommufd_mapping_length(nullptr), 0U);
    EXPECT_EQ(iommufd_region_size(nullptr), 0U);
    EXPECT_EQ(iommufd_model_kernel(nullptr), nullptr);
    EXPECT_EQ(iommufd_model_blocked_dma(nullptr), 0U);
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi
