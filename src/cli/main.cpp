// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The command `iommufd`.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <sstream>
#include <thread>

#include "cli/arguments.hpp"
#include "cli/bench.hpp"
#include "cli/bind.hpp"
#include "cli/devices.hpp"
#include "cli/dmatest.hpp"
#include "cli/doctor/doctor.hpp"
#include "cli/exec.hpp"
#include "cli/explain.hpp"
#include "cli/fail.hpp"
#include "cli/failing_allocations.hpp"
#include "cli/get.hpp"
#include "cli/metrics.hpp"
#include "cli/model.hpp"
#include "cli/plan.hpp"
#include "cli/run.hpp"
#include "cli/serve.hpp"
#include "cli/show.hpp"
#include "cli/top.hpp"
#include "iommufd/object/command_line.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

// -object and -device of a command, kept in the order in which they were given.
struct ObjectOptions {
    Arguments arguments;
    std::string help;   // that one of them asked for
    std::string error;  // the first that can't be read

    void add_to(CLI::App& command) {
        for (const auto option : {object::Option::object, object::Option::device}) {
            const std::string flag = option == object::Option::object ? "--object" : "--device";
            command
                .add_option_function<std::vector<std::string>>(
                    flag, [](const std::vector<std::string>&) {},
                    "TYPE,id=ID[,KEY=VALUE...], or JSON; TYPE,help explains one")
                ->trigger_on_parse()
                ->each([this, option](const std::string& text) { take(option, text); })
                ->expected(1)
                ->allow_extra_args(false)
                ->take_all();
        }
        command
            .add_option_function<std::string>(
                "--model", [this](const std::string& text) { arguments.model = text; },
                "work on the embedded model kernel, as a DESCRIPTION says: devices=edu,nvme:size=64M, "
                "or a file FILE.json")
            ->expected(0, 1)
            ->type_name("DESCRIPTION");
    }

    void add_control_sockets_to(CLI::App& command) {
        command
            .add_option_function<std::vector<std::string>>(
                "--qmp", [](const std::vector<std::string>&) {},
                "unix:PATH[,server=on,wait=off]: listen there for QMP, by which objects and devices come and "
                "go")
            ->trigger_on_parse()
            ->each([this](const std::string& text) {
                auto address = monitor::parse_address(text);
                if (address)
                    arguments.control_sockets.push_back(*std::move(address));
                else if (error.empty())
                    error = address.error().line();
            })
            ->expected(1)
            ->allow_extra_args(false)
            ->take_all();
    }

    void take(object::Option option, const std::string& text) {
        if (auto asked = object::help_for(option, text)) {
            help += *asked;
            return;
        }
        auto definition = object::parse(option, text);
        if (definition)
            arguments.definitions.push_back(std::move(*definition));
        else if (error.empty())
            error = definition.error().line();
    }
};

// CLI11's own words as the cause, in one line.
Error usage_error(const CLI::App& app, const CLI::ParseError& error) {
    std::string cause = error.what();
    // Without a command CLI11 asks for one, whatever else there was.
    if (const auto unknown = app.remaining(); app.get_subcommands().empty() && !unknown.empty())
        cause = "there is no command '" + unknown.front() + "'";
    std::string help = "iommufd ";
    for (const CLI::App* const command : app.get_subcommands()) help += command->get_name() + " ";
    return Error::refused(EINVAL, "cannot read the command line", std::move(cause),
                          "see `" + help + "--help`");
}

void add_to(CLI::App& command, BenchArguments& arguments) {
    arguments.size = std::uint64_t{1} << 30;
    arguments.runs = 7;
    arguments.threads = std::max(std::thread::hardware_concurrency(), 1U);
    command.add_option("tests", arguments.tests, "which; none: all")->check(CLI::IsMember(bench_tests()));
    command.add_option("--size", arguments.size, "of the memory that is brought up: 1G, 64M")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(std::uint64_t{4096}, std::uint64_t{1} << 46));
    command.add_option("--threads", arguments.threads, "at most so many")->check(CLI::Range(1, 1024));
    command.add_option("--runs", arguments.runs, "of each measurement, of which the median is told")
        ->check(CLI::Range(1, 1000));
}

