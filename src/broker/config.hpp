// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What `iommufd serve` reads:
//
//     {"socket": "/run/iommufd/broker.sock", "mode": "0666",
//      "kubevirt": {"socket": "/run/iommufd/kubevirt.sock", "mode": "0666"},
//      "tenants": [{"name": "vm-a",
//                   "peers": [{"uid": 1000, "unit": "vm-a.service"}, {"gid": 36}, {"cgroup": "/machine.slice"}],
//                   "iommufd": true, "devices": ["0000:02:00.0"], "vdpa": ["/dev/vhost-vdpa-0"],
//                   "trusted": false, "unreset": false, "accounting": "process", "memlock": "64G",
//                   "quotas": {"clients": 1, "devices": 4, "iommufds": 1}}]}
//
// Of a tenant `name` and `peers` are required; what is left out is not allowed. docs/broker.md explains each.
//
// Threads: free functions.
#pragma once

#include <string>
#include <string_view>

#include "broker/policy.hpp"

namespace iommufd::inline v0_1::broker {

struct SocketPlace {
    std::string path = {};
    mode_t mode = 0666;  // who may ask is the policy's business
};

struct Config {
    SocketPlace socket = {};    // without a path it is given (socket activation)
    SocketPlace kubevirt = {};  // for KubeVirt's exchange; without a path there is none
    Policy policy = {};
};

// EINVAL, with the place: it is no JSON, has an unknown member, or a value that makes no sense.
Result<Config> read_config(std::string_view text);
// The same of a file; what reading it says besides.
Result<Config> read_config_file(const std::string& path);

}  // namespace iommufd::inline v0_1::broker
