// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Characters as QEMU's monitor takes them: UTF-8 without surrogates and noncharacters; U+0000 may also be the two bytes C0 80.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace iommufd::inline v0_1::monitor {

// Takes the first character off the text, which isn't empty; nothing: it is none, and what can't belong to the next one is gone.
std::optional<std::uint32_t> take_character(std::string_view& text) noexcept;

// False: it is no character; nothing is appended.
bool append_character(std::string& text, std::uint32_t character);

}  // namespace iommufd::inline v0_1::monitor
