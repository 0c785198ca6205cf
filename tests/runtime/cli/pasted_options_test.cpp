#include "runtime/cli/pasted_options.hpp"

#include <doctest/doctest.h>

#include <set>

#include "runtime/cli/command.hpp"
#include "runtime/cli/text_options.hpp"

namespace {

using namespace dodeca::runtime::cli;

struct Outcome {
  std::vector<std::string> notes;
  std::string refusal, prompt;
  bool flag = false;
};

Outcome outcome_of(const std::vector<std::string>& args, std::string command = "dodeca run") {
  Outcome outcome;
  Options options(std::move(command), "A test.", "test");
  options.value("-p,--prompt", outcome.prompt, "prompt");
  options.flag("--top-flag", outcome.flag, "flag");
  options.on_note([&](std::string_view line) { outcome.notes.emplace_back(line); });
  try {
    options.parse(args);
  } catch (const Usage& usage) {
    outcome.refusal = usage.what();
  }
  return outcome;
}

TEST_CASE("what asks for nothing is accepted with one line each, and takes its value along") {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{{"--prio", "2"},
                                                                                    {"--jinja"},
                                                                                    {"--no-context-shift"},
                                                                                    {"--no-warmup"},
                                                                                    {"--color"},
                                                                                    {"--color", "on"},
                                                                                    {"--parallel", "1"},
                                                                                    {"-sm", "layer"},
                                                                                    {"--main_gpu=0"},
                                                                                    {"-fa"},
                                                                                    {"-fa", "on"},
                                                                                    {"-mla", "3"},
                                                                                    {"-fmoe"},
                                                                                    {"-fmoe", "1"},
                                                                                    {"-amb", "512"},
                                                                                    {"--no-mmap"},
                                                                                    {"--no_mmap"},
                                                                                    {"--mlock"},
                                                                                    {"-nkvo"},
                                                                                    {"-ser", "1,0"},
                                                                                    {"--dry-multiplier", "0.0"},
                                                                                    {"--mirostat", "0"},
                                                                                    {"--log-disable"},
                                                                                    {"--context-shift", "off"},
                                                                                    {"--xtc-probability", "0"},
                                                                                    {"--typical", "1.0"},
                                                                                    {"--grammar", ""},
                                                                                    {"--reasoning-budget", "-1"},
                                                                                    {"--yarn-ext-factor", "-1"},
                                                                                    {"--lookup-cache-static", "x"}}) {
    CAPTURE(args.front());
    std::vector<std::string> with_prompt = args;
    with_prompt.insert(with_prompt.end(), {"-p", "x"});
    const Outcome outcome = outcome_of(with_prompt);
    CHECK(outcome.refusal == "");
    CHECK(outcome.prompt == "x");
    CHECK(outcome.notes.size() == 1);
  }
  CHECK(outcome_of({"-ts", "1", "-ts", "2"}).notes.size() == 1);
}

TEST_CASE("what would change the result is refused with what to write instead") {
  const auto refusal = [](const std::vector<std::string>& args, std::string command = "dodeca run") {
    return outcome_of(args, std::move(command)).refusal;
  };
  CHECK(refusal({"--parallel", "4"}).find("batch -np N") != std::string::npos);
  CHECK(refusal({"--dry-multiplier", "0.8"}).starts_with("--dry-multiplier 0.8 is not supported: "));
  CHECK(refusal({"--mirostat", "2"}).find("--top-p") != std::string::npos);
  CHECK(refusal({"--grammar", "root ::= x"}) != "");
  CHECK(refusal({"--lora", "a.gguf"}) != "");
  CHECK(refusal({"-hf", "a/b"}).find("-m PATH") != std::string::npos);
  CHECK(refusal({"-md", "a.gguf"}) != "");
  CHECK(refusal({"-ser", "6,1"}) != "");
  CHECK(refusal({"--context-shift"}) != "");
  CHECK(refusal({"--port", "8080"}).find("batch") != std::string::npos);
  CHECK(refusal({"--port"}).find("batch") != std::string::npos);
  CHECK(refusal({"-i"}).find("-cnv") != std::string::npos);
  CHECK(refusal({"--prio"}) == "--prio needs a value");
  CHECK(refusal({"--jinja=1"}) == "--jinja takes no value, not '1'");
  CHECK(refusal({"--custom-q", "a=Q4_K"}, "dodeca quantize").find("--tensor-type") != std::string::npos);
  CHECK(refusal({"-ngl", "1"}, "dodeca inspect").starts_with("unknown option -ngl"));
}

