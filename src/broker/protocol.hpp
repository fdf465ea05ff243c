// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a client and the broker say to each other over a Unix stream socket.
//
//     Header | body          in both directions; the body is one JSON object
//
//     client  {"get": {"iommufd": true, "devices": ["0000:02:00.0"], "vdpa": ["/dev/vhost-vdpa-0"], "memlock": 4294967296}}
//     broker  {"given": [{"kind": "iommufd", "name": "iommufd"}, {"kind": "vfio", "name": "0000:02:00.0"}], "notes": []}
//             with one descriptor (SCM_RIGHTS) for each that is given, in that order, at the first byte of the header
//     client  {"get": {"devices": ["0000:02:00.0"], "mediated": true}}
//     broker  {"given": [], "attached": ["0000:02:00.0"], "notes": []}
//     client  {"map": {"offset": 0, "length": 2097152, "write": true}}       with a memfd
//     broker  {"mapped": {"iova": 2097152, "length": 2097152}, "notes": []}
//     client  {"unmap": {"iova": 2097152}}
//     broker  {"unmapped": {"iova": 2097152, "length": 2097152}}
//
//     to each {"error": {"code": 13, "what": "...", "cause": "...", "next": "..."}}
//
// A request is answered before the next one is read. All of it is given, or nothing. What was given is given back by
// hanging up. A header of another version is answered with an error of this one, and hung up on.
//
// Threads: values and free functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "broker/sent_memory.hpp"
#include "iommufd/core/types.hpp"
#include "iommufd/error/result.hpp"
#include "sys/socket_message.hpp"

namespace iommufd::inline v0_1::broker {

inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::size_t kMostBytes = 64 * 1024;              // of a body
inline constexpr std::size_t kMostGiven = sys::kMostDescriptors;  // descriptors in an answer
inline constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

// Little-endian, as the machine is.
struct Header {
    std::uint32_t magic;
    std::uint16_t version;
    std::uint16_t reserved;  // 0
    std::uint32_t length;    // of the body, in bytes
};
static_assert(sizeof(Header) == 12);
inline constexpr std::uint32_t kMagic = 0x42464f49;  // "IOFB"

// To map what comes with it.
struct MapRequest {
    Part part = {};
    std::optional<std::uint64_t> iova = {};
};
struct UnmapRequest {
    std::uint64_t iova = 0;  // as it was answered: what was mapped at once is unmapped at once
};

struct Request {
    std::variant<std::monostate, MapRequest, UnmapRequest> mapping = {};  // or else, to get:
    bool iommufd = false;
    bool mediated = false;                      // devices of a space in which the broker maps
    std::vector<std::string> devices = {};      // PCI addresses, UUIDs of mdevs
    std::vector<std::string> vdpa = {};         // paths of nodes
    std::optional<std::uint64_t> memlock = {};  // bytes that RLIMIT_MEMLOCK shall allow at least; kUnlimited
};

enum class GivenKind : std::uint8_t { iommufd, vfio, vdpa };
std::string_view name(GivenKind kind) noexcept;

struct Given {
    GivenKind kind;
    std::string name;  // as the request had it, in full
    bool operator==(const Given&) const = default;
};

struct Answer {
    std::vector<Given> given = {};
    std::vector<std::string> attached = {};  // mediated devices
    std::optional<Range> mapped = {};
    std::optional<Range> unmapped = {};
    std::vector<std::string> notes = {};  // what the client should know
};

// Header and body.
std::string encode(const Request& request);
std::string encode(const Answer& answer);
std::string encode(const Error& error);

// The length of the body that follows. EPROTO: it is no header; EPROTONOSUPPORT: of another version; EMSGSIZE.
Result<std::uint32_t> read_header(std::span<const std::byte, sizeof(Header)> bytes);
// EPROTO: it is none, and says why.
Result<Request> read_request(std::string_view body);
// What the broker answered, or its error.
Result<Answer> read_answer(std::string_view body);

}  // namespace iommufd::inline v0_1::broker
