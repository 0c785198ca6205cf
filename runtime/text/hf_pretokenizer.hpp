// The "pre_tokenizer", "normalizer" and "post_processor" sections of a tokenizer.json, as far as byte-pair vocabularies
// use them. Error{kUnsupported} naming what is not known.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/load/json.hpp"

namespace dodeca::runtime {

struct HfPreTokenizer {
  std::vector<std::string> patterns;
  bool byte_level = false;
  bool prefix_space = false;          // ByteLevel's add_prefix_space
  bool metaspace = false;             // U+2581 for spaces
  bool metaspace_prefix = false;      // and one before the text,
  bool metaspace_only_first = false;  //   only at its very beginning,
  bool metaspace_if_missing = false;  //   only when there is none
};
HfPreTokenizer read_hf_pre_tokenizer(const Json& pre_tokenizer, const Json& normalizer);

// The special tokens that TemplateProcessing puts around one text; nullopt when the file has no such template.
struct HfTemplate {
  std::string first, last;  // empty: none
};
std::optional<HfTemplate> read_hf_template(const Json& post_processor);

// member of an object, or null
const Json& json_member(const Json& object, const char* key);
std::string json_string(const Json& object, const char* key, std::string fallback = "");
bool json_bool(const Json& object, const char* key, bool fallback);

}  // namespace dodeca::runtime
