// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "conformance/reach.hpp"

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "error/operations.hpp"
#include "error/table.hpp"

namespace iommufd::inline v0_1::conformance {
namespace {

struct Excuse {
    std::string_view name;  // of the ioctl; empty: of all
    int code;
    std::string_view why;
};

constexpr Excuse kExcuses[] = {
    {"", ENOTTY, "this kernel has them all; what an older one lacks is the model's tests'"},
    {"", ENOMEM,
     "no call makes memory scarce, and CAP_IPC_LOCK is not limited; allocation failures are walked through "
     "elsewhere"},
    {"", EMFILE, "descriptors aren't scarce"},
    {"", ENFILE, "descriptors aren't scarce"},
    {"IOAS_CHANGE_PROCESS", EBUSY, "one call is made after the other"},
    {"IOAS_NOIOMMU_GET_PA", EPERM, "the caller has CAP_SYS_RAWIO"},
    {"IOAS_NOIOMMU_GET_PA", EOVERFLOW, "the mock is an IOMMU; the tests of noiommu reach it"},
    {"OPTION", EPERM, "the caller has CAP_SYS_RESOURCE"},
    {"IOAS_UNMAP", EDEADLK, "the mock's accesses let go, or have no wish to be asked"},
    {"HWPT_ALLOC", EIO, "of an SMMUv3 only"},
    {"HWPT_ALLOC", ENODEV, "the mock's devices always have a driver"},
    {"HWPT_INVALIDATE", EIO, "of an SMMUv3 only"},
    {"VDEVICE_ALLOC", EOPNOTSUPP, "the mock's vIOMMUs all have virtual devices"},
};

bool was_reached(const Coverage& coverage, std::string_view name, int code) {
    return std::ranges::any_of(coverage, [&](const auto& entry) {
        // "OPTION(HUGE_PAGES)" is an OPTION.
        const std::string_view call = std::string_view(entry.first).substr(0, entry.first.find('('));
        return call == name && entry.second.contains(code);
    });
}

}  // namespace

Reach reach_of(const Coverage& coverage) {
    constexpr std::string_view kPrefix = "IOMMU_";
    Reach reach;
    for (const Row& row : table_rows()) {
        const auto* const facts = std::ranges::find(kOperations, row.operation, &OperationFacts::operation);
        if (facts == std::end(kOperations) || !facts->name.starts_with(kPrefix)) continue;
        const std::string_view name = facts->name.substr(kPrefix.size());
        const auto* const excuse = std::ranges::find_if(kExcuses, [&](const Excuse& each) {
            return each.code == row.code && (each.name.empty() || each.name == name);
        });
        const std::string pair = std::string(facts->name) + ' ' + std::string(errno_name(row.code));
        const bool reached = was_reached(coverage, name, row.code);
        reach.reached += reached;
        if (excuse == std::end(kExcuses)) {
            if (!reached) reach.unreached.push_back(pair);
        } else if (!reached) {
            reach.excused.push_back(pair + ": " + std::string(excuse->why));
        } else if (!excuse->name.empty()) {
            reach.wrongly_excused.push_back(pair);
        }
    }
    return reach;
}

}  // namespace iommufd::inline v0_1::conformance
