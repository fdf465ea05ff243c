// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/object/fd_server.hpp"

#include <gmock/gmock.h>

#include <cerrno>

#include "iommufd/backend/backend.hpp"
#include "iommufd/model/machine.hpp"
#include "iommufd/object/registry.hpp"

namespace iommufd::inline v0_1::object {
namespace {

using ::testing::HasSubstr;

class Serving final : public FdServer {
public:
    explicit Serving(std::size_t& alive) : alive_(alive) { ++alive_; }
    ~Serving() override { --alive_; }
    std::size_t clients() const noexcept override { return 3; }

private:
    std::size_t& alive_;
};

class FdServerTest : public ::testing::Test {
protected:
    void TearDown() override {
        registry_.clear();
        EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    }
    Result<void> create(std::string_view text) {
        auto definition = parse(Option::object, text);
        return definition ? registry_.create(*definition) : definition.error();
    }

    model::Machine machine_{model::parse("devices=edu").value()};
    std::vector<FdServerOptions> wanted_;
    std::size_t alive_ = 0;
    int failure_ = 0;
    Registry registry_{{.report = {},
                        .kernel = &machine_.kernel(),
                        .before_attach = {},
                        .serve = [this](const FdServerOptions& options) -> Result<std::unique_ptr<FdServer>> {
                            wanted_.push_back(options);
                            if (failure_ != 0) return Error::refused(failure_, "cannot serve", "so", "go");
                            return std::make_unique<Serving>(alive_);
                        }}};
};

TEST_F(FdServerTest, opens_the_iommufd_that_it_hands_out_and_is_one_of_its_users) {
    ASSERT_TRUE(create("iommufd,id=i"));
    ASSERT_TRUE(create("fd-server,id=f,path=/run/f,iommufd=i,uid=1000"));
    const Backend& backend = **registry_.get<Backend>("i");
    ASSERT_EQ(wanted_.size(), 1U);
    EXPECT_EQ(wanted_[0].path, "/run/f");
    EXPECT_EQ(wanted_[0].user, 1000U);
    EXPECT_EQ(wanted_[0].iommufd, backend.context()->fd());
    EXPECT_THAT(backend.users(), ::testing::ElementsAre("fd-server f"));
    EXPECT_EQ(registry_.property("f", "clients").value(), "3");
    EXPECT_EQ(registry_.remove("i").error().code(), EBUSY);
    ASSERT_TRUE(registry_.remove("f"));
    EXPECT_EQ(alive_, 0U);
    EXPECT_FALSE(backend.is_open());
}

TEST_F(FdServerTest, one_that_cannot_serve_leaves_the_iommufd_closed) {
    ASSERT_TRUE(create("iommufd,id=i"));
    failure_ = EADDRINUSE;
    EXPECT_EQ(create("fd-server,id=f,path=/run/f,iommufd=i,config=/etc/f").error().code(), EADDRINUSE);
    EXPECT_EQ(wanted_.at(0).config, "/etc/f");
    EXPECT_FALSE((*registry_.get<Backend>("i"))->is_open());
}

TEST_F(FdServerTest, who_its_clients_are_is_said_once) {
    ASSERT_TRUE(create("iommufd,id=i"));
    EXPECT_THAT(create("fd-server,id=f,path=/run/f,iommufd=i").error().line(),
                HasSubstr("it doesn't say who its clients are"));
    EXPECT_THAT(create("fd-server,id=f,path=/run/f,iommufd=i,uid=1,config=/etc/f").error().line(),
                HasSubstr("it has config= and uid="));
    EXPECT_TRUE(wanted_.empty());
}

TEST_F(FdServerTest, a_program_that_serves_nobody_says_so) {
    Registry registry({.report = {}, .kernel = &machine_.kernel(), .before_attach = {}, .serve = {}});
    ASSERT_TRUE(registry.create(parse(Option::object, "iommufd,id=i").value()));
    const auto refused =
        registry.create(parse(Option::object, "fd-server,id=f,path=/run/f,iommufd=i,uid=1").value());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), EOPNOTSUPP);
    EXPECT_THAT(refused.error().line(), HasSubstr("use `iommufd run`"));
}

}  // namespace
}  // namespace iommufd::inline v0_1::object
