// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The descriptors that a client has passed: those of its last message that had any, and those that it gave names to (getfd).
// They are closed with this, or when others take their place.
//
// Threads: a value.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sys/fd.hpp"

namespace iommufd::inline v0_1::monitor {

class PassedDescriptors {
public:
    static constexpr std::size_t kMostInAMessage = 8;
    static constexpr std::size_t kMostNames = 16;

    void receive(std::vector<sys::Fd> descriptors);
    // The first of those that came last; the others are closed. Nothing: there is none.
    std::optional<sys::Fd> take_received();

    // Closes what had the name. False: there are too many, and the descriptor is closed.
    bool put(std::string_view name, sys::Fd descriptor);
    // Nothing: there is none of that name.
    std::optional<sys::Fd> take(std::string_view name);

    bool has(int number) const noexcept;

private:
    std::vector<sys::Fd> received_;
    std::map<std::string, sys::Fd, std::less<>> named_;
};

}  // namespace iommufd::inline v0_1::monitor
