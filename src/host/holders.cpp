// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "host/holders.hpp"

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "host/open_files.hpp"

namespace iommufd::inline v0_1::host {

Result<std::vector<Holder>> other_holders(sys::Kernel& kernel, int fd) {
    return guarded(Operation::read, [&]() -> Result<std::vector<Holder>> {
        std::vector<Holder> holders;
        std::string ours;
        const std::string link = compose("/proc/self/fd/", fd);
        if (const int result = kernel.readlink(link.c_str(), ours); result < 0)
            return failed(Operation::read, -result, [&] { return compose("cannot read ", link); });
        if (!ours.starts_with("/dev/")) return holders;  // a model's, which no other process can have
        const auto seen = each_open_file(kernel, [&](const OpenFile& file) {
            if (file.path != ours || kernel.shares_file(file.process, file.descriptor, fd) != 1) return false;
            holders.push_back({.process = file.process, .name = program_of(kernel, file.process)});
            return true;
        });
        if (!seen) return seen.error();
        return holders;
    });
}

}  // namespace iommufd::inline v0_1::host
