// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the sentences of this layer's errors are made of.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "iommufd/error/error.hpp"
#include "iommufd/object/definition.hpp"

namespace iommufd::inline v0_1::object {

// 'text', on one line whatever is in it, and not longer than a line can bear.
std::string quote(std::string_view text);

// "a, b and c"; `last` is the word before the last one.
std::string list_text(const std::vector<std::string>& items, std::string_view last);

// "a,b,c", as the values of properties that are lists are written.
std::string joined(const std::vector<std::string>& items);

// The word that was probably meant: the one that goes on from there, or the nearest, if it is near. Empty:
// none.
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& words);
// "did you mean 'fd'?", or else `otherwise` and the words.
std::string suggestion(std::string_view word, const std::vector<std::string_view>& words,
                       std::string_view otherwise);

// "vfio-pci 'nvme0'"; with less than that known, what is.
std::string call(const Definition& definition);

// "cannot create vfio-pci 'nvme0'", with cause and next step.
Error cannot_create(const Definition& definition, std::string cause, std::string next_step, int code);
Error cannot_create(const Definition& definition, std::string cause, std::string next_step);

}  // namespace iommufd::inline v0_1::object
