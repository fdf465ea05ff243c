// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/doctor/checks.hpp"
#include "cli/doctor/memlock.hpp"
#include "error/compose.hpp"
#include "host/device_nodes.hpp"
#include "host/first_line.hpp"
#include "iommufd/backend/backend.hpp"

namespace iommufd::inline v0_1::cli::doctor {
namespace {

constexpr const char* kMemlock = "memlock";

}  // namespace

Findings check_memlock(const Machine& machine) {
    const auto limits = memlock(machine.kernel);
    if (!limits)
        return {
            {.verdict = Verdict::unseen, .check = kMemlock, .evidence = limits.error().line(), .fix = {}}};
    const std::string in_force = text(*limits);
    if (limits->excused)
        return {{.verdict = Verdict::pass,
                 .check = kMemlock,
                 .evidence = compose("user ", machine.user,
                                     " has CAP_IPC_LOCK, so /dev/iommu asks for no limit; ", in_force),
                 .fix = {}}};
    if (!limits->soft || *limits->soft >= machine.memory)
        return {{.verdict = Verdict::pass,
                 .check = kMemlock,
                 .evidence = compose(in_force, ", enough for ", size_text(machine.memory)),
                 .fix = {}}};
    return {{.verdict = Verdict::fail,
             .check = kMemlock,
             .evidence = compose(in_force, ": too little for ", size_text(machine.memory), " of memory"),
             .fix = how_to_raise(*limits, machine.memory)}};
}

Findings check_accounting(const Machine& machine) {
    constexpr const char* kCheck = "accounting";
    auto backend = Backend::open({.id = "doctor", .fd = {}, .report = {}, .kernel = &machine.kernel});
    const auto mode = backend ? backend->accounting() : Result<Accounting>(backend.error());
    if (!mode)
        return {{.verdict = Verdict::unseen,
                 .check = kCheck,
                 .evidence = "without /dev/iommu the kernel can't be asked",
                 .fix = {}}};
    switch (*mode) {
        case Accounting::none:
            return {
                {.verdict = Verdict::pass, .check = kCheck, .evidence = "none (CAP_IPC_LOCK)", .fix = {}}};
        case Accounting::per_process:
            return {{.verdict = Verdict::pass,
                     .check = kCheck,
                     .evidence = "per process: each has RLIMIT_MEMLOCK for itself",
                     .fix = {}}};
        case Accounting::per_user:
            break;
    }
    std::string others;
    if (const auto number =
            host::parse_device_number(host::first_line(machine.kernel, "/sys/class/misc/iommu/dev")))
        if (const auto openers =
                host::openers(machine.kernel, {{.name = "iommu", .number = *number, .is_block = false}}))
            for (const host::Opener& opener : *openers)
                others += compose(others.empty() ? "" : ", ", host::text(opener));
    if (others.empty())
        return {{.verdict = Verdict::pass,
                 .check = kCheck,
                 .evidence = compose("per user: all programs of user ", machine.user,
                                     " share RLIMIT_MEMLOCK, and no other has /dev/iommu open"),
                 .fix = {}}};
    return {{.verdict = Verdict::warn,
             .check = kCheck,
             .evidence =
                 compose("per user: what other programs pin counts against RLIMIT_MEMLOCK as well; ", others),
             .fix = "let root open /dev/iommu with accounting per process: `iommufd exec` does"}};
}

Findings check_huge_pages(const Machine& machine) {
    constexpr const char* kCheck = "huge-pages";
    const std::string transparent =
        host::first_line(machine.kernel, "/sys/kernel/mm/transparent_hugepage/enabled");
    std::string pools;
    for (const std::string& size : names_in(machine.kernel, "/sys/kernel/mm/hugepages")) {
        const std::string folder = compose("/sys/kernel/mm/hugepages/", size);
        const std::string count = host::first_line(machine.kernel, folder + "/nr_hugepages");
        if (!count.empty() && count != "0")
            pools += compose("; ", size, ": ", count, ", ",
                             host::first_line(machine.kernel, folder + "/free_hugepages"), " free");
    }
    const std::string evidence = compose("transparent: ", transparent.empty() ? "none" : transparent, pools);
    if (pools.empty() && (transparent.empty() || transparent.contains("[never]")))
        return {{.verdict = Verdict::warn,
                 .check = kCheck,
                 .evidence = compose(evidence, "; there are none, so large memory takes longer to map"),
                 .fix = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"}};
    return {{.verdict = Verdict::pass, .check = kCheck, .evidence = evidence, .fix = {}}};
}

}  // namespace iommufd::inline v0_1::cli::doctor
