// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "object/plan.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "error/compose.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::object {
namespace {

// "an iommufd"; "a memory-backend-memfd, memory-backend-file or memory-backend-ram".
std::string one_of_types(std::span<const std::string_view> types) {
    const std::string list = list_text({types.begin(), types.end()}, "or");
    return compose(std::string_view("aeiou").contains(list.front()) ? "an " : "a ", list);
}

class Planner {
public:
    Planner(std::span<const Definition> definitions, std::span<const Known> known)
        : definitions_(definitions), known_(known), planned_(definitions.size()) {}

    Result<std::vector<Step>> run() {
        for (std::size_t i = 0; i < definitions_.size(); ++i)
            if (auto good = check_id_is_free(i); !good) return good.error();
        for (std::size_t i = 0; i < definitions_.size(); ++i)
            if (auto good = add(i); !good) return good.error();
        return std::move(steps_);
    }

private:
    // The place of the first definition with the id; their number: there is none.
    std::size_t index_of(std::string_view id) const {
        return static_cast<std::size_t>(std::ranges::find(definitions_, id, &Definition::id) -
                                        definitions_.begin());
    }
    const Definition* find_known(std::string_view id) const {
        const auto found =
            std::ranges::find_if(known_, [&](const Known& object) { return object.definition->id == id; });
        return found == known_.end() ? nullptr : found->definition;
    }
    const Definition* find(std::string_view id) const {
        const std::size_t index = index_of(id);
        return index < definitions_.size() ? &definitions_[index] : find_known(id);
    }

    Result<void> check_id_is_free(std::size_t index) const {
        const Definition& definition = definitions_[index];
        const std::size_t first = index_of(definition.id);
        const Definition* const other = first < index ? &definitions_[first] : find_known(definition.id);
        if (!other) return {};
        return cannot_create(
            definition,
            compose("id=", definition.id, " is the id of ",
                    other->type == definition.type ? compose("another ", other->type)
                                                   : one_of_types(std::array{std::string_view(other->type)}),
                    " already"),
            "give every object and device an id of its own", EEXIST);
    }

    // Those that it refers to, then itself. The depth is that of the types: no type refers, over however many
    // others, to itself.
    Result<void> add(std::size_t index) {
        if (planned_[index]) return {};
        planned_[index] = true;
        const Definition& definition = definitions_[index];
        Step step{.definition = &definition, .uses = {}};
        const TypeInfo& type = *find_type(definition.type);
        for (const PropertyInfo& property : type.properties) {
            const std::string* const id =
                property.kind == ValueKind::reference ? definition.find(property.key) : nullptr;
            if (!id) continue;
            if (auto good = check_target(definition, property, *id); !good) return good;
            if (const std::size_t first = index_of(*id); first < definitions_.size())
                if (auto added = add(first); !added) return added;
            step.uses.push_back(*id);
        }
        const Kind& kind = kind_of(type);
        if (kind.check_references)
            if (auto good = kind.check_references(Values(definition),
                                                  [this](std::string_view id) { return find(id); });
                !good)
                return good;
        steps_.push_back(std::move(step));
        return {};
    }

    Result<void> check_target(const Definition& definition, const PropertyInfo& property,
                              const std::string& id) const {
        const auto fits = [&](const Definition& candidate) {
            return std::ranges::find(property.words, candidate.type) != property.words.end();
        };
        const Definition* const target = find(id);
        if (target && fits(*target)) return {};
        if (target)
            return cannot_create(
                definition,
                compose("'", id, "' is ", one_of_types(std::array{std::string_view(target->type)}), "; ",
                        property.key, "= wants ", one_of_types(property.words)),
                compose("give ", property.key, "= the id of such an object"));
        std::vector<std::string_view> ids;
        for (const Definition& candidate : definitions_)
            if (fits(candidate)) ids.push_back(candidate.id);
        for (const Known& object : known_)
            if (fits(*object.definition)) ids.push_back(object.definition->id);
        return cannot_create(definition, compose(property.key, "=", id, ": no object has that id"),
                             ids.empty()
                                 ? compose("define it: -object ", property.words.front(), ",id=", id, ",...")
                                 : suggestion(id, ids, "there are "),
                             ENOENT);
    }

    const std::span<const Definition> definitions_;
    const std::span<const Known> known_;
    std::vector<bool> planned_;
    std::vector<Step> steps_;
};

}  // namespace

Result<std::vector<Step>> plan(std::span<const Definition> definitions, std::span<const Known> known) {
    return Planner(definitions, known).run();
}

}  // namespace iommufd::inline v0_1::object