TEST_CASE("underscores of long names are dashes; the command's own options come first") {
  CHECK(outcome_of({"--top_flag"}).flag);
  CHECK(outcome_of({"--top_flg"}).refusal == "unknown option --top-flg; the nearest known one is --top-flag");
  CHECK(outcome_of({"-p", "--top_flag"}).prompt == "--top_flag");
  CHECK(outcome_of({"--prompt=a_b"}).prompt == "a_b");
  CHECK(outcome_of({"--prioo", "2"}).refusal == "unknown option --prioo; the nearest known one is --prio");
  CHECK(outcome_of({"--frobnicate"}).refusal == "unknown option --frobnicate");
}

TEST_CASE("no command knows a name twice, every row says what it must") {
  for (const char* command : {"dodeca run", "dodeca batch", "dodeca ppl", "dodeca imatrix", "dodeca tokenize",
                              "dodeca quantize", "dodeca-bench"}) {
    std::set<std::string> seen;
    for (const std::string& name : accepted_names(command)) {
      CAPTURE(name);
      CHECK(seen.insert(name).second);
      const PastedOption* option = find_pasted(command, name);
      REQUIRE(option != nullptr);
      CHECK_FALSE(option->answer.empty());
      CHECK((option->harmless == "*") == option->refusal.empty());
    }
    CHECK(seen.size() > 10);
  }
  CHECK(accepted_names("dodeca inspect").empty());
}

SamplingOptions sampling_of(const std::vector<std::string>& args) {
  SamplingOptions sampling;
  Options options("test", "A test.", "test");
  sampling.add_flags(options, "seed");
  options.parse(args);
  sampling.apply_order(options);
  return sampling;
}

TEST_CASE("--samplers turns off what it leaves out, and wants the order that there is") {
  const SamplingOptions some =
      sampling_of({"--min-p", "0.1", "--repeat-penalty", "1.2", "--samplers", "top_k;typ_p;top_p;temperature"});
  CHECK(some.values.top_k == 40);
  CHECK(some.values.top_p == 0.95);
  CHECK(some.values.temperature == 0.8);
  CHECK(some.values.min_p == 0);
  CHECK(some.values.repeat_penalty == 1);
  const SamplingOptions letters = sampling_of({"--sampling-seq", "km"});
  CHECK(letters.values.top_p == 1);
  CHECK(letters.values.temperature == 1);
  CHECK(letters.values.min_p == 0.05);
  CHECK(sampling_of({"--samplers", "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature"}).values.min_p ==
        0.05);
  CHECK_THROWS_WITH_AS(sampling_of({"--samplers", "temperature;top_k"}),
                       doctest::Contains("'top_k' comes after 'temperature'"), Usage);
  CHECK_THROWS_WITH_AS(sampling_of({"--samplers", "top_k;magic"}), doctest::Contains("'magic'"), Usage);
}

TEST_CASE("escapes as llama.cpp reads them") {
  CHECK(unescape("a\\nb\\tc\\rd") == "a\nb\tc\rd");
  CHECK(unescape("\\\\n") == "\\n");
  CHECK(unescape("\\x41\\x4") == "A\\x4");
  CHECK(unescape("\\x41") == "A");
  CHECK(unescape("\\'\\\"") == "'\"");
  CHECK(unescape("\\q\\") == "\\q\\");
  for (const bool off : {false, true}) {
    EscapeOptions escapes;
    Options options("test", "A test.", "test");
    escapes.add_flags(options, "-p");
    options.parse(off ? std::vector<std::string>{"--no-escape"} : std::vector<std::string>{"-e"});
    CHECK(escapes.read("a\\n") == (off ? "a\\n" : "a\n"));
  }
}

}  // namespace
