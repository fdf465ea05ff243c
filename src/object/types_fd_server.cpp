// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// fd-server
#include <cerrno>

#include "error/compose.hpp"
#include "iommufd/backend/backend.hpp"
#include "object/kinds.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::object {
namespace {

class FdServerObject final : public Object {
public:
    // The server goes first: what it hands out is the user's context.
    FdServerObject(User user, std::unique_ptr<FdServer> server)
        : user_(std::move(user)), server_(std::move(server)) {}

    Handle handle() const noexcept override { return server_.get(); }
    std::optional<std::string> value(std::string_view key) const override {
        if (key == "clients") return compose(server_->clients());
        return std::nullopt;
    }
    Result<void> destroy() override {
        server_.reset();
        user_.reset();
        return {};
    }
    bool is_gone() const noexcept override { return !server_; }

private:
    std::optional<User> user_;
    std::unique_ptr<FdServer> server_;
};

}  // namespace

Made create_fd_server(const Values& values, const Site& site) {
    if (!site.options.serve)
        return Error::refused(EOPNOTSUPP, compose("cannot create fd-server ", quote(values.id())),
                              "this program doesn't serve other processes", "use `iommufd run`");
    const auto backend = site.registry.get<Backend>(values.text("iommufd"));
    if (!backend) return backend.error();
    auto user = (*backend)->connect(compose("fd-server ", values.id()));
    if (!user) return user.error();
    FdServerOptions options{.id = values.id(),
                            .path = values.text("path"),
                            .config = values.text("config"),
                            .user = {},
                            .iommufd = user->context_fd()};
    if (values.has("uid")) options.user = static_cast<std::uint32_t>(values.number("uid"));
    auto server = site.options.serve(options);
    if (!server) return server.error();
    return std::make_unique<FdServerObject>(*std::move(user), *std::move(server));
}

Result<void> check_fd_server(const Values& values) {
    if (values.has("config") != values.has("uid")) return {};
    return cannot_create(
        values.definition(),
        values.has("uid") ? "it has config= and uid=" : "it doesn't say who its clients are",
        "give either config=, a policy's file, or uid=, of a user that is trusted with the iommufd");
}

}  // namespace iommufd::inline v0_1::object
