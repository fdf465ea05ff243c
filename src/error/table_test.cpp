// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "error/table.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <set>
#include <vector>

#include "error/operations.hpp"

namespace iommufd {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Each errno that Linux 7.3 gives for each operation, as read from its source and tried in a VM. EFAULT,
// E2BIG and ENOTTY of an ioctl's frame are checked apart.
struct Documented {
    Operation operation;
    std::vector<int> codes;
};

const std::vector<Documented> kDocumented = {
    {Operation::open, {ENOENT, EACCES, EPERM, ENODEV, ENXIO, ENOMEM, EMFILE, ENFILE}},
    {Operation::close, {EBADF, EINTR, EIO}},
    {Operation::dup, {EBADF, EMFILE}},
    {Operation::mmap, {EINVAL, ENOMEM, EACCES, EPERM, EBADF, ENODEV, EAGAIN}},
    {Operation::munmap, {EINVAL, ENOMEM}},
    {Operation::read, {EINVAL, EBADF, EAGAIN, EINTR, EFAULT, EIO, ENOMSG}},
    {Operation::write, {EINVAL, EBADF, EAGAIN, EINTR, EFAULT, EIO, ENOSPC}},
    {Operation::region_read, {EINVAL, EIO, EFAULT, EBUSY, ENODEV, ENOMEM}},
    {Operation::region_write, {EINVAL, EIO, EFAULT, EBUSY, ENODEV, ENOMEM}},
    {Operation::region_mmap, {EINVAL, EBUSY, ENODEV, ENOMEM}},
    {Operation::memory_create,
     {ENOMEM, EINVAL, EMFILE, ENFILE, EPERM, ENODEV, ENOSPC, EFBIG, EACCES, ENOENT}},
    {Operation::prefault, {EINVAL, EFAULT, ENOMEM, EHWPOISON, EINTR}},
    {Operation::destroy, {ENOENT, EBUSY}},
    {Operation::ioas_alloc, {EOPNOTSUPP, ENOMEM}},
    {Operation::ioas_allow_iovas, {EOPNOTSUPP, ENOENT, EINVAL, EADDRINUSE, EFAULT, ENOMEM}},
    {Operation::ioas_copy, {EOPNOTSUPP, EOVERFLOW, EINVAL, ENOENT, EPERM, EEXIST, ENOSPC, EFAULT, ENOMEM}},
    {Operation::ioas_iova_ranges, {EOPNOTSUPP, ENOENT, EMSGSIZE, EFAULT}},
    {Operation::ioas_map, {EOPNOTSUPP, EOVERFLOW, EINVAL, ENOENT, EEXIST, ENOSPC, EFAULT, ENOMEM}},
    {Operation::ioas_unmap, {EINVAL, EOVERFLOW, ENOENT, EBUSY, EDEADLOCK}},
    {Operation::option, {EOPNOTSUPP, EPERM, EBUSY, EINVAL, ENOENT, EADDRINUSE}},
    {Operation::vfio_ioas, {EOPNOTSUPP, ENODEV, ENOENT}},
    {Operation::hwpt_alloc, {EOPNOTSUPP, EINVAL, ENOENT, EADDRINUSE, EFAULT, ENOMEM, EIO, ENODEV}},
    {Operation::get_hw_info, {EOPNOTSUPP, ENOENT, EFAULT}},
    {Operation::hwpt_set_dirty_tracking, {EOPNOTSUPP, ENOENT}},
    {Operation::hwpt_get_dirty_bitmap, {EOPNOTSUPP, ENOENT, EINVAL, EOVERFLOW, ENOMEM}},
    {Operation::hwpt_invalidate, {EOPNOTSUPP, EINVAL, ENOENT, EIO, EFAULT}},
    {Operation::fault_queue_alloc, {EOPNOTSUPP, EMFILE, ENFILE, ENOMEM}},
    {Operation::ioas_map_file,
     {EOPNOTSUPP, EOVERFLOW, EINVAL, EBADF, ENODEV, ENOENT, EEXIST, ENOSPC, ENOMEM}},
    {Operation::viommu_alloc, {EOPNOTSUPP, ENOENT, EINVAL, ENOMEM}},
    {Operation::vdevice_alloc, {ENOENT, EINVAL, EEXIST, ENOMEM}},
    {Operation::ioas_change_process, {EOPNOTSUPP, EINVAL, EBUSY, ENOMEM}},
    {Operation::veventq_alloc, {EOPNOTSUPP, EINVAL, ENOENT, EEXIST, EMFILE, ENFILE, ENOMEM}},
    {Operation::hw_queue_alloc,
     {EOPNOTSUPP, EINVAL, EOVERFLOW, ENOENT, ERANGE, EPERM, EFAULT, EEXIST, EIO, ENOMEM}},
    {Operation::ioas_noiommu_get_pa, {EOPNOTSUPP, EPERM, EINVAL, EOVERFLOW, ENOENT}},
    {Operation::fault_read, {ESPIPE, EINVAL, EFAULT}},
    {Operation::fault_respond, {ESPIPE, EINVAL, EFAULT}},
    {Operation::vevent_read, {EINVAL, ESPIPE, EFAULT, ENOMEM}},
    {Operation::iommufd_mmap, {ENXIO, EINVAL, EPERM}},
    {Operation::vfio_open, {ENODEV, EPERM, ENOENT, EACCES, ENXIO}},
    {Operation::vfio_bind, {EINVAL, E2BIG, EBUSY, EBADF, EBADFD, EACCES, EFAULT, EPERM, ENODEV, EIO, ENOMEM}},
    {Operation::vfio_attach, {EINVAL, EOPNOTSUPP, ENOENT, EBUSY, EADDRINUSE, EFAULT, ENOMEM, ENODEV}},
    {Operation::vfio_detach, {EINVAL, EOPNOTSUPP}},
    {Operation::vfio_get_info, {EINVAL}},
    {Operation::vfio_get_region_info, {EINVAL}},
    {Operation::vfio_get_irq_info, {EINVAL}},
    {Operation::vfio_set_irqs, {EINVAL, EBADF, EBUSY, ENODEV, ENOSPC, ENOTTY, ENOMEM}},
    {Operation::vfio_reset, {EINVAL, EAGAIN, ENOTTY}},
    {Operation::vfio_hot_reset_info, {EINVAL, ENODEV, ENOSPC, EAGAIN, EPERM, ERANGE, ENOMEM}},
    {Operation::vfio_hot_reset, {EINVAL, EBUSY, EAGAIN, ENODEV, ENOTTY, EBADF}},
    {Operation::vfio_ioeventfd, {EINVAL, EEXIST, ENODEV, ENOSPC, EBADF, ENOMEM}},
    {Operation::vfio_feature, {ENOTTY, EINVAL, EFAULT, E2BIG, EOVERFLOW, EOPNOTSUPP, ENODEV, ENOMEM, ENOMSG}},
    {Operation::vfio_precopy_info, {EINVAL, ENOTTY, EFAULT}},
    {Operation::type1_check_extension, {ENODEV}},
    {Operation::type1_set_iommu, {EINVAL, ENODEV, EADDRINUSE, EPERM}},
    {Operation::type1_get_info, {EINVAL, ENODEV, EFAULT}},
    {Operation::type1_map_dma, {EINVAL, ENODEV, EEXIST, EFAULT, ENOMEM, EOVERFLOW}},
    {Operation::type1_unmap_dma, {EINVAL, ENODEV, ENOENT, EBUSY, EDEADLOCK, EOVERFLOW, EOPNOTSUPP, EFAULT}},
    {Operation::vdpa_open, {EBUSY, ENOENT, EACCES, ENODEV, 524, ENOMEM}},
    {Operation::vdpa_set_owner, {EBUSY, ENOMEM}},
    {Operation::vdpa_features, {EBUSY, EINVAL, EFAULT}},
    {Operation::vdpa_backend_features, {EOPNOTSUPP, EINVAL, EFAULT}},
    {Operation::vdpa_status, {EINVAL, EFAULT}},
    {Operation::vdpa_config, {EINVAL, EFAULT, ENOMEM, EBADF}},
    {Operation::vdpa_iova_range, {EFAULT}},
    {Operation::vdpa_vring, {EINVAL, ENOBUFS, EBUSY, EBADF, EPERM, EOPNOTSUPP, EIO, EFAULT}},
    {Operation::vdpa_address_space, {EINVAL, ENOBUFS, EBUSY, EOPNOTSUPP, EPERM, EIO, EFAULT}},
    {Operation::vdpa_suspend, {EOPNOTSUPP}},
    {Operation::iotlb_update, {EFAULT, EINVAL}},
    {Operation::iotlb_invalidate, {EFAULT, EINVAL}},
    {Operation::iotlb_batch, {EFAULT, EINVAL}},
};

std::string label(Operation operation, int code) {
    return std::string(name(operation)) + " " + errno_name(code);
}

bool has_row(Operation operation, int code) {
    return std::ranges::any_of(
        table_rows(), [&](const Row& row) { return row.operation == operation && row.code == code; });
}

TEST(ErrorTable, HasARowForEveryDocumentedErrno) {
    for (const auto& [operation, codes] : kDocumented)
        for (const int code : codes) EXPECT_TRUE(has_row(operation, code)) << label(operation, code);
}

TEST(ErrorTable, HasAnOwnRowForEveryOperation) {
    std::set<Operation> documented;
    for (const Documented& entry : kDocumented) documented.insert(entry.operation);
    for (const OperationFacts& facts : kOperations) {
        if (facts.operation == Operation::none) continue;
        EXPECT_TRUE(documented.contains(facts.operation)) << facts.name;
    }
}

TEST(ErrorTable, HasNoRowTwice) {
    std::set<std::pair<Operation, int>> seen;
    for (const Row& row : table_rows())
        EXPECT_TRUE(seen.emplace(row.operation, row.code).second) << label(row.operation, row.code);
}

// "EOF is near" and "RLIMIT_MEMLOCK" may open a clause, "The limit" may not.
bool opens_like_a_clause(std::string_view text) {
    if (!std::isupper(static_cast<unsigned char>(text[0]))) return true;
    const std::string_view word = text.substr(0, text.find_first_of(" ,"));
    return word.size() > 1 && std::ranges::none_of(word, [](unsigned char c) { return std::islower(c); });
}

bool is_clause(std::string_view text) {
    return !text.empty() && text.back() != '.' && text.front() != ' ' && text.back() != ' ' &&
           text.find("  ") == text.npos && text.find('\n') == text.npos && opens_like_a_clause(text);
}

TEST(ErrorTable, SaysCauseAndNextStepInClauses) {
    for (const Row& row : table_rows()) {
        EXPECT_TRUE(is_clause(row.cause)) << label(row.operation, row.code) << ": " << row.cause;
        EXPECT_TRUE(is_clause(row.next_step)) << label(row.operation, row.code) << ": " << row.next_step;
        EXPECT_LE(row.cause.size(), 120U) << row.cause;
        EXPECT_LE(row.next_step.size(), 120U) << row.next_step;
    }
}

TEST(ErrorTable, NamesTheFirstKernelWhereAnIoctlOfDevIommuIsAbsent) {
    for (const OperationFacts& facts : kOperations) {
        if (facts.through != Through::iommufd) continue;
        const Explanation absent = explain(facts.operation, ENOTTY);
        EXPECT_THAT(absent.cause, HasSubstr(facts.name));
        EXPECT_EQ(absent.next_step, "boot Linux " + std::string(facts.since) + " or later");
    }
}

TEST(ErrorTable, ExplainsTheAbsenceOfEveryIoctl) {
    for (const OperationFacts& facts : kOperations) {
        if (facts.through == Through::call) continue;
        EXPECT_TRUE(has_row(facts.operation, ENOTTY)) << facts.name;
    }
}

TEST(ErrorTable, ExplainsTheFrameOfEveryIoctl) {
    for (const OperationFacts& facts : kOperations) {
        if (facts.through == Through::call) continue;
        EXPECT_TRUE(has_row(facts.operation, EFAULT)) << facts.name;
        if (facts.through != Through::iommufd) continue;
        EXPECT_TRUE(has_row(facts.operation, E2BIG)) << facts.name;
        EXPECT_TRUE(has_row(facts.operation, EINVAL)) << facts.name;
        EXPECT_TRUE(has_row(facts.operation, ENOMEM)) << facts.name;
    }
}

TEST(ErrorTable, PrefersAnOperationsOwnRowToTheGeneralOne) {
    EXPECT_THAT(explain(Operation::ioas_map, ENOMEM).cause, HasSubstr("RLIMIT_MEMLOCK"));
    EXPECT_NE(explain(Operation::ioas_map, ENOENT).cause, explain(Operation::none, ENOENT).cause);
}

TEST(ErrorTable, FallsBackToWhatAnErrnoMeansInGeneral) {
    for (const int code : {EPERM, ENOENT, EINTR, EIO, EBADF, EAGAIN, ENOMEM, EACCES, EFAULT, EBUSY, EEXIST,
                           ENODEV, EINVAL, EMFILE, ENFILE, ENOTTY, ENOSPC, EOVERFLOW, EOPNOTSUPP})
        EXPECT_TRUE(has_row(Operation::none, code)) << errno_name(code);
    EXPECT_EQ(explain(Operation::munmap, EPERM).cause, explain(Operation::none, EPERM).cause);
}

TEST(ErrorTable, HasALastWordForAnErrnoThatNobodyDocumented) {
    const Explanation unknown = explain(Operation::vfio_reset, 4711);
    EXPECT_FALSE(unknown.cause.empty());
    EXPECT_FALSE(unknown.next_step.empty());
}

TEST(ErrorTable, SaysNothingOfSuccess) {
    EXPECT_TRUE(explain(Operation::ioas_map, 0).cause.empty());
    EXPECT_TRUE(explain(Operation::ioas_map, 0).next_step.empty());
}

TEST(Operations, HaveTheNamesThatTheKernelGivesThem) {
    EXPECT_EQ(name(Operation::ioas_map), "IOMMU_IOAS_MAP");
    EXPECT_EQ(name(Operation::hwpt_get_dirty_bitmap), "IOMMU_HWPT_GET_DIRTY_BITMAP");
    EXPECT_EQ(name(Operation::ioas_noiommu_get_pa), "IOMMU_IOAS_NOIOMMU_GET_PA");
    EXPECT_EQ(name(Operation::vfio_bind), "VFIO_DEVICE_BIND_IOMMUFD");
    EXPECT_EQ(name(Operation::type1_unmap_dma), "VFIO_IOMMU_UNMAP_DMA");
    EXPECT_EQ(name(Operation::iotlb_batch), "VHOST_IOTLB_BATCH");
    EXPECT_EQ(name(Operation::open), "open");
}

TEST(Operations, HaveNamesOfTheirOwn) {
    std::set<std::string_view> names;
    for (const OperationFacts& facts : kOperations)
        EXPECT_TRUE(names.insert(facts.name).second) << facts.name;
    EXPECT_THAT(names, Each(Not(IsEmpty())));
}

TEST(Operations, KnowTheirFirstKernelWhereTheyAreIoctls) {
    for (const OperationFacts& facts : kOperations) {
        if (facts.through == Through::call) continue;
        EXPECT_THAT(facts.since, Not(IsEmpty())) << facts.name;
    }
    EXPECT_EQ(since(Operation::ioas_map), "6.2");
    EXPECT_EQ(since(Operation::ioas_map_file), "6.13");
    EXPECT_EQ(since(Operation::hw_queue_alloc), "6.17");
    EXPECT_EQ(since(Operation::close), "");
}

}  // namespace
}  // namespace iommufd
