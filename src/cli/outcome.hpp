// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What dmatest found out, before anybody decides how it is shown.
#pragma once

#include <string>
#include <vector>

namespace iommufd::inline v0_1::cli {

enum class Verdict { passed, failed, left_out };

struct Step {
    std::string name;  // "identify", "write and read back", "unmapped DMA"
    Verdict verdict;
    std::string detail;
};

struct DeviceOutcome {
    std::string id;      // the object's
    std::string device;  // "vfio-pci 0000:00:10.0"
    std::string driver;  // empty: there is none for it here
    std::vector<Step> steps;

    bool failed() const;
};

struct Outcome {
    std::string iommufd;  // its id; empty: there is none
    std::string memory;   // "64 MiB at IOVA 0x4000000, shared by 3 devices"
    bool model = false;
    std::vector<DeviceOutcome> devices;

    int exit_status() const;
};

// For people.
void print_text(const Outcome& outcome);
// For programs: one object.
void print_json(const Outcome& outcome);

}  // namespace iommufd::inline v0_1::cli
