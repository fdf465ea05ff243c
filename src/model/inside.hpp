// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A machine's insides, for who answers other programs with it: its paths and its open files, which Machine's kernel
// puts behind the system calls of this process.
#pragma once

#include "iommufd/model/machine.hpp"
#include "model/accountant.hpp"
#include "model/file_table.hpp"
#include "model/tree.hpp"

namespace iommufd::inline v0_1::model {

struct Inside {
    const Tree& tree;
    FileTable& files;
    const Accountant& accountant;

    // Before any program has opened a device: where the first region of each lies in its file.
    static void place_regions(Machine& machine, std::uint64_t first);
    static Inside of(Machine& machine);
    // The objects and mappings that contexts still had when the last descriptor or device of each had gone.
    static Leaks left(const Machine& machine);
};

}  // namespace iommufd::inline v0_1::model
