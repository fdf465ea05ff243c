// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/object/registry.hpp"

#include <algorithm>
#include <cerrno>
#include <ranges>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/object/explain.hpp"
#include "object/notation.hpp"
#include "object/plan.hpp"
#include "object/words.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::object {

struct Registry::Entry {
    Definition definition;
    std::vector<std::string> uses;
    std::unique_ptr<Object> object;

    // As it is now: what the object says, or was given, or the standard.
    std::optional<std::string> value(const PropertyInfo& property) const {
        if (auto current = object->value(property.key)) return current;
        std::string values;
        for (const Property& given : definition.properties)
            if (given.key == property.key)
                values += compose(values.empty() ? "" : ",", canonical(property, given.value));
        if (!values.empty()) return values;
        if (property.standard.empty()) return std::nullopt;
        return canonical(property, property.standard);
    }
};

// Takes down what a create() has created so far, the last one first, unless it is kept.
class Registry::Undo {
public:
    explicit Undo(Registry& registry) noexcept : registry_(registry), before_(registry.entries_.size()) {}
    ~Undo() {
        if (kept_) return;
        auto& entries = registry_.entries_;
        // What can't be given back at first may be later, when what stands below has gone.
        for (std::size_t i = entries.size(); i > before_; --i)
            if (auto destroyed = entries[i - 1]->object->destroy(); !destroyed && registry_.options_.report)
                registry_.options_.report({.severity = Severity::error, .error = destroyed.error()});
        while (entries.size() > before_) entries.pop_back();
    }
    Undo(const Undo&) = delete;
    Undo& operator=(const Undo&) = delete;

    void keep() noexcept { kept_ = true; }

private:
    Registry& registry_;
    const std::size_t before_;
    bool kept_ = false;
};

Registry::Registry() noexcept : Registry(Options{}) {}
Registry::Registry(Options options) noexcept : options_(std::move(options)) {}

Registry::~Registry() {
    for (const Error& error : clear())
        if (options_.report) options_.report({.severity = Severity::error, .error = error});
}

sys::Kernel& Registry::kernel() const noexcept {
    return options_.kernel ? *options_.kernel : sys::host_kernel();
}

Result<void> Registry::create(std::span<const Definition> definitions, const std::function<void()>& begins) {
    return guarded(Operation::none, [&]() -> Result<void> {
        for (const Definition& definition : definitions)
            if (auto good = check(definition); !good) return good;
        std::vector<Known> known;
        for (const auto& entry : entries_)
            known.push_back({.definition = &entry->definition, .descriptor = entry->object->descriptor()});
        auto steps = plan(definitions, known);
        if (!steps) return steps.error();
        if (auto good = check_descriptors(kernel(), definitions, known); !good) return good;

        entries_.reserve(entries_.size() + steps->size());
        Descriptors descriptors = Descriptors::take(kernel(), definitions);
        if (begins) begins();
        Undo undo(*this);
        for (Step& step : *steps) {
            auto entry = std::make_unique<Entry>(*step.definition, std::move(step.uses), nullptr);
            const Site site{.registry = *this, .options = options_, .descriptors = descriptors};
            auto made = kind_of(*find_type(entry->definition.type)).create(Values(entry->definition), site);
            if (!made)
                // Before anything is undone.
                return with_evidence(made.error(), entry->definition)
                    .within(compose("cannot create ", call(entry->definition)));
            entry->object = *std::move(made);
            entries_.push_back(std::move(entry));
        }
        undo.keep();
        return {};
    });
}

// The error of a mapping that found no memory, with what can be measured now as its cause.
Error Registry::with_evidence(Error error, const Definition& definition) const {
    if (error.code() != ENOMEM) return error;
    const std::string* const space = definition.find("space");
    const Entry* const through = space ? entry(*space) : nullptr;
    const std::string* const id = (through ? through->definition : definition).find("iommufd");
    std::optional<Accounting> accounting;
    if (id)
        if (const auto backend = get<Backend>(*id))
            if (const auto found = (*backend)->accounting()) accounting = *found;
    const auto process = host::process(kernel());
    if (!process) return error;
    std::string evidence;
    for (const std::string& line : explain(error, *process, accounting))
        evidence += compose(evidence.empty() ? "" : "; ", line);
    if (evidence.empty()) return error;
    return error.because(std::move(evidence), std::string(error.next_step()));
}

