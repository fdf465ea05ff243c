// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/passed_descriptors.hpp"

#include <algorithm>

namespace iommufd::inline v0_1::monitor {

void PassedDescriptors::receive(std::vector<sys::Fd> descriptors) {
    if (!descriptors.empty()) received_ = std::move(descriptors);
}

std::optional<sys::Fd> PassedDescriptors::take_received() {
    if (received_.empty()) return std::nullopt;
    sys::Fd first = std::move(received_.front());
    received_.clear();
    return first;
}

bool PassedDescriptors::put(std::string_view name, sys::Fd descriptor) {
    if (const auto known = named_.find(name); known != named_.end()) {
        known->second = std::move(descriptor);
        return true;
    }
    if (named_.size() == kMostNames) return false;
    named_.emplace(name, std::move(descriptor));
    return true;
}

std::optional<sys::Fd> PassedDescriptors::take(std::string_view name) {
    const auto known = named_.find(name);
    if (known == named_.end()) return std::nullopt;
    sys::Fd descriptor = std::move(known->second);
    named_.erase(known);
    return descriptor;
}

bool PassedDescriptors::has(int number) const noexcept {
    const auto is_it = [&](const sys::Fd& descriptor) { return descriptor.number() == number; };
    return std::ranges::any_of(received_, is_it) ||
           std::ranges::any_of(named_, [&](const auto& entry) { return is_it(entry.second); });
}

}  // namespace iommufd::inline v0_1::monitor
