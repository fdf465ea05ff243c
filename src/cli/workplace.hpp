// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "cli/arguments.hpp"
#include "iommufd/model/machine.hpp"
#include "iommufd/object/registry.hpp"

namespace iommufd::inline v0_1::cli {

// What serves the fd-servers among a command's objects, on this kernel.
using ServeOn = std::function<Result<std::unique_ptr<object::FdServer>>(
    const object::FdServerOptions& options, sys::Kernel& kernel)>;

// The objects of a command, on the machine's own kernel or on a model of one.
class Workplace {
public:
    // Creates what the arguments say. Nothing is left of it on an error.
    static Result<std::unique_ptr<Workplace>> open(const Arguments& arguments, ServeOn serve = {});

    object::Registry& registry() noexcept { return *registry_; }
    // Null: it is the machine's own kernel.
    model::Machine* model() noexcept { return machine_.get(); }

    // Takes everything down, the last first; what failed is told on standard error. Whether nothing did.
    bool close();

private:
    Workplace() = default;
    std::unique_ptr<model::Machine> machine_;  // outlives what is open on it
    std::optional<object::Registry> registry_;
};

}  // namespace iommufd::inline v0_1::cli
