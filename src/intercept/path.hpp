// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The path that a program names, as the model's: from its folder descriptors and its working folder on, without "." and
// "//". Links of the host's that lead into the model's paths are not followed.
#pragma once

#include <string>

#include "intercept/private_tree.hpp"
#include "intercept/tracee.hpp"
#include "model/tree.hpp"

namespace iommufd::inline v0_1::intercept {

// As it is compared with the model's: absolute, no empty and no "." components, the end kept ("/a/" stays so).
std::string tidy(std::string_view path);
// The same with each ".." and what it takes back left out.
std::string fold(std::string_view tidied);

// The path of a node, of what its memfd's link in /proc shows: "/dev/iommu" of "/memfd:/dev/iommu (deleted)". Of other links
// what they show.
std::string_view node_of(std::string_view link);

class Paths {
public:
    Paths(const model::Tree& tree, const PrivateTree& files) : tree_(tree), files_(files) {}

    // The model's path; empty where it is the host's. `folder` is AT_FDCWD or a descriptor.
    std::string find(const Tracee& tracee, int folder, std::string_view text) const;
    // What a descriptor shows of the model's folders and small files; empty for any other.
    std::string of_descriptor(const Tracee& tracee, int fd) const;

private:
    const model::Tree& tree_;
    const PrivateTree& files_;
};

}  // namespace iommufd::inline v0_1::intercept
