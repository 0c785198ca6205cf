#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/runtime/batch/batch_fixture.hpp"

namespace {

using namespace dodeca::runtime;
using namespace dodeca::runtime::batch;
using namespace dodeca::tests;

const char* const kChat = "/v1/chat/completions";

std::string greedy_text(const std::vector<std::int32_t>& prompt, std::int64_t n) {
  std::string text;
  for (const std::int32_t token : FakePass::greedy(prompt, n)) text += FakePass::vocabulary().piece(token);
  return text;
}

TEST_CASE("completions have OpenAI's shape and the model's text") {
  BatchSetup setup;
  write_text(setup.options.input,
             request_line("a", R"({"model": "my-model", "prompt": "hello", "max_tokens": 5})") +
                 request_line("ids", R"({"prompt": [3, 4, 5], "max_tokens": 4, "echo": true, "logprobs": 2})") +
                 request_line("default", R"({"prompt": "hello"})") +
                 request_line("score", R"({"prompt": ["hello"], "max_tokens": 0, "echo": true, "logprobs": 0})"));
  CHECK(setup.run().completed == 4);
  const Json line = BatchSetup::line_of(setup.options.output, "a");
  CHECK(line["id"].get<std::string>().starts_with("batch_req_"));
  CHECK(line["error"].is_null());
  CHECK(line["response"]["status_code"] == 200);
  CHECK(line["response"]["request_id"].is_string());
  const Json body = setup.body_of("a");
  CHECK(body["object"] == "text_completion");
  CHECK(body["model"] == "my-model");
  CHECK(body["created"].is_number_integer());
  const auto prompt = fake_text().encode("hello");
  CHECK(body["choices"].size() == 1);
  CHECK(body["choices"][0]["index"] == 0);
  CHECK(body["choices"][0]["text"] == greedy_text(prompt, 5));
  CHECK(body["choices"][0]["logprobs"].is_null());
  const auto n = static_cast<int>(FakePass::greedy(prompt, 5).size());
  CHECK(body["choices"][0]["finish_reason"] ==
        (FakePass::greedy(prompt, 5).back() == FakePass::kEnd ? "stop" : "length"));
  CHECK(body["usage"] == Json{{"prompt_tokens", 6}, {"completion_tokens", n}, {"total_tokens", 6 + n}});

  const Json ids = setup.body_of("ids");
  CHECK(ids["model"] == "fake");
  CHECK(ids["choices"][0]["text"] == "CDE" + greedy_text({3, 4, 5}, 4));
  const Json logprobs = ids["choices"][0]["logprobs"];
  CHECK(logprobs["tokens"][0] == "C");
  CHECK(logprobs["token_logprobs"][0].is_null());
  CHECK(logprobs["top_logprobs"][0].is_null());
  CHECK(logprobs["token_logprobs"][2].get<double>() ==
        doctest::Approx(dodeca::runtime::logprobs(FakePass::logits_after({3, 4}), 5, 0).chosen));
  CHECK(logprobs["top_logprobs"][3].size() == 2);
  CHECK(logprobs["text_offset"][3] == 3);
  for (const char* key : {"token_logprobs", "top_logprobs", "text_offset"})
    CHECK(logprobs[key].size() == logprobs["tokens"].size());

  CHECK(setup.body_of("default")["usage"]["completion_tokens"] == FakePass::greedy(prompt, 16).size());
  CHECK(setup.body_of("score")["choices"][0]["text"] == "hello");
  CHECK(setup.body_of("score")["usage"]["completion_tokens"] == 0);
  CHECK(setup.body_of("score")["choices"][0]["logprobs"]["tokens"].size() == 6);
}

TEST_CASE("chats have OpenAI's shape, with logprobs that stop where the text does") {
  BatchSetup setup;
  const std::string messages =
      R"("messages": [{"role": "developer", "content": "be brief"}, )"
      R"({"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}])";
  const auto prompt = fake_text().encode("<system>be brief<user>hello");
  const std::string whole = greedy_text(prompt, 12);
  REQUIRE(whole.size() > 8);
  write_text(
      setup.options.input,
      request_line("c", "{" + messages + R"(, "max_completion_tokens": 12, "logprobs": true, "top_logprobs": 3})",
                   kChat) +
          request_line(
              "stop",
              "{" + messages + R"(, "max_tokens": 12, "logprobs": true, "stop": [")" + whole.substr(4, 2) + R"("]})",
              kChat));
  CHECK(setup.run().completed == 2);
  const Json body = setup.body_of("c");
  CHECK(body["object"] == "chat.completion");
  const Json choice = body["choices"][0];
  CHECK(choice["message"]["role"] == "assistant");
  CHECK(choice["message"]["content"] == whole);
  REQUIRE(choice["logprobs"]["content"].size() == whole.size());
  const Json first = choice["logprobs"]["content"][0];
  CHECK(first["token"] == whole.substr(0, 1));
  CHECK(first["bytes"] == Json::array({static_cast<int>(whole[0])}));
  CHECK(first["top_logprobs"].size() == 3);
  CHECK(first["top_logprobs"][0]["token"] == first["token"]);
  CHECK(first["top_logprobs"][0]["logprob"] == first["logprob"]);
  const Json stopped = setup.body_of("stop")["choices"][0];
  const std::size_t end = whole.find(whole.substr(4, 2));
  CHECK(stopped["message"]["content"] == whole.substr(0, end));
  CHECK(stopped["finish_reason"] == "stop");
  CHECK(stopped["logprobs"]["content"].size() == end);
}

