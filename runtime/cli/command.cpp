#include "runtime/cli/command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <new>
#include <vector>

#include "cpu/topology.hpp"
#include "runtime/base/error.hpp"
#include "runtime/cli/remedies.hpp"
#include "runtime/cli/suggestion.hpp"
#include "runtime/cluster/cluster.hpp"

namespace dodeca::runtime::cli {
namespace {

std::string overview(std::string_view program, std::string_view summary, std::span<const Command> commands,
                     CommandFunction fallback) {
  std::string text = fmt::format("{}\n\nUsage: {} {} [options]\n\nCommands:\n", summary, program,
                                 fallback != nullptr ? "[COMMAND]" : "COMMAND");
  for (const Command& command : commands) text += fmt::format("  {:<12}{}\n", command.name, command.summary);
  text += fmt::format("\n{0} COMMAND --help shows a command's options; {0} --version the build.\n", program);
  return text;
}

// What to say of a first argument that is no command.
std::string unknown_command(std::string_view name, std::span<const Command> commands) {
  std::vector<std::string> known;
  for (const Command& command : commands) known.emplace_back(command.name);
  const std::string nearest = nearest_name(name, known);
  return fmt::format("unknown {} {}; {}", name.starts_with('-') ? "option" : "command", name,
                     nearest.empty() ? fmt::format("the commands are {}", fmt::join(known, ", "))
                                     : fmt::format("the nearest known command is {}", nearest));
}

// Runs the body and turns whatever it throws into one line and an exit code.
template <class Body>
int guarded(const std::string& who, Body body) {
  const auto fail = [&](std::string_view sentence, int code) {
    std::fflush(stdout);
    if (!cluster::may_speak([] { return stop_signal() != 0; })) return code;
    const int rank = cluster::rank_started();
    const std::string line = fmt::format(
        "{}: {}{}\n", who, rank > 0 ? cluster::name_of_rank(rank, cluster::host_name()) + ": " : "", sentence);
    std::fwrite(line.data(), 1, line.size(), stderr);
    return code;
  };
  try {
    int code = 0;
    try {
      code = body();
    } catch (const HelpShown&) {
    }
    flush_out();
    return code;
  } catch (const Usage& usage) {
    return fail(fmt::format("{} (see {} --help)", usage.what(), who), 2);
  } catch (const OutputClosed&) {
    return 0;  // the reader wanted no more
  } catch (const Stopped&) {
    std::fflush(stdout);
    return stop_exit_code();
  } catch (const Error& error) {
    return fail(error_text(error, who), 1);
  } catch (const std::bad_alloc&) {
    return fail(fmt::format("out of memory: the system refused an allocation with {} available to this process",
                            bytes_text(static_cast<double>(cpu::available_memory_bytes()))),
                1);
  } catch (const std::filesystem::filesystem_error& error) {  // of links in a circle, folders that may not be entered
    return fail(fmt::format("cannot open {}: {}", error.path1().string(), error.code().message()), 1);
  } catch (const std::exception& error) {
    // The JSON library puts its name and a number in front: "[json.exception.type_error.302] type must be ...".
    std::string_view sentence = error.what();
    if (const std::size_t end = sentence.find("] "); sentence.starts_with("[json.") && end != std::string_view::npos)
      return fail(fmt::format("a JSON file does not hold what it should: {}", sentence.substr(end + 2)), 1);
    return fail(sentence, 1);
  }
}

}  // namespace

int program_main(std::string_view program, std::string_view summary, std::span<const Command> commands,
                 CommandFunction fallback, int argc, char** argv) {
  open_standard_descriptors();
  install_signal_handlers();
  const std::vector<std::string> args(argv + std::min(argc, 1), argv + argc);
  const std::string first = args.empty() ? "" : args.front();
  const std::string name(program);
  if (first == "--version" || first == "version")
    return guarded(name, [&] { return print_out(version_text(program)), 0; });
  if (first == "help" || ((first == "--help" || first == "-h") && fallback == nullptr))
    return guarded(name, [&] { return print_out(overview(program, summary, commands, fallback)), 0; });
  for (const Command& command : commands)
    if (first == command.name)
      return guarded(fmt::format("{} {}", program, first), [&] { return command.run(std::span(args).subspan(1)); });
  if (fallback != nullptr && (first.empty() || first.starts_with('-')))
    return guarded(name, [&] { return fallback(args); });
  return guarded(name, [&]() -> int {
    if (first.empty()) throw Usage(fmt::format("needs a command, for example {} {}", program, commands.front().name));
    throw Usage(unknown_command(first, commands));
  });
}

}  // namespace dodeca::runtime::cli
