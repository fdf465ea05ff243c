// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/capi/model.h"

#include <cstring>
#include <string>
#include <system_error>

#include "capi/call.hpp"
#include "iommufd/model/machine.hpp"

struct iommufd_model {
    explicit iommufd_model(const iommufd::model::Description& description) : machine(description) {
        std::memcpy(handle.abi, iommufd::capi::kKernelAbi, sizeof handle.abi);
        handle.kernel = &machine.kernel();
    }
    iommufd::model::Machine machine;
    iommufd_kernel handle{};
};

using namespace iommufd;
using capi::call;

namespace {

Result<iommufd_model*> create(const char* text) {
    auto description = text ? model::parse(text) : Result<model::Description>(model::everything());
    if (!description) return description.error();
    try {
        return new iommufd_model(*description);
    } catch (const std::system_error& failure) {
        return Error::refused(failure.code().value(), "cannot make the model", failure.what(),
                              "free some and try again");
    }
}

}  // namespace

int iommufd_model_create(const char* description, iommufd_model** model) {
    return call([&]() -> Result<void> {
        if (!model)
            return Error::refused(EINVAL, "cannot make the model", "the pointer to it is NULL", "give one");
        return create(description).transform([&](iommufd_model* made) { *model = made; });
    });
}

void iommufd_model_free(iommufd_model* model) { delete model; }

const iommufd_kernel* iommufd_model_kernel(const iommufd_model* model) {
    return model ? &model->handle : nullptr;
}

int iommufd_model_devices(const iommufd_model* model, char* text, size_t length) {
    return call([&]() -> Result<int> {
        std::string lines;
        if (model)
            for (const model::Device& device : model->machine.devices())
                lines += std::string(model::text(device.kind)) + " " + device.name + " " + device.node + "\n";
        return capi::write_text(lines, text, length);
    });
}

int iommufd_model_leaks(const iommufd_model* model, char* text, size_t length) {
    return call([&]() -> Result<int> {
        const model::Leaks leaks = model ? model->machine.leaks() : model::Leaks();
        return capi::write_text(leaks.any() ? leaks.text() : "", text, length);
    });
}

uint64_t iommufd_model_blocked_dma(const iommufd_model* model) {
    return model ? model->machine.blocked_dma_count() : 0;
}

int iommufd_model_request_device(iommufd_model* model, const char* name) {
    return call([&]() -> Result<void> {
        if (model && name && model->machine.request_device(name)) return {};
        return Error::refused(ENOENT, "cannot ask for the device",
                              "there is none of that name, or nobody listens", "open it first");
    });
}
