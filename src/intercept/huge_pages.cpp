// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/huge_pages.hpp"

#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <map>

#include "sys/fd.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

constexpr unsigned kShifts[] = {16, 21, 25, 29, 30, 34};  // 64K to 16G: what architectures have

// An empty file of each size is in the container of all.
std::map<dev_t, std::uint64_t> find_containers() {
    std::map<dev_t, std::uint64_t> sizes;
    for (const unsigned shift : kShifts) {
        const sys::Fd file(sys::host_kernel(),
                           ::memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | shift << MFD_HUGE_SHIFT));
        struct stat found{};
        if (file && ::fstat(file.number(), &found) == 0)
            sizes.emplace(found.st_dev, std::uint64_t{1} << shift);
    }
    return sizes;
}

}  // namespace

std::uint64_t page_size_of(dev_t container) {
    static const std::map<dev_t, std::uint64_t> sizes = find_containers();
    const auto found = sizes.find(container);
    return found == sizes.end() ? 4096 : found->second;
}

}  // namespace iommufd::inline v0_1::intercept
