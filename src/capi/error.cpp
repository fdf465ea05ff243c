// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/capi/error.h"

#include <optional>
#include <string>

#include "capi/call.hpp"
#include "error/operations.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

struct LastError {
    std::optional<Error> error;
    // As C strings, made when they are asked for.
    std::string text;
    std::string what;
    std::string cause;
    std::string next_step;
};

thread_local LastError last;

// A part of the last error as C has it.
template <class Part>
const char* keep(std::string& where, Part&& part) noexcept {
    if (!last.error) return "";
    try {
        where = part(*last.error);
        return where.c_str();
    } catch (const std::bad_alloc&) {
        return "";
    }
}

}  // namespace

Result<Operation> operation_called(std::string_view text) noexcept {
    for (const OperationFacts& facts : kOperations)
        if (facts.name == text) return facts.operation;
    return refused(ENOENT, "cannot tell of that operation", "there is none of that name",
                   "take one that `iommufd explain` lists");
}

Result<sys::Kernel*> kernel_of(const iommufd_kernel* given) noexcept {
    if (!given) return &sys::host_kernel();
    if (std::memcmp(given->abi, kKernelAbi, sizeof kKernelAbi) != 0)
        return refused(EINVAL, "cannot use the kernel that was given",
                       "the library that made it is of another version than this one",
                       "install libiommufd-model and libiommufd-c1 of one version");
    return given->kernel;
}

}  // namespace iommufd::inline v0_1::capi

using namespace iommufd;
using capi::keep;
using capi::last;

int iommufd_private_fail(const Error& error) noexcept {
    last.error = error;
    return -error.code();
}

const char* iommufd_error_text(void) {
    return keep(last.text, [](const Error& error) { return error.text(); });
}

const char* iommufd_error_what(void) {
    return keep(last.what, [](const Error& error) { return std::string(error.what()); });
}

const char* iommufd_error_cause(void) {
    return keep(last.cause, [](const Error& error) { return std::string(error.cause()); });
}

const char* iommufd_error_next_step(void) {
    return keep(last.next_step, [](const Error& error) { return std::string(error.next_step()); });
}

// Names of operations, causes and next steps of the table are constants that end in a NUL, which a test sees to.
const char* iommufd_error_operation(void) { return last.error ? name(last.error->operation()).data() : ""; }

int iommufd_explain(const char* operation, int code, const char** cause, const char** next_step) {
    return capi::call([&]() -> Result<void> {
        if (!operation || !cause || !next_step) return capi::is_null("operation, cause and next_step");
        const auto found = capi::operation_called(operation);
        if (!found) return found.error();
        const Explanation explanation = explain(*found, code < 0 ? -code : code);
        *cause = explanation.cause.data();
        *next_step = explanation.next_step.data();
        return {};
    });
}

const char* iommufd_version(void) { return IOMMUFD_VERSION; }
