// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Asks a running instance by its control socket.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "iommufd/error/result.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::cli {

using Json = nlohmann::ordered_json;

class QmpClient {
public:
    // ECONNREFUSED, ENOENT: nobody listens at `path`; EACCES; EPROTO: what answers isn't QMP.
    static Result<QmpClient> connect(const std::string& path);
    // What the command returns. ETIMEDOUT: no answer within 20 s; EPROTO: it was refused; ECONNRESET: hung up.
    Result<Json> ask(const std::string& command);

private:
    QmpClient(sys::Fd socket, std::string path) : socket_(std::move(socket)), path_(std::move(path)) {}
    Result<Json> next();

    sys::Fd socket_;
    std::string path_;
    std::string rest_;
};

}  // namespace iommufd::inline v0_1::cli