TEST_CASE("results do not depend on --parallel; sampled ones are seeded by the custom_id or by the request") {
  std::vector<std::set<std::string>> sets;
  for (const std::int32_t n_parallel : {1, 2, 8}) {
    BatchSetup setup;
    setup.options.n_parallel = n_parallel;
    setup.options.sampling.temperature = 1.0;
    write_text(setup.options.input, mixed_input(30) +
                                        request_line("s1", R"({"prompt": "same", "seed": 5, "max_tokens": 30})") +
                                        request_line("s2", R"({"prompt": "same", "seed": 5, "max_tokens": 30})") +
                                        request_line("s3", R"({"prompt": "same", "seed": 6, "max_tokens": 30})") +
                                        request_line("s4", R"({"prompt": "same", "max_tokens": 30})"));
    setup.run();
    std::set<std::string> texts;
    for (const std::string& line : lines_of(read_text(setup.options.output))) {
      const Json json = Json::parse(line);
      texts.insert(json["custom_id"].get<std::string>() + json["response"]["body"]["choices"].dump());
    }
    sets.push_back(texts);
    const auto text_of = [&](const char* id) { return setup.body_of(id)["choices"].dump(); };
    CHECK(text_of("s1") == text_of("s2"));
    CHECK(text_of("s1") != text_of("s3"));
    CHECK(text_of("s1") != text_of("s4"));
  }
  CHECK(sets[0] == sets[1]);
  CHECK(sets[0] == sets[2]);
}

