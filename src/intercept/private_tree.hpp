// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The model's folders, small files and links as real ones, in a folder that only this user can enter: what a program
// opens of them is a real descriptor, which it reads and lists without the supervisor. Nodes are empty files there.
//
// Threads: none.
#pragma once

#include <string>

#include "iommufd/error/result.hpp"
#include "model/tree.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::intercept {

class PrivateTree {
public:
    // In $TMPDIR, or /tmp, from which it removes those of supervisors of this user that were killed. What mkdir, open, write, symlink say.
    static Result<PrivateTree> make(const model::Tree& tree);
    PrivateTree(PrivateTree&& other) noexcept = default;
    PrivateTree& operator=(PrivateTree&&) = delete;
    ~PrivateTree();  // removes it

    // Opens a real path of the tree: a descriptor or a negative errno.
    int open(const std::string& real, int flags) const;
    // Where all its files are.
    dev_t container() const noexcept { return container_; }
    // The model's path of a file in it; empty where it isn't in it.
    std::string path_of(std::string_view file) const;

private:
    explicit PrivateTree(std::string root) : root_(std::move(root)) {}

    std::string root_;
    dev_t container_ = 0;
    sys::Fd folder_;
};

}  // namespace iommufd::inline v0_1::intercept
