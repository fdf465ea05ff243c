// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "core/node.hpp"

#include <cerrno>

#include "core/queue_node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::core {
ContextNode::~ContextNode() {
    // Closing destroys what is left in the context, so what was kept is settled by it; unlinked one by one,
    // since a long chain of unique_ptr would recurse.
    while (kept_) kept_ = std::move(kept_->next_);
}

int ContextNode::allocate(unsigned long request, void* argument, const std::uint32_t& out_id) {
    {
        const sys::Lock lock(mutex_);
        while (retrying_) changed_.wait(mutex_);
        ++allocating_;
    }
    const int result = ioctl(request, argument);
    const sys::Lock lock(mutex_);
    --allocating_;
    if (result >= 0) {
        for (auto* link = &kept_; *link;) {
            if ((*link)->disproved_by(out_id))
                *link = std::move((*link)->next_);
            else
                link = &(*link)->next_;
        }
    }
    return result;
}

void ContextNode::keep(std::unique_ptr<Obligation> obligation) noexcept {
    auto* link = &kept_;
    while (*link) link = &(*link)->next_;
    *link = std::move(obligation);
}

Result<void> ContextNode::release(std::unique_ptr<Obligation> obligation) noexcept {
    const int result = obligation->fulfil();
    if (result >= 0) return {};
    const Error error = failed(obligation->operation(), -result,
                               [&] { return compose("cannot release ", obligation->describe()); });
    obligation->code_ = -result;
    {
        const sys::Lock lock(mutex_);
        keep(std::move(obligation));
    }
    notice(Severity::error, error);
    return error;
}

void ContextNode::notice(Severity severity, Error error) noexcept {
    ++notices_;
    if (report_) report_({.severity = severity, .error = std::move(error)});
}

std::vector<NotReleased> ContextNode::not_released() const {
    std::vector<NotReleased> list;
    const sys::Lock lock(mutex_);
    for (const auto* entry = kept_.get(); entry; entry = entry->next_.get())
        list.push_back({.object = entry->describe(), .operation = entry->operation_, .code = entry->code_});
    return list;
}

bool ContextNode::begin_retry() noexcept {
    const sys::Lock lock(mutex_);
    if (!kept_ || retrying_ || allocating_ > 0) return false;
    retrying_ = true;
    return true;
}

std::size_t ContextNode::retry_releases() noexcept {
    std::unique_ptr<Obligation> list;
    if (begin_retry()) {
        {
            const sys::Lock lock(mutex_);
            list = std::move(kept_);
        }
        std::unique_ptr<Obligation> still;
        for (auto* tail = &still; list;) {
            auto entry = std::move(list);
            list = std::move(entry->next_);
            const int result = entry->fulfil();
            if (result >= 0 || result == -ENOENT) continue;
            entry->code_ = -result;
            *tail = std::move(entry);
            tail = &(*tail)->next_;
        }
        const sys::Lock lock(mutex_);
        while (still) {
            auto entry = std::move(still);
            still = std::move(entry->next_);
            keep(std::move(entry));
        }
        retrying_ = false;
        changed_.notify_all();
    }
    const sys::Lock lock(mutex_);
    std::size_t count = 0;
    for (const auto* entry = kept_.get(); entry; entry = entry->next_.get()) ++count;
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
}

void ObjectNode::may_be_gone() noexcept { destroy_->may_be_gone = true; }

Result<void> ObjectNode::destroy() noexcept {
    if (id_ == 0 || !destroy_) return {};
    return context_->release(std::move(destroy_));
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
