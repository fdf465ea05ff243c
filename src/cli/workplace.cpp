// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/workplace.hpp"

#include <fmt/core.h>

#include "cli/machine_file.hpp"
#include "drivers/driver.hpp"
#include "error/guarded.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

void tell(const Notice& notice) {
    fmt::print(stderr, "iommufd: {}: {}\n", notice.severity == Severity::warning ? "warning" : "error",
               notice.error.line());
}

// What the kernel can't know of a device but its driver does.
void before_attach(const vfio::Device& device) {
    if (const auto kind = drivers::find(device); kind && *kind) device.set_dma_bits((*kind)->dma_bits);
}

}  // namespace

Result<std::unique_ptr<Workplace>> Workplace::open(const Arguments& arguments, ServeOn serve) {
    return guarded(Operation::none, [&]() -> Result<std::unique_ptr<Workplace>> {
        std::unique_ptr<Workplace> place(new Workplace);
        if (arguments.model) {
            auto description = read_machine(*arguments.model);
            if (!description) return description.error();
            place->machine_ = std::make_unique<model::Machine>(std::move(*description));
        }
        sys::Kernel& kernel = place->machine_ ? place->machine_->kernel() : sys::host_kernel();
        object::Registry::Options options{
            .report = tell, .kernel = &kernel, .before_attach = before_attach, .serve = {}};
        if (serve)
            options.serve = [serve = std::move(serve), &kernel](const object::FdServerOptions& wanted) {
                return serve(wanted, kernel);
            };
        place->registry_.emplace(std::move(options));
        if (auto created = place->registry_->create(arguments.definitions); !created) return created.error();
        return place;
    });
}

bool Workplace::close() {
    const auto failures = registry_->clear();
    for (const Error& failure : failures) fmt::print(stderr, "iommufd: error: {}\n", failure.line());
    return failures.empty();
}

}  // namespace iommufd::inline v0_1::cli
