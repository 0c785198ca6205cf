// The pre-tokenizers by name: what tokenizer.ggml.pre means. Patterns as the models' tokenizer.json files have them.
#include <algorithm>
#include <charconv>

#include "runtime/text/pretokenizer.hpp"
#include "runtime/text/utf8.hpp"

namespace dodeca::runtime {
namespace {

// The letters that deepseek-llm takes for words: 87 ranges of code points, a subset of Lu, Ll and Lt of an old Unicode
// version.
constexpr std::string_view kCased =
    "41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A 38C 38E-3A1 "
    "3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 "
    "1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE "
    "1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 "
    "2126 2128 212A-212D 212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 "
    "A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A "
    "10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943";

// "41-5A B5" -> "A-Z\u00B5": the class items as tokenizer.json spells them.
std::string class_items(std::string_view ranges) {
  std::string out;
  const char* p = ranges.data();
  const char* const end = p + ranges.size();
  while (p < end) {
    if (*p == ' ' || *p == '-') {
      if (*p == '-') out += '-';
      ++p;
      continue;
    }
    unsigned value = 0;
    p = std::from_chars(p, end, value, 16).ptr;
    utf8::append(out, value);
  }
  return out;
}

#define DODECA_CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
#define DODECA_TAIL R"(\s*[\r\n]+|\s+(?!\S)|\s+)"
#define DODECA_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define DODECA_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define DODECA_UPPER_NO_HAN R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]])"
#define DODECA_LOWER_NO_HAN R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]])"

// Words of one alternation that differ in how many digits a number piece has.
constexpr std::string_view kLlama3 =
    DODECA_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)" DODECA_TAIL;
constexpr std::string_view kQwen2 =
    DODECA_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)" DODECA_TAIL;

constexpr std::string_view kQwen35 =
    DODECA_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" DODECA_TAIL;

constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?)" DODECA_UPPER "*" DODECA_LOWER "+" DODECA_CONTRACTIONS R"(?|[^\r\n\p{L}\p{N}]?)" DODECA_UPPER
    "+" DODECA_LOWER "*" DODECA_CONTRACTIONS R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" DODECA_TAIL;
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?)" DODECA_UPPER "*" DODECA_LOWER R"(+|[^\r\n\p{L}\p{N}]?)" DODECA_UPPER "+" DODECA_LOWER
    R"(*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" DODECA_TAIL;
constexpr std::string_view kKimiK2 =
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?)" DODECA_UPPER_NO_HAN "*" DODECA_LOWER_NO_HAN "+" DODECA_CONTRACTIONS
    R"(?|[^\r\n\p{L}\p{N}]?)" DODECA_UPPER_NO_HAN "+" DODECA_LOWER_NO_HAN "*" DODECA_CONTRACTIONS
    R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)" DODECA_TAIL;

constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepseekV3Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)" DODECA_TAIL;
constexpr std::string_view kDeepseekV3Cjk = "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+";
constexpr std::string_view kDeepseekCjk = "[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+";
constexpr std::string_view kDeepseekPunctuation = R"(\s?[!-/:-~)"
                                                  "\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002"
                                                  "]+";

// `\s+$` restarts at every space of a run that is not at the end, which is quadratic; the look-behind makes it linear,
// and \z is right because line ends are pieces of their own by then.
constexpr std::string_view kTrailingSpace = R"(\s+$)";
constexpr std::string_view kTrailingSpaceLinear = R"((?<!\s)\s++\z)";

std::vector<std::string> strings(std::initializer_list<std::string_view> views) { return {views.begin(), views.end()}; }

struct Family {
  std::vector<std::string_view> names;  // the first is the one that recognise_pre() gives
  std::vector<std::string> patterns;
  bool ignore_merges = false, add_bos = false;
};

const std::vector<Family>& families() {
  static const std::vector<Family> all = {
      {{"deepseek-v3", "hunyuan-dense"}, strings({R"(\p{N}{1,3})", kDeepseekV3Cjk, kDeepseekV3Words})},
      {{"deepseek-llm"},
       {R"([\r\n])", R"(\s?[)" + class_items(kCased) + "]+", std::string(kDeepseekPunctuation),
        std::string(kTrailingSpace), std::string(kDeepseekCjk), R"(\p{N}+)"}},
      {{"deepseek-coder"}, strings({R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepseekCjk, R"(\p{N})"})},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
       strings({kLlama3}),
       true,
       true},
      {{"glm4", "glm5"}, strings({kLlama3}), true},
      {{"smaug-bpe", "dbrx", "chatglm-bpe"}, strings({kLlama3})},
      {{"qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez", "kormo", "solar-open"}, strings({kQwen2})},
      {{"qwen35"}, strings({kQwen35})},
      {{"gpt-4o", "llama4", "kanana2", "minimax-m2"}, strings({kGpt4o})},
      {{"tekken"}, strings({kTekken}), true, true},
      {{"kimi-k2"}, strings({kKimiK2})},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"},
       strings({R"(\p{N})", kGpt2})},
      {{"gpt-2", "olmo", "mpt", "jais", "phi-2", "gigachat", "exaone4", "modern-bert", "mellum", "trillion",
        "granite-docling"},
       strings({kGpt2})},
      {{"falcon"}, strings({R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, "[0-9][0-9][0-9]"})},
      {{"default"}, strings({R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"})},
  };
  return all;
}

}  // namespace

std::optional<PreInfo> find_pre(std::string_view name) {
  for (const Family& family : families()) {
    const auto found = std::find(family.names.begin(), family.names.end(), name);
    if (found == family.names.end()) continue;
    PreInfo info{*found, family.patterns, family.ignore_merges, family.add_bos};
    for (std::string& pattern : info.patterns) {
      if (pattern == kTrailingSpace) pattern = kTrailingSpaceLinear;
    }
    return info;
  }
  return std::nullopt;
}

std::vector<std::string_view> pre_names() {
  std::vector<std::string_view> out;
  for (const Family& family : families()) out.insert(out.end(), family.names.begin(), family.names.end());
  return out;
}

std::string_view recognise_pre(std::span<const std::string> patterns) {
  for (const Family& family : families()) {
    if (std::equal(patterns.begin(), patterns.end(), family.patterns.begin(), family.patterns.end()))
      return family.names[0];
  }
  return {};
}

}  // namespace dodeca::runtime