// An option that is given once for each of its values, each of `form`.
void once_for_each(CLI::Option* option, const char* form) {
    option->type_name(form)->expected(1)->allow_extra_args(false)->take_all();
}

// Of --memlock: bytes; nothing: `word`.
std::optional<std::uint64_t> size_or(const std::string& text, const std::string& word) {
    if (text == word) return std::nullopt;
    std::string bytes = text;
    if (text.starts_with('-') || !CLI::AsSizeValue(false)(bytes).empty())
        throw CLI::ValidationError("--memlock", "it is neither " + word + " nor a size like 4G: " + text);
    return std::stoull(bytes);
}

void add_to(CLI::App& command, ExecArguments& arguments) {
    command.footer(
        "The command and its arguments follow after --: iommufd exec [OPTIONS] -- COMMAND [ARGUMENT...]\n\n"
        "In COMMAND and its arguments {iommufd} and {vfio:BDF} stand for the numbers of the descriptors, "
        "which are also in\n"
        "its environment: IOMMUFD_FD, IOMMUFD_VFIO_FDS (BDF=FD,...) and IOMMUFD_VFIO_FD_0000_02_00_0.\n"
        "Exit status: the command's own; 125 if it can't be prepared, 126 if it can't be started, 127 if it "
        "isn't found.");
    command
        .add_option("--user", arguments.user,
                    "as whom: USER[:GROUP], names or numbers; without it the user stays")
        ->type_name("USER");
    once_for_each(command.add_option("--device", arguments.devices,
                                     "that the command gets: its PCI address; once for each"),
                  "BDF");
    command
        .add_option_function<std::string>(
            "--memlock", [&arguments](const std::string& text) { arguments.memlock = size_or(text, "auto"); },
            "how much the command may lock: a size, or auto, which is no limit where that is its own (auto)")
        ->type_name("auto|SIZE");
}

void add_to(CLI::App& command, GetArguments& arguments) {
    command.footer(
        "The command and its arguments follow after --: iommufd get [OPTIONS] -- COMMAND [ARGUMENT...]\n\n"
        "In COMMAND and its arguments {iommufd}, {vfio:BDF}, {vdpa:PATH} and {memory} stand for the numbers "
        "of "
        "the descriptors, which are also in\n"
        "its environment, as with `iommufd exec`. The connection, whose number is in IOMMUFD_BROKER_FD, is "
        "the "
        "command's as well: when it\n"
        "ends, what was given is taken back.\n"
        "Exit status: the command's own; 125 if the broker refuses, 126 if it can't be started, 127 if it "
        "isn't "
        "found.");
    command.add_option("--socket", arguments.socket, "of the broker (/run/iommufd/broker.sock)")
        ->type_name("PATH");
    command.add_flag("--iommufd", arguments.wanted.iommufd, "an iommufd");
    once_for_each(command.add_option("--device", arguments.wanted.devices, "a VFIO device; once for each"),
                  "BDF");
    once_for_each(command.add_option("--vdpa", arguments.wanted.vdpa, "a node of vhost-vdpa; once for each"),
                  "PATH");
    command.add_flag("--mediated", arguments.wanted.mediated,
                     "the broker keeps the devices and maps for them, instead of giving an iommufd");
    command
        .add_option("--map", arguments.map,
                    "so much memory for the mediated devices; where they see it is in IOMMUFD_MEMORY_IOVA")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(std::uint64_t{4096}, std::uint64_t{1} << 46));
    command
        .add_option_function<std::string>(
            "--memlock",
            [&arguments](const std::string& text) {
                arguments.wanted.memlock = size_or(text, "unlimited").value_or(~std::uint64_t{0});
            },
            "how much the command must be allowed to lock")
        ->type_name("SIZE|unlimited");
}

