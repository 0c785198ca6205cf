// A batch over the stand-in model in a folder of its own.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/base/error.hpp"
#include "runtime/batch/batch.hpp"
#include "runtime/load/json.hpp"
#include "tests/runtime/batch/fake_text.hpp"
#include "tests/runtime/engine/fake_pass.hpp"

namespace dodeca::tests {

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

inline std::set<std::string> line_set(const std::filesystem::path& path) {
  const std::vector<std::string> lines = lines_of(read_text(path));
  std::set<std::string> set(lines.begin(), lines.end());
  CHECK(set.size() == lines.size());
  return set;
}

// A fresh folder, in memory where there is one (thousands of syncs), removed at the end.
struct Folder {
  std::filesystem::path path;
  Folder() {
    const std::filesystem::path memory = "/dev/shm";
    const bool usable = ::access(memory.c_str(), W_OK) == 0;
    std::string name = ((usable ? memory : std::filesystem::temp_directory_path()) / "dodeca_batch_XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

struct BatchSetup {
  Folder folder;
  runtime::batch::BatchOptions options;
  std::vector<std::string> notices;
  std::int64_t context = 128;

  BatchSetup() {
    options.input = folder.path / "in.jsonl";
    options.output = folder.path / "out.jsonl";
    options.errors = runtime::batch::default_errors_path(options.output);
    options.model_name = "fake";
    options.model_identity = "fake 1";
    options.n_parallel = 3;
    options.sampling.temperature = 0;
  }
  std::filesystem::path state() const { return options.output.string() + ".state"; }
  // Runs to the end, or until `stop_after` calls of the progress function.
  runtime::batch::BatchCounts run(int stop_after = -1) {
    FakePass pass(runtime::engine::Engine::sequences_for(options.n_parallel), options.n_parallel * context);
    runtime::engine::Engine engine(pass, FakePass::vocabulary(), {options.n_parallel, context, 64, 16});
    runtime::batch::Batch batch(options, [this](runtime::Level, std::string_view line) { notices.emplace_back(line); });
    int calls = 0;
    batch.run(engine, fake_text(), [&](const runtime::batch::BatchCounts&) { return ++calls != stop_after; });
    return batch.counts();
  }
  std::string refusal() {
    try {
      run();
    } catch (const runtime::Error& error) {
      return error.what();
    }
    return "";
  }
  // One response body of the results file, by custom_id.
  runtime::Json body_of(const std::string& custom_id) const {
    return line_of(options.output, custom_id)["response"]["body"];
  }
  static runtime::Json line_of(const std::filesystem::path& path, const std::string& custom_id) {
    for (const std::string& line : lines_of(read_text(path))) {
      runtime::Json json = runtime::Json::parse(line);
      if (json["custom_id"] == custom_id) return json;
    }
    return nullptr;
  }
};

inline std::string request_line(const std::string& custom_id, const std::string& body,
                                const std::string& url = "/v1/completions") {
  return runtime::Json{{"custom_id", custom_id}, {"method", "POST"}, {"url", url}, {"body", runtime::Json::parse(body)}}
             .dump() +
         "\n";
}

// Completions and chats of several lengths with a shared system prompt, one refused and one malformed line in every
// ten.
inline std::string mixed_input(int n) {
  std::string text;
  for (int i = 0; i < n; ++i) {
    const std::string id = "request-" + std::to_string(i);
    const std::string word = std::string(static_cast<std::size_t>(1 + i * 7 % 23), static_cast<char>('a' + i % 26));
    if (i % 10 == 4)
      text += "{\"custom_id\": broken\n";
    else if (i % 10 == 7)
      text += request_line(id, R"({"prompt": "x", "n": 2})");
    else if (i % 2 == 0)
      text += request_line(id, R"({"prompt": ")" + word + R"(", "max_tokens": )" + std::to_string(3 + i % 9) + "}");
    else
      text += request_line(id,
                           R"({"messages": [{"role": "system", "content": "a system prompt that all chats have"},)"
                           R"({"role": "user", "content": ")" +
                               word + R"("}], "max_tokens": 12})",
                           "/v1/chat/completions");
  }
  return text;
}

}  // namespace dodeca::tests
