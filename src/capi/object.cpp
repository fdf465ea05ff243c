// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/capi/object.h"

#include <fcntl.h>

#include <utility>

#include "capi/call.hpp"
#include "capi/handles.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

Result<Backend::Options> backend_options(const iommufd_options& given, sys::Kernel* kernel) {
    Backend::Options options{.fd = {}, .report = {}, .kernel = kernel};
    if (given.id) options.id = given.id;
    return options;
}

// Opens or adopts; `fd` is the caller's, or -1.
Result<void> open(int fd, const iommufd_options* given, iommufd_object** object) {
    if (!object) return is_null("the pointer to the object");
    auto options = options_of(given);
    if (!options) return options.error();
    auto kernel = kernel_of(options->kernel);
    if (!kernel) return kernel.error();
    auto how = backend_options(*options, *kernel);
    if (!how) return how.error();
    if (fd >= 0) {
        if (options->path)
            return refused(EINVAL, "cannot open the iommufd", "both a path and a descriptor are given",
                           "give one");
        how->fd = DupFd{fd};
    } else if (options->path) {
        const int opened = (*kernel)->open(options->path, O_RDWR);
        if (opened < 0) return Error(Operation::open, -opened, "cannot open " + std::string(options->path));
        how->fd = AdoptFd{opened};
    }
    auto backend = Backend::open(*std::move(how));
    if (!backend) return backend.error();
    *object = new iommufd_object{*std::move(backend)};
    return {};
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi

using namespace iommufd;
using capi::call;

int iommufd_open(const iommufd_options* options, iommufd_object** object) {
    return call([&] { return capi::open(-1, options, object); });
}

int iommufd_open_fd(int fd, const iommufd_options* options, iommufd_object** object) {
    return call([&]() -> Result<void> {
        if (fd < 0)
            return capi::refused(EBADF, "cannot open the iommufd", "the descriptor is negative",
                                 "give an open one");
        return capi::open(fd, options, object);
    });
}

int iommufd_close(iommufd_object* object) {
    return call([&]() -> Result<void> {
        if (!object) return capi::is_null("the object");
        if (auto closed = std::move(object->backend).destroy(); !closed) return closed;
        delete object;
        return {};
    });
}

void iommufd_free(iommufd_object* object) { delete object; }

const char* iommufd_id(const iommufd_object* object) { return object ? object->backend.id().c_str() : ""; }

int iommufd_fd(const iommufd_object* object) {
    return call([&]() -> Result<int> {
        if (!object) return capi::is_null("the object");
        if (const auto context = object->backend.context()) return context->fd();
        return capi::refused(ENOTCONN, "there is no descriptor", "the node is not open",
                             "bind a VFIO device first, or open the object by path");
    });
}

int iommufd_users(const iommufd_object* object, char* text, size_t length) {
    return call([&]() -> Result<int> {
        if (!object) return capi::is_null("the object");
        std::string lines;
        for (const std::string& user : object->backend.users()) lines += user + "\n";
        return capi::write_text(lines, text, length);
    });
}

int iommufd_get_accounting(const iommufd_object* object) {
    return call([&]() -> Result<int> {
        if (!object) return capi::is_null("the object");
        return object->backend.accounting().transform(
            [](Accounting accounting) { return static_cast<int>(accounting); });
    });
}

int iommufd_has(const iommufd_object* object, const char* operation) {
    return call([&]() -> Result<int> {
        if (!object || !operation) return capi::is_null("object and operation");
        const auto asked = capi::operation_called(operation);
        if (!asked) return asked.error();
        for (const Operation known : Capabilities::all())
            if (known == *asked)
                return object->backend.capabilities().transform([&](const Capabilities& capabilities) {
                    return static_cast<int>(capabilities.has(*asked));
                });
        return capi::refused(ENOENT, "cannot tell of that operation", "it is no ioctl of /dev/iommu",
                             "take one that `iommufd explain` lists");
    });
}