TEST_CASE("what is not supported or wrong is a 400 that names it") {
  const std::vector<std::array<const char*, 3>> cases = {
      {"/v1/completions", R"({"prompt": "x", "n": 2})", "n"},
      {"/v1/completions", R"({"prompt": "x", "stream": true})", "stream"},
      {"/v1/completions", R"({"prompt": "x", "best_of": 3})", "best_of"},
      {"/v1/completions", R"({"prompt": "x", "suffix": "y"})", "suffix"},
      {"/v1/completions", R"({"prompt": "x", "logit_bias": {"5": 1}})", "logit_bias"},
      {"/v1/completions", R"({"prompt": "x", "top_logprobs": 1})", "top_logprobs"},
      {"/v1/completions", R"({"prompt": "x", "surprise": 1})", "surprise"},
      {"/v1/completions", R"({"prompt": "x", "max_tokens": 1.5})", "max_tokens"},
      {"/v1/completions", R"({"prompt": "x", "max_tokens": -1})", "max_tokens"},
      {"/v1/completions", R"({"prompt": "x", "max_tokens": "5"})", "max_tokens"},
      {"/v1/completions", R"({"prompt": "x", "max_tokens": 99999999999999999999})", "max_tokens"},
      {"/v1/completions", R"({"prompt": "x", "temperature": -0.1})", "temperature"},
      {"/v1/completions", R"({"prompt": "x", "temperature": true})", "temperature"},
      {"/v1/completions", R"({"prompt": "x", "top_p": 1.1})", "top_p"},
      {"/v1/completions", R"({"prompt": "x", "min_p": "a"})", "min_p"},
      {"/v1/completions", R"({"prompt": "x", "seed": 1.5})", "seed"},
      {"/v1/completions", R"({"prompt": "x", "stop": 5})", "stop"},
      {"/v1/completions", R"({"prompt": "x", "stop": ["a", 5]})", "stop"},
      {"/v1/completions", R"({"prompt": "x", "frequency_penalty": 3})", "frequency_penalty"},
      {"/v1/completions", R"({"prompt": "x", "echo": 1})", "echo"},
      {"/v1/completions", R"({"prompt": "x", "model": 5})", "model"},
      {"/v1/completions", R"({"prompt": ["a", "b"]})", "prompt"},
      {"/v1/completions", R"({"prompt": [1, "b"]})", "prompt"},
      {"/v1/completions", R"({"prompt": [1, 4000]})", "prompt"},
      {"/v1/completions", R"({"prompt": []})", "prompt"},
      {"/v1/completions", R"({"prompt": 5})", "prompt"},
      {"/v1/completions", R"({"messages": []})", "prompt"},
      {"/v1/chat/completions", R"({"prompt": "x"})", "messages"},
      {"/v1/chat/completions", R"({"messages": []})", "messages"},
      {"/v1/chat/completions", R"({"messages": "x"})", "messages"},
      {"/v1/chat/completions", R"({"messages": [5]})", "messages[0]"},
      {"/v1/chat/completions", R"({"messages": [{"content": "x"}]})", "messages[0].role"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user"}]})", "messages[0].content"},
      {"/v1/chat/completions", R"({"messages": [{"role": "tool", "content": "x"}]})", "messages[0].role"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x", "name": 5}]})", "messages[0].name"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x", "tool_call_id": "y"}]})",
       "messages[0].tool_call_id"},
      {"/v1/completions", R"({"prompt": "x", "max_tokens": 1e300})", "max_tokens"},
      {"/v1/completions", R"({"prompt": "x", "repetition_penalty": 1.1})", "repetition_penalty"},
      {"/v1/completions", R"({"prompt": "x", "ignore_eos": true})", "ignore_eos"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x"}], "reasoning_effort": "low"})",
       "reasoning_effort"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]})",
       "messages[0].content"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": "refuse me"}]})", "messages"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": "too much"}]})", "messages"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function"}]})",
       "tools"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_object"}})",
       "response_format"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x"}], "top_logprobs": 2})",
       "top_logprobs"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "logprobs": true, "top_logprobs": 21})", "top_logprobs"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x"}], "logprobs": 5})", "logprobs"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x"}], "max_tokens": 0})", "max_tokens"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "max_completion_tokens": 4})",
       "max_tokens"},
      {"/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x"}], "echo": true})", "echo"},
      {"/v1/embeddings", R"({"input": "x"})", "url"},
  };
  BatchSetup setup;
  std::string input;
  for (std::size_t i = 0; i < cases.size(); ++i)
    input += request_line("case " + std::to_string(i), cases[i][1], cases[i][0]);
  write_text(setup.options.input, input);
  const BatchCounts counts = setup.run();
  CHECK(counts.failed == static_cast<std::int64_t>(cases.size()));
  CHECK(counts.completed == 0);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(cases[i][1]);
    const Json line = BatchSetup::line_of(setup.options.errors, "case " + std::to_string(i));
    REQUIRE(line.is_object());
    CHECK(line["error"].is_null());
    CHECK(line["response"]["status_code"] == 400);
    const Json error = line["response"]["body"]["error"];
    CHECK(error["param"] == cases[i][2]);
    CHECK(error["type"] == "invalid_request_error");
    CHECK(error["message"].get<std::string>().size() > 5);
  }
}

