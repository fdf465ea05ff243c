// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Where Linux does what nobody would expect, and where the model does not do what Linux does: docs/deviations.md.
#pragma once

#include <cstdint>
#include <string_view>

namespace iommufd::inline v0_1::model {

enum class Deviation : std::uint8_t {
    imitated,  // a defect of Linux, which the model has too, so that a program meets it here
    mended,    // a defect of Linux, which the model hasn't
    lacking,   // what the model can't do, being a process without privilege
};

struct DeviationRow {
    Deviation kind;
    std::string_view kernels;  // that have the defect; empty where it is the model's
    std::string_view where;
    std::string_view what;
    std::string_view shown_by;  // a test; empty: none
};

inline constexpr DeviationRow kDeviations[] = {
    {Deviation::imitated, "6.7 to 7.3", "HWPT_GET_DIRTY_BITMAP",
     "a range with a hole is 0, and what lies behind the hole is neither told nor cleared",
     "DirtyFactsTest.AReadStopsAtAHoleAndReportsSuccess"},
    {Deviation::imitated, "6.7 to 7.3", "HWPT_GET_DIRTY_BITMAP",
     "a bitmap that can't be written is 0, and its bits are lost",
     "DirtyFactsTest.ABitmapThatCannotBeWrittenIsSuccessAndLosesTheBits"},
    {Deviation::imitated, "6.2 to 7.3", "IOAS_UNMAP",
     "one that ends within an area is ENOENT after it has unmapped the areas before",
     "ModelIoas.UnmapThatEndsInsideAnAreaFailsAfterUnmappingTheOnesBefore"},
    {Deviation::imitated, "6.2 to 7.3", "IOMMU_UNMAP_DMA of VFIO's type 1",
     "an area isn't cut behind its first byte", "vm.conformance"},
    {Deviation::imitated, "6.8 to 7.3", "HWPT_INVALIDATE of a mock viommu",
     "more entries than one block of memory holds are ENOMEM, with all of them counted as done",
     "FoundTest.SoManyInvalidationsOfAViommuHaveNoRoomAndCountAsDone"},
    {Deviation::imitated, "6.17 to 7.3", "HW_QUEUE_ALLOC of the mock",
     "it forgets a queue's index: whichever is destroyed, the first is free again, and the second never",
     "FoundTest.AMockQueueThatGoesMakesRoomForTheFirstWhicheverItWas"},
    {Deviation::imitated, "6.13 to 7.3", "VFIO_DEVICE_ATTACH_IOMMUFD_PT with a PASID",
     "where its answer can't be written, the device itself is detached instead of the PASID", ""},
    {Deviation::mended, "7.3", "DMABUF_GET of the mock",
     "Linux answers 0, and leaves it to the program to guess the descriptor", ""},
    {Deviation::mended, "6.15 to 7.3", "DESTROY of a mock device, and close",
     "Linux's mock forgets the PASIDs that are attached: what they were attached to, and the pins, are never "
     "given back",
     ""},
    {Deviation::lacking, "", "pins",
     "pages can't be pinned: a program that unmaps memory while it is mapped for DMA stops that DMA. Of a "
     "program under `iommufd model` a memfd that it made is held, and other shared memory where "
     "/proc/PID/map_files may be opened (CAP_CHECKPOINT_RESTORE)",
     ""},
    {Deviation::lacking, "", "VmPin and VmLck under `iommufd model`",
     "/proc/PID/status has them, as they were when it was opened, for who names it by an absolute path", ""},
    {Deviation::lacking, "", "CHANGE_PROCESS of memory that was mapped with CAP_IPC_LOCK",
     "it stays with the process that mapped it; Linux takes it from the new one in the end, which never paid",
     ""},
    {Deviation::lacking, "", "injection of faults under `iommufd model --machine mock=on`",
     "/proc/PID/fail-nth counts what the supervisor allocates for an answer; the settings in "
     "/sys/kernel/debug are taken and "
     "have no effect",
     ""},
    {Deviation::lacking, "", "memory of huge pages",
     "is known as such of programs under `iommufd model`, by MAP_HUGETLB and MFD_HUGETLB; in this process "
     "only MAP_FILE "
     "knows it",
     ""},
    {Deviation::lacking, "", "HW_QUEUE_ALLOC",
     "memory counts as contiguous where its addresses are; in Linux that is luck", ""},
    {Deviation::lacking, "", "SET_TEMP_MEMORY_LIMIT of the mock",
     "it is taken and has no effect: in smaller batches Linux may meet the errors of a map in another order",
     ""},
    {Deviation::lacking, "", "MAP_FILE of a file that is sealed against writing",
     "it is mapped, but what devices write to it is blocked", ""},
    {Deviation::lacking, "", "vhost-vdpa after a reset without IOTLB_PERSIST",
     "the device reaches nothing; vdpasim reaches any address", ""},
    {Deviation::lacking, "", "descriptors",
     "close, dup and fcntl go through the kernel's calls: one that is closed with plain close(2) counts as "
     "open",
     ""},
};

}  // namespace iommufd::inline v0_1::model
