// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "core/node.hpp"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "core/delayed_reports.hpp"
#include "core/queue_node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::core {

ContextNode::~ContextNode() {
    // Unlinked one by one, since a long chain of unique_ptr would recurse.
    for (auto left = std::move(kept_); left; left = std::move(left->next_))
        if (left->outlives_the_file()) (void)left->fulfil();
}

int ContextNode::allocate(unsigned long request, void* argument, const std::uint32_t& out_id) {
    {
        const sys::Lock lock(mutex_);
        while (retrying_) changed_.wait(mutex_);
        ++allocating_;
    }
    const int result = ioctl(request, argument);
    const sys::Lock lock(mutex_);
    if (--allocating_ == 0) changed_.notify_all();
    if (result >= 0) {
        for (auto* link = &kept_; *link;) {
            Obligation& entry = **link;
            if (entry.disproved_by(out_id)) entry.disproved_ = true;
            if (entry.disproved_ && !entry.in_flight_)
                *link = std::move(entry.next_);
            else
                link = &entry.next_;
        }
    }
    return result;
}

void ContextNode::keep(std::unique_ptr<Obligation> obligation) noexcept {
    auto* link = &kept_;
    while (*link) link = &(*link)->next_;
    *link = std::move(obligation);
}

std::unique_ptr<Obligation> ContextNode::take(const Obligation& obligation) noexcept {
    auto* link = &kept_;
    while (link->get() != &obligation) link = &(*link)->next_;
    auto taken = std::move(*link);
    *link = std::move(taken->next_);
    return taken;
}

// All that nobody is about to give back, in its order.
std::unique_ptr<Obligation> ContextNode::take_all() noexcept {
    std::unique_ptr<Obligation> all;
    auto* tail = &all;
    for (auto* link = &kept_; *link;) {
        if ((*link)->in_flight_) {
            link = &(*link)->next_;
            continue;
        }
        *tail = std::move(*link);
        *link = std::move((*tail)->next_);
        tail = &(*tail)->next_;
    }
    return all;
}

Result<void> ContextNode::release(std::unique_ptr<Obligation> obligation) noexcept {
    if (is_given_up(*obligation)) return {};
    Obligation& owed = *obligation;
    owed.in_flight_ = true;
    {
        const sys::Lock lock(mutex_);
        keep(std::move(obligation));
    }
    const int result = owed.fulfil();
    std::optional<Error> error;
    if (result < 0)
        error =
            failed(owed.operation(), -result, [&] { return compose("cannot release ", owed.describe()); });
    {
        std::unique_ptr<Obligation> settled;
        const sys::Lock lock(mutex_);
        owed.in_flight_ = false;
        owed.code_ = -result;
        if (owed.disproved_) error.reset();
        if (!error) settled = take(owed);
    }
    if (!error) return {};
    notice(Severity::error, *error);
    return *error;
}

void ContextNode::notice(Severity severity, Error error) noexcept {
    ++notices_;
    deliver(report_, severity, std::move(error));
}

std::vector<NotReleased> ContextNode::not_released() const {
    std::vector<NotReleased> list;
    const sys::Lock lock(mutex_);
    for (const auto* entry = kept_.get(); entry; entry = entry->next_.get())
        if (!entry->in_flight_)
            list.push_back(
                {.object = entry->describe(), .operation = entry->operation_, .code = entry->code_});
    return list;
}

std::size_t ContextNode::retry_releases() noexcept {
    std::unique_ptr<Obligation> list;
    {
        const sys::Lock lock(mutex_);
        while (retrying_) changed_.wait(mutex_);
        list = take_all();
        if (!list) return 0;
        retrying_ = true;
        while (allocating_ > 0) changed_.wait(mutex_);
    }
    std::unique_ptr<Obligation> still;
    for (auto* tail = &still; list;) {
        auto entry = std::move(list);
        list = std::move(entry->next_);
        if (is_given_up(*entry)) continue;
        const int result = entry->fulfil();
        if (result >= 0 || result == -ENOENT) continue;
        entry->code_ = -result;
        *tail = std::move(entry);
        tail = &(*tail)->next_;
    }
    std::size_t count = 0;
    const sys::Lock lock(mutex_);
    while (still) {
        auto entry = std::move(still);
        still = std::move(entry->next_);
        keep(std::move(entry));
        ++count;
    }
    retrying_ = false;
    changed_.notify_all();
    return count;
}

class ObjectNode::Destroy final : public Obligation {
public:
    Destroy(const ContextNode& context, std::string_view kind, std::string_view label)
        : Obligation(Operation::destroy), context_(context), kind_(kind), label_(label) {}

    std::string describe() const override {
        std::string text = compose(kind_, " ", id);
        if (!label_.empty()) text += compose(" ('", label_, "')");
        return text + compose(" of '", context_.label(), "'");
    }

    int fulfil() noexcept override {
        uapi::Destroy command{.size = sizeof command, .id = id};
        const int result = context_.ioctl(uapi::kDestroy, &command);
        return result == -ENOENT && may_be_gone ? 0 : result;
    }

    bool disproved_by(std::uint32_t new_id) const noexcept override { return id == new_id; }

    std::uint32_t id = 0;
    bool may_be_gone = false;

private:
    const ContextNode& context_;  // outlives what it keeps
    const std::string_view kind_;
    const std::string label_;
};

ObjectNode::ObjectNode(std::shared_ptr<ContextNode> context, std::string_view kind, std::string_view label,
                       Parents parents)
    : context_(std::move(context)),
      parents_(std::move(parents)),
      destroy_(std::make_unique<Destroy>(*context_, kind, label)) {}

ObjectNode::~ObjectNode() { (void)destroy(); }

void ObjectNode::born(std::uint32_t id) noexcept {
    id_ = id;
    destroy_->id = id;
    ++context_->objects_;
}

void ObjectNode::may_be_gone() noexcept { destroy_->may_be_gone = true; }

Result<void> ObjectNode::destroy() noexcept {
    if (id_ == 0 || !destroy_) return {};
    --context_->objects_;
    return context_->release(std::move(destroy_));
}

bool ObjectNode::stands_on(const ObjectNode& parent) const noexcept {
    return std::ranges::find(parents_, &parent, &std::shared_ptr<const void>::get) != parents_.end();
}

std::string ObjectNode::describe() const {
    return destroy_ ? destroy_->describe() : compose("object ", id_, " of '", context_->label(), "'");
}

Result<void> check_unused(const std::shared_ptr<ObjectNode>& node) noexcept {
    const long others = node.use_count() - 1;
    if (others == 0) return {};
    return guarded(Operation::destroy, [&]() -> Result<void> {
        return Error::refused(EBUSY, compose("cannot destroy ", node->describe()),
                              compose(others, others == 1 ? " object stands on it" : " objects stand on it"),
                              "destroy those first, or let the handle go: the object follows them");
    });
}

Result<void> destroy(std::shared_ptr<ObjectNode>& node) noexcept {
    if (!node) return {};
    if (auto unused = check_unused(node); !unused) return unused;
    auto result = node->destroy();
    node.reset();
    return result;
}

Result<void> destroy(std::shared_ptr<QueueNode>& node) noexcept {
    if (!node) return {};
    if (node.use_count() == 1) node->close();
    std::shared_ptr<ObjectNode> object = std::move(node);
    auto result = destroy(object);
    if (object) node = std::static_pointer_cast<QueueNode>(std::move(object));
    return result;
}

}  // namespace iommufd::inline v0_1::core
