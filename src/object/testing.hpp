// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// For the tests of the registry: definitions from text, and a machine that tells what was left behind.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "iommufd/object/registry.hpp"
#include "iommufd/vdpa/device.hpp"
#include "iommufd/vfio/device.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::object::testing {

// Each text is the argument of -object, or of -device where its type is a device's.
inline std::vector<Definition> define(const std::vector<std::string_view>& texts) {
    std::vector<Definition> definitions;
    for (const std::string_view text : texts) {
        const TypeInfo* const type = find_type(text.substr(0, text.find(',')));
        definitions.push_back(parse(type ? type->option : Option::object, text).value());
    }
    return definitions;
}

inline constexpr std::string_view kIommufd = "iommufd,id=iommufd0";
inline constexpr std::string_view kMemory = "memory-backend-memfd,id=mem0,size=1M";
inline constexpr std::string_view kSpace = "dma-space,id=dma0,iommufd=iommufd0";
inline constexpr std::string_view kMapping = "dma-mapping,id=map0,space=dma0,memdev=mem0,iova=0x4000000";
inline constexpr std::string_view kEdu = "vfio-pci,id=edu0,host=0000:00:10.0,iommufd=iommufd0,space=dma0";
inline constexpr std::string_view kBlk =
    "vhost-vdpa,id=blk0,vhostdev=/dev/vhost-vdpa-0,iommufd=iommufd0,space=dma0";

class RegistryTest : public ::testing::Test {
protected:
    // What a call left in the model.
    ::testing::AssertionResult nothing_is_left() const {
        const model::Leaks leaks = machine_.leaks();
        if (!leaks.any()) return ::testing::AssertionSuccess();
        return ::testing::AssertionFailure() << leaks.text() << " left";
    }

    Result<void> create(const std::vector<std::string_view>& texts) {
        return registry_.create(define(texts));
    }
    // The error line of definitions that are refused.
    std::string refusal(const std::vector<std::string_view>& texts) {
        auto created = create(texts);
        return created ? "nothing was refused" : created.error().line();
    }
    std::vector<std::string> ids() const {
        std::vector<std::string> ids;
        for (const ObjectInfo& info : registry_.list()) ids.push_back(info.definition.id);
        return ids;
    }
    int open(const char* path) { return machine_.kernel().open(path, O_RDWR); }
    static bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

    model::Machine machine_;
    std::vector<std::string> reported_;
    Registry registry_{{.report = [this](const Notice& notice) { reported_.push_back(notice.error.line()); },
                        .kernel = &machine_.kernel(),
                        .before_attach = {}}};
};

}  // namespace iommufd::inline v0_1::object::testing
