// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Messages that a client might send in its worst days: right ones, wrong ones, damaged ones. For tests.
#pragma once

#include <initializer_list>
#include <random>
#include <string>
#include <string_view>

#include "monitor/commands.hpp"

namespace iommufd::inline v0_1::monitor::testing {

class RandomMessages {
public:
    explicit RandomMessages(std::uint32_t seed) : random_(seed) {}

    std::string next() {
        std::string text = message();
        if (chance(5)) damage(text);
        if (chance(10)) text += next();
        return text;
    }
    bool chance(unsigned one_in) { return random_() % one_in == 0; }
    std::size_t below(std::size_t count) { return random_() % count; }

private:
    std::string_view one_of(std::initializer_list<std::string_view> words) {
        return words.begin()[below(words.size())];
    }

    std::string id() {
        return std::string(
            one_of({"iommufd0", "iommufd1", "ram", "ram1", "dma0", "dma1", "map0", "map1", "edu0", "blk0",
                    "x", "1", "", "/objects/ram", "/machine/peripheral/edu0"}));
    }

    std::string value(int depth = 0) {
        switch (below(depth > 3 ? 7 : 9)) {
            case 0:
                return std::string(
                    one_of({"0", "-1", "4096", "1048576", "67108864", "18446744073709551615", "1e9", "0.5"}));
            case 1:
                return std::string(one_of({"true", "false", "null"}));
            case 2:
                return std::string(one_of({R"("on")", R"("off")", R"("1M")", R"("0x4000000")", R"("")",
                                           R"("\u0000")", R"("oob")"}));
            case 3:
                return std::string(one_of({R"("/")", R"("/objects")", R"("/machine/peripheral")", R"("type")",
                                           R"("size")", R"("users")", R"("iommufd")", R"("vfio-pci")",
                                           R"("state")", R"("page-tables")", R"("everything")"}));
            case 4:
                return std::string(
                    one_of({R"("0000:00:10.0")", R"("/dev/vhost-vdpa-0")", R"("named")", R"("other")"}));
            case 5:
            case 6:
                return '"' + id() + '"';
            case 7:
                return '[' + value(depth + 1) + ',' + value(depth + 1) + ']';
            default:
                return "{\"id\":" + value(depth + 1) + '}';
        }
    }

    std::string object() {
        return std::string(
            one_of({R"({"qom-type":"iommufd","id":"iommufd0"})",
                    R"({"qom-type":"iommufd","id":"iommufd1","fd":"named"})",
                    R"({"qom-type":"memory-backend-memfd","id":"ram","size":1048576})",
                    R"({"qom-type":"memory-backend-ram","id":"ram1","size":65536})",
                    R"({"qom-type":"dma-space","id":"dma0","iommufd":"iommufd0"})",
                    R"({"qom-type":"dma-space","id":"dma1"})",
                    R"({"qom-type":"dma-mapping","id":"map0","space":"dma0","memdev":"ram","iova":67108864})",
                    R"({"qom-type":"dma-mapping","id":"map1","space":"dma0","memdev":"ram1"})"}));
    }

    std::string device() {
        return std::string(one_of(
            {R"({"driver":"vfio-pci","id":"edu0","host":"0000:00:10.0","iommufd":"iommufd0","space":"dma0"})",
             R"({"driver":"vfio-pci","id":"edu0","fd":"named","iommufd":"iommufd0"})",
             R"({"driver":"vhost-vdpa","id":"blk0","vhostdev":"/dev/vhost-vdpa-0","space":"dma0","iommufd":"iommufd0"})",
             R"({"driver":"vhost-vdpa","id":"blk0","vhostfd":"other"})"}));
    }

    std::string arguments(std::string_view command) {
        if (command == "object-add" && !chance(4)) return object();
        if (command == "device_add" && !chance(4)) return device();
        std::string text = "{";
        for (const std::string_view key :
             {"id", "path", "property", "typename", "fdname", "qom-type", "driver", "implements", "abstract",
              "iova", "size", "from", "enable"}) {
            const bool belongs = takes(command, key);
            if (!(belongs ? !chance(8) : chance(60))) continue;
            if (text.size() > 1) text += ',';
            text.append("\"").append(key).append("\":");
            text += belongs && chance(2)
                        ? (key == "fdname" ? std::string(one_of({"\"named\"", "\"other\"", "\"1\""}))
                                           : '"' + id() + '"')
                        : value();
        }
        return text + '}';
    }

    static bool takes(std::string_view command, std::string_view key) {
        const Command* const known = find_command(command);
        if (!known) return false;
        for (const Parameter& parameter : known->parameters)
            if (parameter.name == key) return true;
        return false;
    }

    std::string message() {
        if (chance(20)) return value();
        std::string name = chance(30) ? "nosuch" : std::string(commands()[below(commands().size())].name);
        std::string text = "{\"execute\":\"" + name + '"';
        if (!chance(4)) text += ",\"arguments\":" + arguments(name);
        if (chance(3)) text += ",\"id\":" + value();
        if (chance(50)) text += ",\"more\":" + value();
        return text + '}';
    }

    void damage(std::string& text) {
        for (std::size_t i = 0; i < 1 + below(4); ++i) {
            const std::size_t at = below(text.size() + 1);
            const char byte = chance(2) ? static_cast<char>(below(256)) : "{}[],:\"'\\ 0-.e\n"[below(15)];
            switch (below(3)) {
                case 0:
                    text.insert(at, 1, byte);
                    break;
                case 1:
                    if (at < text.size()) text[at] = byte;
                    break;
                default:
                    text.erase(at, 1 + below(3));
            }
        }
    }

    std::mt19937 random_;
};

}  // namespace iommufd::inline v0_1::monitor::testing