void add_to(CLI::App& command, BindArguments& arguments, const char* force) {
    command.add_option("devices", arguments.devices, "their PCI addresses")->type_name("BDF")->required();
    command.add_flag("--group", arguments.group, "and all other devices of their IOMMU groups, but bridges");
    command.add_flag("--force", arguments.force, force);
    command.add_flag("--dry-run", arguments.dry_run,
                     "only show what would be done, and what stands in the way");
    command
        .add_option_function<unsigned>(
            "--timeout", [&arguments](unsigned seconds) { arguments.limit = std::chrono::seconds(seconds); },
            "of each step, in seconds (10)")
        ->check(CLI::Range(1, 3600))
        ->type_name("SECONDS");
}

void add_to(CLI::App& command, doctor::Arguments& arguments) {
    command.footer(
        "Nothing is changed. A device that VFIO has and nobody uses is opened for a moment, to ask what it "
        "can.\n"
        "PASS, WARN and FAIL; ---- is what could not be seen. Exit status: 0 nothing has failed; 1 something "
        "has.");
    command.add_option("device", arguments.device, "its PCI address; none: the machine alone")
        ->type_name("BDF");
    command.add_option("--memory", arguments.memory, "of the guest that it is for: 64G (1G)")
        ->transform(CLI::AsSizeValue(false))
        ->type_name("SIZE");
    command.add_flag("--json", arguments.json, "as JSON");
}

void add_to(CLI::App& command, PlanArguments& arguments) {
    command.footer(
        "The figure is exact for a process that has nothing locked yet, and per user for a user who has "
        "nothing locked.\n"
        "Exit status: 0 the limit in force is enough; 1 it isn't.");
    command.add_option("--memory", arguments.memory, "of the guest: 64G, 512M")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(std::uint64_t{4096}, std::uint64_t{1} << 46))
        ->type_name("SIZE")
        ->required();
    command.add_option("--devices", arguments.devices, "of VFIO (1)")->check(CLI::Range(0, 1024));
    command.add_option("--pinning-vdpa", arguments.pinning_vdpa, "vhost-vdpa devices that pin (0)")
        ->check(CLI::Range(0, 1024));
    command.add_flag("--viommu", arguments.viommu,
                     "the guest has an IOMMU that isn't nested: each device has an address space of its own");
    command.add_flag("--json", arguments.json, "as JSON");
}

void add_to(CLI::App& command, ModelArguments& arguments) {
    command.footer(
        "The command and its arguments follow after --: iommufd model [OPTIONS] -- COMMAND [ARGUMENT...]\n\n"
        "The command and its children need no privilege and no change: /dev/iommu, /dev/vfio/devices/*, "
        "/dev/vhost-vdpa-* "
        "and what /sys says of\n"
        "devices and their IOMMU are the model's, whatever this machine has. What can't be served stands in "
        "docs/model.md.\n"
        "Exit status: the command's own; 125 if it can't be prepared, 126 if it can't be started, 127 if it "
        "isn't found.");
    command
        .add_option(
            "--machine,--model", arguments.machine,
            "the machine: devices=edu,nvme:size=64M, or a file FILE.json; without it one device of each kind")
        ->type_name("DESCRIPTION");
    command
        .add_option_function<std::string>(
            "--trace",
            [&arguments](const std::string& file) {
                arguments.traced = true;
                arguments.trace = file;
            },
            "tell of each call that the model answers, with its arguments, result and cause, a line each on "
            "standard "
            "error or in FILE")
        ->expected(0, 1)
        ->type_name("[FILE]");
}

// Takes away the words of the command that is to be started: what follows the first "--".
std::vector<std::string> cut_command(std::vector<std::string>& words) {
    const auto mark = std::ranges::find(words, "--");
    std::vector<std::string> command(mark == words.end() ? mark : mark + 1, words.end());
    words.erase(mark, words.end());
    return command;
}

