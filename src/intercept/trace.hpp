// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Tells of each call that the model answers, a line each, as strace would if it knew these files:
//
//     [4711] ioctl(3</dev/iommu>, IOMMU_IOAS_MAP, {flags=..., ioas_id=1, ...}) = -1 ENOENT (no IOAS of this context has that id)
//
// What it shows of a program's memory it reads for itself, before the call is answered and after: a program that changes it
// meanwhile is shown as it was then.
//
// Threads: none; it belongs to the supervisor's loop.
#pragma once

#include <linux/seccomp.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "intercept/form.hpp"
#include "intercept/tracee.hpp"
#include "iommufd/error/operation.hpp"
#include "model/file_table.hpp"

namespace iommufd::inline v0_1::intercept {

class Trace {
public:
    // Where lines are written to stays the caller's.
    Trace(int output, model::FileTable& files) : output_(output), files_(files) {}

    // One call.
    struct Line {
        std::string text;  // "ioctl(3</dev/iommu>, IOMMU_IOAS_MAP, {...}"
        Operation operation = Operation::none;
        const Form* form = nullptr;
        std::uint64_t argument = 0;
        std::vector<std::byte> given;  // of it, as it was before
        std::uint64_t read_into = 0;   // where the answer to a short read lies
    };
    Line before(Tracee& tracee, const seccomp_data& call);
    // `value`: the answer, or a negative errno.
    void after(Tracee& tracee, Line& line, std::int64_t value);

private:
    void add_path(Tracee& tracee, Line& line, std::uint64_t address);
    void add_descriptor(Tracee& tracee, Line& line, int fd);
    void add_ioctl(Tracee& tracee, Line& line, const seccomp_data& call);
    void add_move(Tracee& tracee, Line& line, const seccomp_data& call, bool writes);
    void add_move_at(Tracee& tracee, Line& line, const seccomp_data& call);
    void add_value(Tracee& tracee, Line& line, std::uint64_t buffer, std::uint64_t count, bool writes);

    const int output_;
    model::FileTable& files_;
};

}  // namespace iommufd::inline v0_1::intercept