Result<void> Registry::remove(std::string_view id) {
    return guarded(Operation::none, [&]() -> Result<void> {
        const auto found = std::ranges::find(
            entries_, id, [](const auto& entry) -> std::string_view { return entry->definition.id; });
        if (found == entries_.end()) return no_such_object(id);
        std::vector<std::string> users;
        for (const auto& other : entries_)
            if (std::ranges::find(other->uses, id) != other->uses.end())
                users.push_back(call(other->definition));
        if (!users.empty())
            return Error::refused(EBUSY, compose("cannot delete '", id, "'"),
                                  compose("it is used by ", list_text(users, "and")), "delete those first");
        Object& object = *(*found)->object;
        auto destroyed = object.destroy();
        if (object.is_gone()) entries_.erase(found);
        return destroyed;
    });
}

std::vector<Error> Registry::clear() noexcept {
    std::vector<Error> failures;
    for (const auto& entry : entries_ | std::views::reverse)
        if (auto destroyed = entry->object->destroy(); !destroyed) {
            // Without memory for the list, the failure goes where those of destructors go.
            auto listed = guarded(Operation::none, [&]() -> Result<void> {
                failures.push_back(destroyed.error());
                return {};
            });
            if (!listed && options_.report)
                options_.report({.severity = Severity::error, .error = destroyed.error()});
        }
    // What couldn't be given back is tried once more here, now that what stands below has gone.
    while (!entries_.empty()) entries_.pop_back();
    return failures;
}

const Registry::Entry* Registry::entry(std::string_view id) const noexcept {
    for (const auto& entry : entries_)
        if (entry->definition.id == id) return entry.get();
    return nullptr;
}

Error Registry::no_such_object(std::string_view id) const {
    std::vector<std::string_view> ids;
    for (const auto& entry : entries_) ids.push_back(entry->definition.id);
    return Error::refused(ENOENT, compose("there is no object ", quote(id)), "no object has that id",
                          ids.empty() ? "create it first" : suggestion(id, ids, "there are "));
}

Error Registry::of_another_kind(std::string_view id) const {
    return guarded(Operation::none,
                   [&]() -> Result<void> {
                       return Error::refused(EINVAL, compose("cannot use ", call(entry(id)->definition)),
                                             "it is not of the kind that is asked for",
                                             "give the id of another object");
                   })
        .error();
}

Result<Handle> Registry::find(std::string_view id) const {
    return guarded(Operation::none, [&]() -> Result<Handle> {
        if (const Entry* const found = entry(id)) return found->object->handle();
        return no_such_object(id);
    });
}

const viommu::PageRequests* Registry::page_requests(std::string_view space) const noexcept {
    const Entry* const found = entry(space);
    return found ? std::as_const(*found->object).page_requests() : nullptr;
}

Object& Site::object(std::string_view id) const noexcept { return *registry.entry(id)->object; }

std::vector<ObjectInfo> Registry::list() const {
    std::vector<ObjectInfo> list;
    for (const auto& entry : entries_)
        list.push_back({.definition = entry->definition,
                        .uses = entry->uses,
                        .used_by = referrers(entry->definition.id)});
    return list;
}

std::vector<std::string> Registry::referrers(std::string_view id) const {
    std::vector<std::string> ids;
    for (const auto& entry : entries_)
        if (std::ranges::find(entry->uses, id) != entry->uses.end()) ids.push_back(entry->definition.id);
    return ids;
}

Result<std::vector<Property>> Registry::properties(std::string_view id) const {
    return guarded(Operation::none, [&]() -> Result<std::vector<Property>> {
        const Entry* const found = entry(id);
        if (!found) return no_such_object(id);
        std::vector<Property> properties;
        for (const PropertyInfo& property : find_type(found->definition.type)->properties)
            if (auto value = found->value(property))
                properties.push_back({.key = std::string(property.key), .value = *std::move(value)});
        return properties;
    });
}

Result<std::string> Registry::property(std::string_view id, std::string_view key) const {
    return guarded(Operation::none, [&]() -> Result<std::string> {
        const Entry* const found = entry(id);
        if (!found) return no_such_object(id);
        const TypeInfo& type = *find_type(found->definition.type);
        const PropertyInfo* const property = type.find(key);
        if (property)
            if (auto value = found->value(*property)) return *std::move(value);
        std::vector<std::string_view> keys;
        for (const PropertyInfo& known : type.properties) keys.push_back(known.key);
        return Error::refused(
            ENOENT, compose("cannot read ", quote(key), " of ", call(found->definition)),
            property ? "it has no value now" : "there is no such property",
            property ? std::string(property->doc) : suggestion(key, keys, "its properties are "));
    });
}

}  // namespace iommufd::inline v0_1::object
