// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/instance.hpp"

#include <utility>

namespace iommufd::inline v0_1::cli {

Result<Json> look_at_instance(const std::string& socket) {
    auto client = QmpClient::connect(socket);
    if (!client) return client.error();
    Json all = Json::object();
    for (const auto& [key, command] :
         {std::pair("iommufds", "query-iommufd"), std::pair("devices", "query-devices"),
          std::pair("spaces", "query-address-spaces")}) {
        auto answer = client->ask(command);
        if (!answer) return answer.error();
        all[key] = *std::move(answer);
    }
    return all;
}

}  // namespace iommufd::inline v0_1::cli
