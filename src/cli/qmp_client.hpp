// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Asks a running instance by its control socket.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::cli {

using Json = nlohmann::ordered_json;

class QmpClient {
public:
    // ECONNREFUSED, ENOENT: nobody listens at `path`; EACCES; EPROTO: what answers isn't QMP.
    static Result<QmpClient> connect(const std::string& path);
    QmpClient(QmpClient&& other) noexcept;
    QmpClient& operator=(QmpClient&&) = delete;
    ~QmpClient();

    // What the command returns. ETIMEDOUT: no answer within 20 s; EPROTO: it was refused; ECONNRESET: hung up.
    Result<Json> ask(const std::string& command);

private:
    QmpClient(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
    Result<Json> next();

    int fd_;
    std::string path_;
    std::string rest_;
};

}  // namespace iommufd::inline v0_1::cli
