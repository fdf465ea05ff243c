// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The one file that knows spdlog.
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "cli/journal.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

// systemd says which stream its journal reads, since the variable is inherited farther than the stream is.
bool is_journal(int fd) {
    const char* const stream = std::getenv("JOURNAL_STREAM");
    struct stat status{};
    return stream && ::fstat(fd, &status) == 0 && compose(status.st_dev, ":", status.st_ino) == stream;
}

// "<4>", as syslog(3) numbers levels.
class Priority final : public spdlog::custom_flag_formatter {
public:
    void format(const spdlog::details::log_msg& message, const std::tm&,
                spdlog::memory_buf_t& line) override {
        const std::string_view text = text_of(message.level);
        line.append(text.data(), text.data() + text.size());
    }
    std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<Priority>(); }

private:
    static std::string_view text_of(spdlog::level::level_enum level) {
        switch (level) {
            case spdlog::level::err:
                return "<3>";
            case spdlog::level::warn:
                return "<4>";
            default:
                return "<6>";
        }
    }
};

spdlog::level::level_enum level_of(Journal::Level level) {
    switch (level) {
        case Journal::Level::error:
            return spdlog::level::err;
        case Journal::Level::warning:
            return spdlog::level::warn;
        case Journal::Level::info:
            break;
    }
    return spdlog::level::info;
}

}  // namespace

Journal::Write to_stderr() {
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    formatter->add_flag<Priority>('P').set_pattern(is_journal(STDERR_FILENO) ? "%Piommufd: %v"
                                                                             : "iommufd: %v");
    const auto sink = std::make_shared<spdlog::sinks::stderr_sink_st>();
    sink->set_formatter(std::move(formatter));
    auto logger = std::make_shared<spdlog::logger>("iommufd", sink);
    return [logger = std::move(logger)](Journal::Level level, std::string_view line) {
        logger->log(level_of(level), line);
    };
}

}  // namespace iommufd::inline v0_1::cli
