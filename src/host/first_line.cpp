// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "host/first_line.hpp"

#include <algorithm>

namespace iommufd::inline v0_1::host {

std::string first_line(sys::Kernel& kernel, const std::string& path) {
    std::string content;
    (void)kernel.read_file(path.c_str(), content);
    content.erase(std::min(content.find('\n'), content.size()));
    return content;
}

}  // namespace iommufd::inline v0_1::host
