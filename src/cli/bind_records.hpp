// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What devices were before `iommufd bind` took them, so that `iommufd unbind` can give them back: a file for each in
// /run/iommufd/bind, written before the first change. It is gone after a restart of the machine, as the changes are.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::cli {

inline constexpr std::string_view kBindRecords = "/run/iommufd/bind";

struct BindRecord {
    std::string driver;           // that it had; empty: none
    std::string driver_override;  // empty: none

    bool operator==(const BindRecord&) const = default;
};

class BindRecords {
public:
    explicit BindRecords(std::string_view folder = kBindRecords);
    ~BindRecords();
    BindRecords(const BindRecords&) = delete;
    BindRecords& operator=(const BindRecords&) = delete;

    // Makes the folder, and keeps everybody else from changing what is in it as long as this object lives. EBUSY: somebody does.
    Result<void> lock();

    std::optional<BindRecord> find(std::string_view device) const;
    // Whole or not at all, whenever this process is killed.
    Result<void> save(std::string_view device, const BindRecord& record) const;
    Result<void> remove(std::string_view device) const;

private:
    std::string path(std::string_view device) const;

    std::string folder_;
    int lock_ = -1;
};

}  // namespace iommufd::inline v0_1::cli