TEST_CASE("fields that change nothing are accepted") {
  BatchSetup setup;
  write_text(
      setup.options.input,
      request_line(
          "a", R"({"prompt": "x", "n": 1, "stream": false, "best_of": 1, "suffix": null, "logit_bias": {}, "user": "me",
                                   "stream_options": null, "stop": null, "logprobs": null, "max_tokens": 2, "seed": -4, "top_k": -1})") +
          request_line(
              "b", R"({"messages": [{"role": "user", "content": "x", "name": null}], "tools": [], "tool_choice": "none",
                                       "response_format": {"type": "text"}, "metadata": {"k": "v"}, "logprobs": false, "max_tokens": 2})",
              kChat));
  CHECK(setup.run().completed == 2);
}

TEST_CASE("what other clients send along is accepted where it asks for nothing; whole numbers may have a point") {
  const char* const completion =
      R"({"prompt": [3.0, 4], "max_tokens": 2.0, "top_k": 40.0, "seed": 7.0, "n": 1.0, "logprobs": false, "suffix": "",
          "repetition_penalty": 1.0, "ignore_eos": false, "min_tokens": 0, "stop_token_ids": [], "best_of": null,
          "stream_options": {"include_usage": true}, "service_tier": "auto"})";
  const char* const chat =
      R"({"messages": [{"role": "user", "content": "x", "name": "Ann", "tool_calls": null, "refusal": ""}], "store": true,
          "max_completion_tokens": 2.0, "service_tier": "flex", "top_logprobs": 0, "logprobs": false, "tools": [],
          "prompt_cache_key": "k", "safety_identifier": "s", "chat_template_kwargs": {}, "use_beam_search": false,
          "skip_special_tokens": true, "reasoning_effort": null, "parallel_tool_calls": true})";
  BatchSetup setup;
  write_text(setup.options.input, request_line("a", completion) + request_line("b", chat, kChat));
  CHECK(setup.run().completed == 2);
  CHECK(setup.body_of("a")["usage"]["completion_tokens"] == FakePass::greedy({3, 4}, 2).size());
}

TEST_CASE("the name of a message's speaker reaches the template") {
  const ParsedLine parsed = parse_line(
      request_line("a", R"({"messages": [{"role": "user", "content": "x", "name": "Ann"}]})", kChat), SamplerOptions());
  const auto& request = std::get<BatchRequest>(parsed.what);
  CHECK(request.messages.at(0).name == "Ann");
  const ChatTemplate shows =
      ChatTemplate::from_source("{% for m in messages %}{{ m.name or m.role }}:{{ m.content }}{% endfor %}", "", "");
  CHECK(shows.render(request.messages) == "Ann:x");
}

TEST_CASE("a prompt that does not fit is a 400 with the numbers") {
  BatchSetup setup;
  write_text(setup.options.input,
             request_line("long", R"({"prompt": ")" + std::string(500, 'x') + R"(", "max_tokens": 2})") +
                 request_line("fits", R"({"prompt": ")" + std::string(126, 'x') + R"(", "max_tokens": 9})"));
  const BatchCounts counts = setup.run();
  CHECK(counts.completed == 1);
  CHECK(counts.failed == 1);
  const Json error = BatchSetup::line_of(setup.options.errors, "long")["response"]["body"]["error"];
  CHECK(error["message"] == "the prompt has 501 tokens, the context holds 128");
  CHECK(error["code"] == "context_length_exceeded");
  CHECK(setup.body_of("fits")["usage"]["completion_tokens"] == 1);
  CHECK(setup.body_of("fits")["choices"][0]["finish_reason"].is_string());
}

TEST_CASE("a template that cannot be read refuses the chats, not the completions") {
  BatchSetup setup;
  write_text(setup.options.input,
             request_line("text", R"({"prompt": "x", "max_tokens": 2})") +
                 request_line("chat", R"({"messages": [{"role": "user", "content": "x"}]})", kChat));
  BatchText text = fake_text();
  text.encode_chat = [](std::span<const ChatMessage>) -> std::vector<std::int32_t> {
    throw Error(ErrorKind::kUnsupported, "the template cannot be read");
  };
  FakePass pass(engine::Engine::sequences_for(3), 3 * setup.context);
  engine::Engine engine(pass, FakePass::vocabulary(), {3, setup.context, 64, 16});
  Batch batch(setup.options, [](Level, std::string_view) {});
  batch.run(engine, text, [](const BatchCounts&) { return true; });
  CHECK(batch.counts().completed == 1);
  CHECK(batch.counts().failed == 1);
  CHECK(BatchSetup::line_of(setup.options.errors, "chat")["response"]["body"]["error"]["message"] ==
        "the template cannot be read");
}

