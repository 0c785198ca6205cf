#include "runtime/batch/request.hpp"

#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

void fuzz_request(std::string_view bytes) {
  const auto id = runtime::batch::custom_id_of(bytes);
  const runtime::batch::ParsedLine line = runtime::batch::parse_line(bytes, {});
  if (std::holds_alternative<runtime::batch::MalformedLine>(line.what)) return;
  require(id && *id == line.custom_id, "custom_id");
  const auto* request = std::get_if<runtime::batch::BatchRequest>(&line.what);
  if (request == nullptr) return;
  require(request->chat == !request->messages.empty(), "messages");
  require(!request->max_tokens || *request->max_tokens >= 0, "max_tokens");
  require(request->sampling.temperature >= 0 && request->sampling.top_p <= 1, "sampling");
}

std::vector<std::string> fuzz_request_seeds() {
  return {R"({"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":)"
          R"([{"role":"system","content":"S"},{"role":"user","content":[{"type":"text","text":"U"}]}],"max_tokens":4,)"
          R"("temperature":0.5,"top_p":0.9,"seed":-3,"stop":["x","y"],"logprobs":true,"top_logprobs":2,"n":1}})",
          R"({"custom_id":"b","method":"POST","url":"/v1/completions","body":{"prompt":[1,2,3],"max_tokens":0,)"
          R"("echo":true,"logprobs":5,"presence_penalty":-2,"frequency_penalty":2,"top_k":40,"min_p":0.1,"stop":"z",)"
          R"("user":"u","stream":false,"logit_bias":{},"suffix":"","best_of":1}})",
          R"({"custom_id":"c","method":"POST","url":"/v1/completions","body":{"prompt":["text"]}})"};
}

}  // namespace dodeca::tests
