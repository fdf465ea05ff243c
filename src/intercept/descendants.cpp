// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/descendants.hpp"

#include <filesystem>
#include <fstream>
#include <system_error>

#include "intercept/known_threads.hpp"

namespace iommufd::inline v0_1::intercept {

std::vector<pid_t> descendants_of(pid_t process) {
    std::vector<pid_t> all{process};
    for (std::size_t next = 0; next < all.size(); ++next) {
        std::error_code gone;
        for (const auto& thread : std::filesystem::directory_iterator(proc_path(all[next], "task"), gone)) {
            std::ifstream children(thread.path() / "children");
            for (pid_t child = 0; children >> child;) all.push_back(child);
        }
    }
    all.erase(all.begin());
    return all;
}

}  // namespace iommufd::inline v0_1::intercept
