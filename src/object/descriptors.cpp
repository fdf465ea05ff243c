// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "object/descriptors.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"
#include "object/values.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::object {
namespace {

struct Given {
    const Definition* definition;
    std::string_view key;
    int number;
};

std::vector<Given> given_by(std::span<const Definition> definitions) {
    std::vector<Given> all;
    for (const Definition& definition : definitions)
        for (const PropertyInfo& property : find_type(definition.type)->properties)
            if (property.kind == ValueKind::descriptor && definition.find(property.key))
                all.push_back({.definition = &definition,
                               .key = property.key,
                               .number = Values(definition).descriptor(property.key)});
    return all;
}

std::string_view kind_of_file(mode_t mode) {
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISREG(mode)) return "a regular file";
    if (S_ISSOCK(mode)) return "a socket";
    if (S_ISFIFO(mode)) return "a pipe";
    return "no device node";
}

Result<void> check_file(sys::Kernel& kernel, const Given& given) {
    const TypeInfo& type = *find_type(given.definition->type);
    const std::string what = compose(given.key, "=", given.number);
    const std::string next_step = compose("pass ", type.find(given.key)->doc);
    sys::FileStatus status{};
    if (const int result = kernel.fstat(given.number, status); result < 0)
        return cannot_create(*given.definition, compose(what, " is not open in this process"), next_step,
                             -result);
    if (!S_ISCHR(status.mode))
        return cannot_create(*given.definition, compose(what, " is ", kind_of_file(status.mode)), next_step);
    return {};
}

Error given_twice(const Given& given, int other_number, const Definition& other) {
    const bool same = given.number == other_number;
    return cannot_create(
        *given.definition,
        compose(given.key, "=", given.number, " is ",
                same ? std::string()
                     : compose("the same open file as descriptor ", other_number, ", and that is "),
                "given to ", call(other), " already"),
        "open the node once for each object, or let both refer to one object", EEXIST);
}

}  // namespace

Result<void> check_descriptors(sys::Kernel& kernel, std::span<const Definition> definitions,
                               std::span<const Known> known) {
    const std::vector<Given> all = given_by(definitions);
    // Numbers first, so that the same one twice is called that.
    for (const bool by_number : {true, false}) {
        // Open files can be told apart only where the kernel has kcmp.
        const auto is_same = [&](int a, int b) { return by_number ? a == b : kernel.same_file(a, b) == 1; };
        for (auto given = all.begin(); given != all.end(); ++given) {
            for (auto before = all.begin(); before != given; ++before)
                if (is_same(before->number, given->number))
                    return given_twice(*given, before->number, *before->definition);
            for (const Known& object : known)
                if (object.descriptor >= 0 && is_same(object.descriptor, given->number))
                    return given_twice(*given, object.descriptor, *object.definition);
            if (by_number)
                if (auto good = check_file(kernel, *given); !good) return good;
        }
    }
    return {};
}

Descriptors Descriptors::take(sys::Kernel& kernel, std::span<const Definition> definitions) {
    const std::vector<Given> all = given_by(definitions);
    Descriptors descriptors;
    descriptors.owned_.reserve(all.size());
    for (const Given& given : all) {
        descriptors.owned_.emplace_back(kernel, given.number);
        // Can't fail on an open descriptor; a kernel of this library hands out real ones.
        (void)::fcntl(given.number, F_SETFD, FD_CLOEXEC);
    }
    return descriptors;
}

int Descriptors::release(int number) noexcept {
    return std::ranges::find(owned_, number, &sys::Fd::number)->release();
}

}  // namespace iommufd::inline v0_1::object