int main(int argc, char** argv) {
    CLI::App app("Controls which memory devices may reach, through Linux's /dev/iommu.", "iommufd");
    app.require_subcommand(1);
    app.set_version_flag("--version", "iommufd " IOMMUFD_VERSION);

    ObjectOptions run_options;
    CLI::App* const run_command =
        app.add_subcommand("run", "create objects and devices, and hold them until SIGINT or SIGTERM");
    run_options.add_to(*run_command);
    run_options.add_control_sockets_to(*run_command);

    ObjectOptions test_options;
    CLI::App* const test_command = app.add_subcommand(
        "dmatest", "move data through devices and mapped memory, and show that other memory is out of reach");
    test_options.add_to(*test_command);
    test_command->add_flag("--destructive", test_options.arguments.destructive,
                           "storage devices may be overwritten");
    test_command->add_flag("--json", test_options.arguments.json, "print the outcome as JSON");

    ObjectOptions bench_options;
    BenchArguments bench_arguments;
    CLI::App* const bench_command = app.add_subcommand(
        "bench", "measure on this machine; with a dma-space and a device also what maps and bring-up take");
    bench_options.add_to(*bench_command);
    add_to(*bench_command, bench_arguments);
    bench_command->add_flag("--json", bench_options.arguments.json, "print the figures as JSON");

    ExecArguments exec_arguments;
    CLI::App* const exec_command =
        app.add_subcommand("exec",
                           "start a command without privileges, with descriptors of /dev/iommu and of "
                           "devices that it can't open itself");
    add_to(*exec_command, exec_arguments);

    ServeArguments serve_arguments;
    CLI::App* const serve_command = app.add_subcommand(
        "serve", "hand descriptors of /dev/iommu and of devices to other processes, under a policy");
    serve_command->add_option("--config", serve_arguments.config, "who gets what: see docs/broker.md")
        ->type_name("FILE")
        ->required();
    GetArguments get_arguments;
    CLI::App* const get_command =
        app.add_subcommand("get", "start a command with descriptors that `iommufd serve` gives");
    add_to(*get_command, get_arguments);

    ModelArguments model_arguments;
    CLI::App* const model_command = app.add_subcommand(
        "model", "run a command on the embedded model kernel, on a machine that has no IOMMU");
    add_to(*model_command, model_arguments);

    BindArguments bind_arguments;
    CLI::App* const bind_command =
        app.add_subcommand("bind", "take PCI devices from their drivers, for VFIO");
    add_to(*bind_command, bind_arguments,
           "even if a disk of theirs is mounted, a network interface up, or somebody has them open");
    bind_command->add_option("--driver", bind_arguments.driver, "of VFIO's (vfio-pci)")->type_name("DRIVER");
    CLI::App* const unbind_command =
        app.add_subcommand("unbind", "give PCI devices back to the drivers that they had");
    add_to(*unbind_command, bind_arguments,
           "even if somebody has them open, whom the kernel then asks for them");

    bool devices_as_json = false;
    CLI::App* const devices_command = app.add_subcommand(
        "devices", "list the machine's PCI devices by IOMMU group, and who has each of them");
    devices_command->add_flag("--json", devices_as_json, "as JSON");

    doctor::Arguments doctor_arguments;
    CLI::App* const doctor_command = app.add_subcommand(
        "doctor", "find out why a device, or any, can't be passed through, and how to mend it");
    add_to(*doctor_command, doctor_arguments);

    PlanArguments plan_arguments;
    CLI::App* const plan_command = app.add_subcommand(
        "plan", "say how much memory a guest's devices need locked, and how long it takes to map");
    add_to(*plan_command, plan_arguments);

    ShowArguments show_arguments;
    CLI::App* const show_command =
        app.add_subcommand("show", "show what a running instance has: objects, devices, address spaces");
    show_command->add_option("socket", show_arguments.socket, "of its -qmp")->type_name("PATH")->required();
    show_command->add_option("--svg", show_arguments.svg, "write the address spaces as a picture")
        ->type_name("FILE");
    show_command->add_flag("--json", show_arguments.json, "as JSON");

    TopArguments top_arguments;
    CLI::App* const top_command =
        app.add_subcommand("top", "show a running instance's counters, again and again");
    top_command->add_option("socket", top_arguments.socket, "of its -qmp")->type_name("PATH")->required();
    top_command->add_option("--interval", top_arguments.interval, "in seconds (1)")
        ->check(CLI::Range(0.05, 3600.0));
    top_command->add_option("--count", top_arguments.count, "of looks; none: until it is interrupted");
    top_command->add_flag("--json", top_arguments.json, "as JSON, a line for each look");

    MetricsArguments metrics_arguments;
    CLI::App* const metrics_command =
        app.add_subcommand("metrics", "print a running instance's counters for Prometheus, or serve them");
    metrics_command->add_option("socket", metrics_arguments.socket, "of its -qmp")
        ->type_name("PATH")
        ->required();
    metrics_command->add_option("--listen", metrics_arguments.listen, "there, by HTTP, for this machine only")
        ->type_name("unix:PATH|127.0.0.1:PORT|[::1]:PORT");

    std::string operation;
    std::string code;
    bool explained_as_json = false;
    CLI::App* const explain_command =
        app.add_subcommand("explain", "say what an errno of an operation most likely means, and what to do");
    explain_command->add_option("operation", operation, "IOMMU_IOAS_MAP, ioas_map, open; none: list them")
        ->type_name("OPERATION");
    explain_command->add_option("errno", code, "ENOMEM, 12; none: all of the operation's")
        ->type_name("ERRNO");
    explain_command->add_flag("--json", explained_as_json, "as JSON");

    auto words = object::normalise_argv({argv + 1, static_cast<std::size_t>(argc > 0 ? argc - 1 : 0)});
    if (!words.empty() && words.front() == "exec") exec_arguments.command = cut_command(words);
    if (!words.empty() && words.front() == "get") get_arguments.command = cut_command(words);
    if (!words.empty() && words.front() == "model") model_arguments.command = cut_command(words);
    std::reverse(words.begin(), words.end());  // as CLI11 wants them
    try {
        app.parse(words);
        if ((exec_command->parsed() && exec_arguments.command.empty()) ||
            (get_command->parsed() && get_arguments.command.empty()) ||
            (model_command->parsed() && model_arguments.command.empty()))
            throw CLI::RequiredError("the command that is to be started, after --,");
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {  // --help, --version
            std::ostringstream text;
            const int status = app.exit(error, text, text);
            fmt::print("{}", text.str());
            return status;
        }
        return fail(kUsage, usage_error(app, error));
    }

    if (exec_command->parsed()) return exec(exec_arguments);
    if (serve_command->parsed()) return serve(serve_arguments);
    if (get_command->parsed()) return get(get_arguments);
    if (model_command->parsed()) return model(model_arguments, allocation_failures());
    if (doctor_command->parsed()) return doctor::examine(doctor_arguments);
    if (plan_command->parsed()) return plan(plan_arguments);
    if (top_command->parsed()) return top(top_arguments);
    if (metrics_command->parsed()) return metrics(metrics_arguments);
    if (show_command->parsed()) return show(show_arguments);
    if (devices_command->parsed()) return devices(devices_as_json);
    if (explain_command->parsed()) return explain(operation, code, explained_as_json);
    if (bind_command->parsed()) return bind(bind_arguments);
    if (unbind_command->parsed()) return unbind(bind_arguments);
    ObjectOptions& options = run_command->parsed()     ? run_options
                             : bench_command->parsed() ? bench_options
                                                       : test_options;
    if (!options.help.empty()) {
        fmt::print("{}", options.help);
        return kDone;
    }
    if (!options.error.empty()) {
        fmt::print(stderr, "iommufd: {}\n", options.error);
        return kUsage;
    }
    if (run_command->parsed()) return run(options.arguments);
    if (test_command->parsed()) return dmatest(std::move(options.arguments));
    bench_arguments.place = std::move(options.arguments);
    return bench(std::move(bench_arguments));
}

}  // namespace
}  // namespace iommufd::inline v0_1::cli

int main(int argc, char** argv) {
    try {
        const int status = iommufd::cli::main(argc, argv);
        if (std::fflush(stdout) == 0) return status;
        fmt::print(
            stderr, "iommufd: {}\n",
            iommufd::Error::refused(errno, "cannot write to standard output",
                                    "what was found out is lost in part", "make room, or write elsewhere")
                .line());
        return iommufd::cli::kFailed;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "iommufd: {}\n", failure.what());
        return iommufd::cli::kFailed;
    }
}
