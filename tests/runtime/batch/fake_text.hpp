// Text as FakePass's vocabulary has it: a token per byte; two contents that a template refuses.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/error.hpp"
#include "runtime/batch/batch.hpp"
#include "tests/runtime/engine/fake_pass.hpp"

namespace dodeca::tests {

inline runtime::batch::BatchText fake_text() {
  runtime::batch::BatchText text;
  text.encode = [](const std::string& raw) {
    std::vector<std::int32_t> ids = {1};
    for (const char c : raw) ids.push_back(1 + static_cast<unsigned char>(c) % (FakePass::kVocab - 1));
    return ids;
  };
  text.encode_chat = [encode = text.encode](std::span<const runtime::ChatMessage> messages) {
    std::string all;
    for (const runtime::ChatMessage& message : messages) {
      if (message.content == "refuse me")
        throw runtime::Error(runtime::ErrorKind::kBadRequest, "the template refuses this");
      if (message.content == "too much")
        throw runtime::Error(runtime::ErrorKind::kUnsupported, "the template went beyond its limits");
      all += "<" + message.role + ">" + message.content;
    }
    return encode(all);
  };
  text.piece = FakePass::vocabulary().piece;
  return text;
}

}  // namespace dodeca::tests