TEST_CASE("a file in another encoding is refused whole, before anything starts") {
  BatchSetup setup;
  const std::string line = request_line("a", R"({"prompt": "x"})");
  std::string utf16 = "\xFF\xFE";
  for (const char c : line) utf16 += {c, '\0'};
  for (const std::string& text : {utf16, utf16.substr(2)}) {
    write_text(setup.options.input, text);
    const std::string refusal = setup.refusal();
    CHECK(refusal.find("UTF-16 (little-endian)") != std::string::npos);
    CHECK(refusal.find("iconv") != std::string::npos);
  }
  CHECK_FALSE(std::filesystem::exists(setup.options.output));
}

TEST_CASE("malformed lines are reported with their numbers, and only once") {
  BatchSetup setup;
  const std::string good = request_line("good", R"({"prompt": "x", "max_tokens": 2})");
  write_text(setup.options.input,
             "\xEF\xBB\xBF" + good + "\n   \r\n{\"custom_id\": \"a\"\n[1, 2]\nnull\n{\"custom_id\": 5}\n" +
                 "{\"custom_id\": \"\xff\xfe\"}\n{\"custom_id\": \"\\ud800\"}\n" + std::string(3, '\0') + "\n" +
                 std::string(200000, '[') + "\n{\"custom_id\": \"end\", \"method\": \"GET\"}");
  for (int round = 0; round < 2; ++round) {
    const BatchCounts counts = setup.run();
    CHECK(counts.total == 10);
    CHECK(counts.completed == 1);
    CHECK(counts.failed == 9);
  }
  std::set<std::int64_t> numbers;
  for (const std::string& line : lines_of(read_text(setup.options.errors))) {
    const Json json = Json::parse(line);
    if (json["custom_id"] == "end") {
      CHECK(json["response"]["body"]["error"]["code"] == "invalid_method");
      continue;
    }
    CHECK(json["custom_id"].is_null());
    CHECK(json["response"].is_null());
    numbers.insert(json["error"]["line"].get<std::int64_t>());
    CHECK(json["error"]["message"].get<std::string>().starts_with("line " + json["error"]["line"].dump() + ": "));
  }
  CHECK(numbers == std::set<std::int64_t>{4, 5, 6, 7, 8, 9, 10, 11});
}

TEST_CASE("a custom_id that occurs twice is refused before anything starts, all of them listed") {
  BatchSetup setup;
  const std::string body = R"({"prompt": "x", "max_tokens": 2})";
  write_text(setup.options.input, request_line("a", body) + request_line("b", body) + request_line("a", body) + "\n" +
                                      request_line("c", body) + request_line("b", R"({"prompt": 5})") +
                                      request_line("a", body));
  const std::string refusal = setup.refusal();
  CHECK(refusal.find("'a' on lines 1, 3, 7") != std::string::npos);
  CHECK(refusal.find("'b' on lines 2, 6") != std::string::npos);
  CHECK(refusal.find("'c'") == std::string::npos);
  const std::string endless(1000, 'x');
  write_text(setup.options.input, request_line(endless, body) + request_line(endless, body));
  CHECK(setup.refusal().find(endless.substr(0, 100) + "...' on lines 1, 2") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(setup.options.output));
  CHECK_FALSE(std::filesystem::exists(setup.state()));
}

TEST_CASE("an empty input is done at once; a missing one is an error") {
  BatchSetup setup;
  CHECK(setup.refusal().find("in.jsonl") != std::string::npos);
  write_text(setup.options.input, "\n\n");
  CHECK(setup.run().total == 0);
}

TEST_CASE("a file without lines is refused before it fills the memory") {
  BatchSetup setup;
  write_text(setup.options.input, "\n");
  std::filesystem::resize_file(setup.options.input, std::uint64_t{1} << 40);  // sparse
  CHECK(setup.refusal().find("line 2 of") != std::string::npos);
}

TEST_CASE("the name of the errors file") {
  CHECK(default_errors_path("results.jsonl") == "results.errors.jsonl");
  CHECK(default_errors_path("d.x/results") == "d.x/results.errors.jsonl");
}

}  // namespace
