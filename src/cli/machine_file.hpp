// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A machine for the model kernel, from what follows --model: nothing (one device of each kind), a text form
// (model::parse()), a file whose name ends in .json, or its content.
//
//     {"kernel": "6.12",
//      "iommu": {"kind": "intel", "page-sizes": ["4K", "2M"], "dirty-tracking": true,
//                "iova-ranges": [["0x0", "0x7fffffffff"]], "reserved": [["0xfee00000", "0xfeefffff"]]},
//      "limits": {"memlock": "64M", "sys-resource": false},
//      "devices": [{"kind": "edu", "dma-bits": 32, "group": [{"address": "0000:00:1f.3", "driver": "snd_hda_intel"}]},
//                  {"kind": "vdpa-blk", "size": "128M", "persist": false}]}
//
// Every member may be left out. Numbers are numbers, or strings: addresses "0x1000", sizes "64M".
#pragma once

#include <string_view>

#include "iommufd/model/machine.hpp"

namespace iommufd::inline v0_1::cli {

// EINVAL, or what reading the file says: in one line, with the place in the file.
Result<model::Description> read_machine(std::string_view text);

}  // namespace iommufd::inline v0_1::cli
