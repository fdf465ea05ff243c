// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "object/grammar.hpp"

#include <algorithm>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "object/check.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::object {
namespace {

std::string_view type_key(Option option) { return option == Option::object ? "qom-type" : "driver"; }

std::string doubled_commas(std::string_view text) {
    std::string doubled;
    for (const char c : text) doubled.append(c == ',' ? 2 : 1, c);
    return doubled;
}

// "share": which value would be right depends on the property, if there is one of that name.
Error without_value(const Definition& definition, const std::string& key) {
    if (key.empty())
        return cannot_create(definition, "there is nothing between two of its commas, or after the last",
                             "write KEY=VALUE there, or ',,' for a comma within a value");
    const TypeInfo* const type = find_type(definition.type);
    const PropertyInfo* const property = type ? type->find(key) : nullptr;
    return cannot_create(definition, compose(quote(key), " has no value"),
                         compose("write ", property ? compose(key, "=", value_form(*property)) : "KEY=VALUE",
                                 ", or ',,' for a comma within a value"));
}

// The one value of a key that every definition has.
Result<std::string> take_word(const Definition& so_far, std::vector<Pair>& pairs, std::string_view key) {
    std::optional<std::string> word;
    for (const Pair& pair : pairs) {
        if (pair.key != key) continue;
        if (word) return cannot_create(so_far, compose(key, "= is given twice"), "give it once");
        if (!pair.value) return without_value(so_far, pair.key);
        if (!pair.is_text)
            return cannot_create(so_far, compose("its ", key, " is no string"),
                                 compose("write \"", key, "\": \"...\""));
        word = pair.value;
    }
    std::erase_if(pairs, [&](const Pair& pair) { return pair.key == key; });
    return word.value_or("");
}

Result<Definition> assemble(Option option, std::string_view text, std::vector<Pair> pairs) {
    Definition definition{.type = {}, .id = {}, .properties = {}, .origin = compose(name(option), " ", text)};
    // Type and id first, so that every error can name the object.
    auto type = take_word(definition, pairs, type_key(option));
    if (!type) return type.error();
    definition.type = *std::move(type);
    auto id = take_word(definition, pairs, "id");
    if (!id) return id.error();
    definition.id = *std::move(id);
    for (Pair& pair : pairs) {
        if (!pair.value) return without_value(definition, pair.key);
        definition.properties.push_back({.key = std::move(pair.key), .value = *std::move(pair.value)});
    }
    return definition;
}

}  // namespace

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> words(1);
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != ',') {
            words.back() += text[i];
        } else if (i + 1 < text.size() && text[i + 1] == ',') {
            words.back() += ',';
            ++i;
        } else {
            words.emplace_back();
        }
    }
    return words;
}

std::vector<Pair> read_words(std::string_view text, std::string_view first_key) {
    std::vector<Pair> pairs;
    for (std::string& word : split(text)) {
        const std::size_t equals = word.find('=');
        if (equals != std::string::npos)
            pairs.push_back({.key = word.substr(0, equals), .value = word.substr(equals + 1)});
        else if (pairs.empty())
            pairs.push_back({.key = std::string(first_key), .value = std::move(word)});
        else
            pairs.push_back({.key = std::move(word), .value = std::nullopt});
    }
    return pairs;
}

Result<Definition> parse(Option option, std::string_view text) {
    return guarded(Operation::none, [&]() -> Result<Definition> {
        std::vector<Pair> pairs;
        if (text.starts_with('{')) {
            auto read = read_json(text, compose("cannot read ", quote(compose(name(option), " ", text))));
            if (!read) return read.error();
            pairs = *std::move(read);
        } else {
            pairs = read_words(text, type_key(option));
        }
        auto definition = assemble(option, text, std::move(pairs));
        if (!definition) return definition;
        if (auto checked = check_as(option, *definition); !checked) return checked.error();
        return definition;
    });
}

std::string print(const Definition& definition) {
    std::string text = compose(doubled_commas(definition.type), ",id=", doubled_commas(definition.id));
    for (const Property& property : definition.properties)
        text += compose(",", doubled_commas(property.key), "=", doubled_commas(property.value));
    return text;
}

const std::string* Definition::find(std::string_view key) const noexcept {
    const auto found = std::ranges::find(properties, key, &Property::key);
    return found == properties.end() ? nullptr : &found->value;
}

}  // namespace iommufd::inline v0_1::object
