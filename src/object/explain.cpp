// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/object/explain.hpp"

#include <cerrno>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::object {
namespace {

bool pins(Operation operation) {
    switch (operation) {
        case Operation::ioas_map:
        case Operation::ioas_map_file:
        case Operation::ioas_copy:
        case Operation::iotlb_update:
        case Operation::iotlb_batch:
            return true;
        default:
            return false;
    }
}

std::string_view in_words(Accounting accounting) {
    switch (accounting) {
        case Accounting::none:
            return "none (CAP_IPC_LOCK)";
        case Accounting::per_user:
            return "per user";
        case Accounting::per_process:
            return "per process";
    }
    return {};
}

}  // namespace

std::vector<std::string> explain(const Error& error, const host::Process& process,
                                 std::optional<Accounting> accounting) {
    if (error.code() != ENOMEM || !pins(error.operation())) return {};
    std::vector<std::string> lines;
    lines.push_back(compose("RLIMIT_MEMLOCK is ",
                            process.memlock_limit ? size_text(*process.memlock_limit) : "unlimited",
                            "; this process has pinned ", size_text(process.pinned), " (VmPin)"));
    if (accounting) lines.back() += compose("; accounting: ", in_words(*accounting));
    if (accounting == Accounting::per_user)
        lines.emplace_back("what other processes of this user have pinned counts as well");
    if (accounting == Accounting::none || !process.memlock_limit)
        lines.emplace_back("so it isn't the limit: this machine, or the memory cgroup, has no memory left");
    return lines;
}

}  // namespace iommufd::inline v0_1::object
