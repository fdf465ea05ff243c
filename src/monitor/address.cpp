// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <sys/un.h>

#include <cerrno>
#include <optional>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "monitor/server.hpp"
#include "object/grammar.hpp"
#include "object/notation.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

Error cannot_listen(std::string_view text, std::string cause, std::string next_step) {
    return Error::refused(EINVAL, compose("cannot open the control socket ", object::quote(text)),
                          std::move(cause), std::move(next_step));
}

}  // namespace

Result<SocketAddress> parse_address(std::string_view text) {
    return guarded(Operation::none, [&]() -> Result<SocketAddress> {
        constexpr std::string_view kUnix = "unix:";
        constexpr std::string_view kForm = "write unix:PATH[,server=on,wait=off]";
        if (!text.starts_with(kUnix)) return cannot_listen(text, "it is no Unix socket", std::string(kForm));
        std::optional<SocketAddress> address;
        for (const std::string& word : object::split(text.substr(kUnix.size()))) {
            if (!address) {
                address = SocketAddress{.path = word};
                continue;
            }
            const std::size_t equals = word.find('=');
            const std::string key = word.substr(0, equals);
            const auto value = equals == std::string::npos ? std::optional(true)
                                                           : object::read_boolean(word.substr(equals + 1));
            if (key != "server" && key != "wait")
                return cannot_listen(text, compose("it has no option ", object::quote(key)),
                                     std::string(kForm));
            if (!value || *value != (key == "server"))
                return cannot_listen(text, compose(object::quote(word), " is not what this command does"),
                                     "it listens and waits for nobody: server=on,wait=off");
        }
        if (address->path.empty() || address->path.contains('\0'))
            return cannot_listen(text, "its path is empty", std::string(kForm));
        if (address->path.size() >= sizeof sockaddr_un::sun_path)
            return cannot_listen(
                text, compose("its path has more than ", sizeof sockaddr_un::sun_path - 1, " bytes"),
                "choose a shorter one");
        return *std::move(address);
    });
}

}  // namespace iommufd::inline v0_1::monitor
