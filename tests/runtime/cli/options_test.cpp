#include "runtime/cli/options.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/base/error.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

namespace {

using namespace dodeca::runtime::cli;

struct Parsed {
  std::string prompt, file, accepted, kind, input, output;
  std::int64_t n_predict = 128;
  std::int32_t layers = 0;
  double temperature = 0.8;
  bool chat = false, single = false;
  std::vector<std::string> stop;
};

void declare(Options& options, Parsed& p) {
  options.value("-p,--prompt", p.prompt, "prompt");
  options.value("-f,--file", p.file, "file", "FILE", FileUse::kReads);
  options.value("-n,--predict,--n-predict", p.n_predict, "tokens", {-1, kNoMaximum});
  options.value("-ngl,--n-gpu-layers", p.layers, "layers");
  options.value("--temp", p.temperature, "temperature", {0.0});
  options.flag("-cnv,--conversation", p.chat, "chat");
  options.flag("-st,--single-turn", p.single, "one turn");
  options.values("--stop", p.stop, "stop text");
  options.choice("-o,--output", p.kind, {"md", "json"}, "format");
  options.optional_value("-fa,--flash-attn", p.accepted, {"on", "off"}, "on", "accepted");
}

Parsed parse(const std::vector<std::string>& args) {
  Parsed p;
  Options options("test", "A test.", "test -p x");
  declare(options, p);
  options.parse(args);
  return p;
}

std::string usage_of(const std::vector<std::string>& args) {
  try {
    parse(args);
  } catch (const Usage& usage) {
    return usage.what();
  }
  return "";
}

TEST_CASE("single-dash words, short flags and long flags") {
  const Parsed p = parse({"-ngl", "99", "-n", "5", "-cnv", "-st", "--temp", "0.5", "-o", "json"});
  CHECK(p.layers == 99);
  CHECK(p.n_predict == 5);
  CHECK(p.chat);
  CHECK(p.single);
  CHECK(p.temperature == 0.5);
  CHECK(p.kind == "json");
  CHECK(parse({"--n-gpu-layers=7"}).layers == 7);
  CHECK(parse({"-ngl=7"}).layers == 7);
}

TEST_CASE("negative values, repeated flags, values that look like flags") {
  CHECK(parse({"-n", "-1"}).n_predict == -1);
  CHECK(parse({"--predict=-1"}).n_predict == -1);
  CHECK(parse({"-n", "1", "-n", "2"}).n_predict == 2);
  CHECK(parse({"-p", "-cnv"}).prompt == "-cnv");
  CHECK(parse({"-p", "--temp"}).prompt == "--temp");
  CHECK(parse({"-p", ""}).prompt == "");
  CHECK(parse({"--prompt="}).prompt == "");
  CHECK(parse({"-p", "{}"}).prompt == "{}");
  CHECK(parse({"-p", "[a,b]"}).prompt == "[a,b]");
  CHECK(parse({"-p", "a=b"}).prompt == "a=b");
  CHECK(parse({"-f", "-"}).file == "-");
  CHECK(parse({"--stop", "{}", "--stop", "[x]", "--stop", ""}).stop == std::vector<std::string>{"{}", "[x]", ""});
}

TEST_CASE("a flag with an optional value takes only known words") {
  CHECK(parse({"-fa"}).accepted == "on");
  CHECK(parse({"-fa", "off"}).accepted == "off");
  CHECK(parse({"-fa", "-cnv"}).accepted == "on");
  CHECK(parse({"-fa", "-cnv"}).chat);
  CHECK(usage_of({"-fa=7"}).find("on|off") != std::string::npos);
}

TEST_CASE("wrong usage names the flag and what was expected") {
  CHECK(usage_of({"--tmp", "1"}) == "unknown option --tmp; the nearest known one is --temp");
  CHECK(usage_of({"-nlg", "1"}) == "unknown option -nlg; the nearest known one is -ngl");
  CHECK(usage_of({"-n"}).find("-n needs a value") == 0);
  CHECK(usage_of({"-n", "x"}) == "-n needs a whole number, not 'x'");
  CHECK(usage_of({"-n", "1.5"}) == "-n needs a whole number, not '1.5'");
  CHECK(usage_of({"-n", ""}) == "-n needs a whole number, not ''");
  CHECK(usage_of({"-n", "-2"}) == "-n must be at least -1, not -2");
  CHECK(usage_of({"-n", "99999999999999999999"}).find("-n must be") == 0);
  CHECK(usage_of({"-ngl", "9999999999"}).find("-ngl must be between") == 0);
  CHECK(usage_of({"--temp", "nan"}) == "--temp needs a number, not 'nan'");
  CHECK(usage_of({"--temp", "-1"}).find("--temp must be at least 0") == 0);
  CHECK(usage_of({"-o", "xml"}) == "-o must be one of md|json, not 'xml'");
  CHECK(usage_of({"-cnv=1"}) == "-cnv takes no value, not '1'");
  CHECK(usage_of({"stray"}).find("stray") != std::string::npos);
}

TEST_CASE("positionals, required and optional, in any place") {
  std::string input, output, type = "none";
  bool quiet = false;
  Options options("test", "A test.", "test IN OUT");
  options.positional("IN", input, "input");
  options.positional("OUT", output, "output");
  options.positional("TYPE", type, "type", false);
  options.flag("-q", quiet, "quiet");
  SUBCASE("all") {
    options.parse(std::vector<std::string>{"a", "-q", "b", "Q4_K"});
    CHECK(input == "a");
    CHECK(output == "b");
    CHECK(type == "Q4_K");
    CHECK(quiet);
    CHECK(options.given("-q"));
  }
  SUBCASE("optional one absent, flags ended") {
    options.parse(std::vector<std::string>{"--", "-a", "-b"});
    CHECK(input == "-a");
    CHECK(output == "-b");
    CHECK(type == "none");
    CHECK_FALSE(options.given("-q"));
  }
  SUBCASE("missing") { CHECK_THROWS_AS(options.parse(std::vector<std::string>{"a"}), Usage); }
  SUBCASE("too many") { CHECK_THROWS_AS(options.parse(std::vector<std::string>{"a", "b", "c", "d"}), Usage); }
}

TEST_CASE("sizes: decimal and binary units, or plain bytes") {
  CHECK(parse_bytes("--x", "12345") == 12345);
  CHECK(parse_bytes("--x", "230GiB") == 230ull << 30);
  CHECK(parse_bytes("--x", "5M") == 5000000);
  CHECK(parse_bytes("--x", "1.5kb") == 1500);
  CHECK(parse_bytes("--x", "1TiB") == 1ull << 40);
  for (const char* text : {"", "G", "-1", "0", "1X", "1GG", "1 G", "1e30", "nan", "inf", "12B"})
    CHECK_THROWS_WITH_AS(parse_bytes("--x", text), doctest::Contains("--x needs a size"), Usage);
}

TEST_CASE("help is shown whatever else is there, but not as a value") {
  CHECK_THROWS_AS(parse({"--help"}), HelpShown);
  CHECK_THROWS_AS(parse({"-cnv", "-h"}), HelpShown);
  CHECK(parse({"-p", "--help"}).prompt == "--help");
}

TEST_CASE("no option that names a file can be declared without what is done with it") {
  Options options("test", "A test.", "test");
  std::string text;
  std::vector<std::string> texts;
  CHECK_THROWS_AS(options.value("-f", text, "a file", "FILE"), std::logic_error);
  CHECK_THROWS_AS(options.value("--recipe", text, "a file or a name", "NAME|FILE"), std::logic_error);
  CHECK_THROWS_AS(options.values("-m", texts, "models", "PATH"), std::logic_error);
  CHECK_THROWS_AS(options.positional("FILE", text, "a file"), std::logic_error);
  CHECK_NOTHROW(options.value("-g", text, "a file", "FILE", FileUse::kReads));
  CHECK_NOTHROW(options.value("-t", text, "a text"));
}

TEST_CASE("a command line on which an output is an input, a part of one or another output is refused") {
  const dodeca::tests::TempDir dir;
  std::filesystem::create_directory(dir / "model");
  for (const char* name : {"text", "other", "model/config.json"}) dodeca::tests::write_bytes(dir / name, "x");
  const auto refusal = [&](const std::string& model, const std::string& text, const std::string& out,
                           const std::string& copy) -> std::string {
    std::string m, f, o, c;
    Options options("test", "A test.", "test");
    options.value("-m,--model", m, "a model", "PATH", FileUse::kModel);
    options.value("-f,--file", f, "a text", "FILE", FileUse::kReads);
    options.value("-o,--output", o, "a result", "FILE", FileUse::kWrites);
    options.value("--copy", c, "another result", "FILE", FileUse::kWrites);
    try {
      options.parse(std::vector<std::string>{"-m", (dir / model).string(), "-f", (dir / text).string(), "--output",
                                             (dir / out).string(), "--copy", (dir / copy).string()});
    } catch (const dodeca::runtime::Error& error) {
      return error.sentence();
    }
    return "";
  };
  CHECK(refusal("model", "text", "new", "newer").empty());
  CHECK(refusal("model", "text", "other", "model/new.gguf").empty());
  CHECK(refusal("model", "text", "text", "newer").find("-o") != std::string::npos);
  CHECK(refusal("model", "text", "new", "new").find("--copy") != std::string::npos);
  const std::string part = refusal("model", "text", "new", "model/config.json");
  CHECK(part.find("--copy") != std::string::npos);
  CHECK(part.find("-m file") != std::string::npos);
  CHECK(refusal("other", "text", "other", "newer").find("-m") != std::string::npos);
}

}  // namespace
