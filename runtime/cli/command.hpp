// The frame of a program: a table of commands, and one place where failures become a sentence and an exit code.
// Exit codes: 0 done, 1 failed, 2 wrong usage, 130 / 143 / 129 stopped by SIGINT / SIGTERM / SIGHUP.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "runtime/cli/console.hpp"
#include "runtime/cli/options.hpp"

namespace dodeca::runtime::cli {

// Arguments after the command's name. Returns an exit code, or throws: Usage, Error, Stopped, std::exception.
using CommandFunction = int (*)(std::span<const std::string> args);
struct Command {
  std::string_view name;
  CommandFunction run;
  std::string_view summary;
};

// main() of `dodeca` and `dodeca-bench`. fallback: the command that runs when the first argument is no command name but
// a flag or absent; null: usage error.
int program_main(std::string_view program, std::string_view summary, std::span<const Command> commands,
                 CommandFunction fallback, int argc, char** argv);

// --version: program and version on the first line, then commit, compiler, ISA levels, libraries.
std::string version_text(std::string_view program);
// For result files: "0.1.0" and the commit.
std::string_view program_version();
std::string_view program_commit();

int cmd_run(std::span<const std::string> args);
int cmd_batch(std::span<const std::string> args);
int cmd_quantize(std::span<const std::string> args);
int cmd_imatrix(std::span<const std::string> args);
int cmd_ppl(std::span<const std::string> args);
int cmd_tokenize(std::span<const std::string> args);
int cmd_inspect(std::span<const std::string> args);
int cmd_plan(std::span<const std::string> args);

}  // namespace dodeca::runtime::cli
