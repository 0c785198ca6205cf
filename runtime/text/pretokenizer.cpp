#include "runtime/text/pretokenizer.hpp"

#include "runtime/base/error.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/text/pcre2_handle.hpp"
#include "runtime/text/utf8.hpp"

namespace dodeca::runtime {
namespace {

// Unicode White_Space as class items: PCRE2's own \s adds U+180E, which left that property in Unicode 6.3.
constexpr std::string_view kSpaceItems =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

// Published patterns have up to 400 bytes, and a vocabulary up to ten of them.
constexpr std::size_t kMaxPatternBytes = 16 * 1024, kMaxPatterns = 64;

[[noreturn]] void unsupported(std::string_view pattern, std::string_view why) {
  throw Error(ErrorKind::kUnsupported, "pre-tokenizer pattern cannot be used")
      .with("why", why)
      .with("pattern", printable(pattern, 300));
}

// "\p{Han}" is the script in Unicode and Oniguruma, script extensions in PCRE2: write "\p{sc:Han}". General categories
// (one or two letters) mean the same everywhere.
std::string property(std::string_view name) {
  const bool category = name.size() <= 2 || name == "Any";
  return category ? std::string(name) : "sc:" + std::string(name);
}

class Rewriter {
 public:
  explicit Rewriter(std::string_view pattern) : in_(pattern) {}

  std::string run() {
    while (pos_ < in_.size()) {
      if (in_[pos_] == '\\') {
        escape(out_, false);
      } else if (in_[pos_] == '[') {
        out_ += char_class();
      } else {
        out_ += in_[pos_++];
      }
    }
    return std::move(out_);
  }

 private:
  bool at(std::string_view what) const { return in_.substr(pos_).starts_with(what); }

  // Copies the escape at pos_, rewritten.
  void escape(std::string& out, bool in_class) {
    if (pos_ + 1 >= in_.size()) unsupported(in_, "ends in a backslash");
    const char c = in_[pos_ + 1];
    if ((c == 'p' || c == 'P') && pos_ + 2 < in_.size() && in_[pos_ + 2] == '{') {
      const std::size_t end = in_.find('}', pos_);
      if (end == std::string_view::npos) unsupported(in_, "unclosed property");
      out += '\\';
      out += c;
      out += "{" + property(in_.substr(pos_ + 3, end - pos_ - 3)) + "}";
      pos_ = end + 1;
      return;
    }
    if (c == 's' || (c == 'S' && !in_class)) {
      const std::string items(kSpaceItems);
      out += in_class ? items : (c == 's' ? "[" : "[^") + items + "]";
    } else {
      out += '\\';
      out += c;
    }
    pos_ += 2;
  }

  // A class, with its intersection if it has one. pos_ is at '['.
  std::string char_class() {
    const std::size_t begin = pos_++;
    const bool negated = at("^");
    if (negated) ++pos_;
    std::string items;
    while (true) {
      if (pos_ >= in_.size()) unsupported(in_, "unclosed character class");
      if (in_[pos_] == ']' && pos_ > begin + 1 + (negated ? 1 : 0)) break;
      if (at("&&")) return intersection(negated, items);
      if (in_[pos_] == '\\') {
        escape(items, true);
      } else if (in_[pos_] == '[' && !at("[:")) {
        items += "\\[";  // a bare bracket: literal to Python and PCRE2
        ++pos_;
      } else {
        items += in_[pos_++];
      }
    }
    ++pos_;
    return (negated ? "[^" : "[") + items + "]";
  }

  // [A&&[^B]] with A a union of general categories is the class of what is neither in B nor in the categories outside
  // A: one class, so that repeats of it need no backtracking memory.
  std::string intersection(bool negated, std::string_view left) {
    pos_ += 2;
    if (negated || !at("[^")) unsupported(in_, "only [A&&[^B]] is known of class intersections");
    pos_ += 2;
    std::string right;
    while (pos_ < in_.size() && in_[pos_] != ']') {
      if (in_[pos_] == '\\') {
        escape(right, true);
      } else {
        right += in_[pos_++];
      }
    }
    if (!at("]]")) unsupported(in_, "only [A&&[^B]] is known of class intersections");
    pos_ += 2;
    static constexpr std::array<std::string_view, 11> kPartition = {"Lu", "Ll", "Lt", "Lm", "Lo", "M",
                                                                    "N",  "P",  "S",  "Z",  "C"};
    std::string outside;
    std::size_t used = 0;
    for (const std::string_view category : kPartition) {
      const std::string item = "\\p{" + std::string(category) + "}";
      if (left.find(item) != std::string_view::npos) {
        used += item.size();
      } else {
        outside += item;
      }
    }
    if (used != left.size()) unsupported(in_, "class intersections are known for general categories only");
    return "[^" + right + outside + "]";
  }

  std::string_view in_;
  std::size_t pos_ = 0;
  std::string out_;
};

Pcre2Handle<pcre2_code> compile(const std::string& pattern) {
  if (pattern.size() > kMaxPatternBytes)
    unsupported(pattern, fmt::format("it has {} bytes, more than {}", pattern.size(), kMaxPatternBytes));
  const std::string rewritten = to_pcre2(pattern);
  Pcre2Handle<pcre2_compile_context> context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  std::size_t offset = 0;
  // MULTILINE: "^" and "$" work on lines in Oniguruma, which is what tokenizer.json patterns are written for.
  Pcre2Handle<pcre2_code> code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rewritten.data()), rewritten.size(),
                                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                                             &offset, context.get()));
  if (!code) unsupported(pattern, fmt::format("{} at {}", pcre2_message(error), offset));
  // Without JIT (a build or a kernel that forbids it) matching works all the same, slower.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

}  // namespace

std::string to_pcre2(std::string_view pattern) { return Rewriter(pattern).run(); }

struct Pretokenizer::Impl {
  struct Step {
    std::string pattern;
    Pcre2Handle<pcre2_code> code;
  };
  std::vector<Step> steps;
};

Pretokenizer::Pretokenizer(std::span<const std::string> patterns) : impl_(std::make_unique<Impl>()) {
  if (patterns.size() > kMaxPatterns) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("the pre-tokenizer has {} patterns; at most {} are run", patterns.size(), kMaxPatterns));
  }
  for (const std::string& pattern : patterns) impl_->steps.push_back({pattern, compile(pattern)});
}
Pretokenizer::Pretokenizer(Pretokenizer&&) noexcept = default;
Pretokenizer::~Pretokenizer() = default;

namespace {

// One thread's matching state for one split().
class Matcher {
 public:
  explicit Matcher(std::size_t text_bytes)
      : context_(pcre2_match_context_create(nullptr)),
        data_(pcre2_match_data_create(1, nullptr)),
        stack_(pcre2_jit_stack_create(32 * 1024, 4 * 1024 * 1024, nullptr)) {
    // Known patterns need a few steps per byte of the longest piece; a file's own pattern must not hang.
    const std::size_t limit = 100'000 + 64 * std::min<std::size_t>(text_bytes, 1u << 24);
    pcre2_set_match_limit(context_.get(), static_cast<std::uint32_t>(limit));
    pcre2_set_heap_limit(context_.get(), 512 * 1024);  // KiB; the interpreter only
    pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
    // They take about 0.1 us for each byte. A match that looks at all of the text for every piece does not.
    limit_seconds_ = 1 + 10e-6 * static_cast<double>(text_bytes);
  }

  // Appends the pieces of `text` (valid UTF-8) under one pattern.
  void split(const pcre2_code* code, std::string_view pattern, std::string_view text,
             std::vector<std::string_view>& out) {
    std::size_t done = 0, from = 0;
    while (from < text.size()) {
      const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
      int rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, data_.get(), context_.get());
      if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
        rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data_.get(),
                         context_.get());
      }
      if (rc == PCRE2_ERROR_NOMATCH) break;
      const bool late = ++n_matches_ % 64 == 0 && thread_seconds() - started_ > limit_seconds_;
      if (rc < 0 || late) {
        throw Error(ErrorKind::kUnsupported, "pre-tokenizer pattern ran out of its limits")
            .with("why", late ? fmt::format("more than {:.3g} s of processor time", limit_seconds_) : pcre2_message(rc))
            .with("text_bytes", text.size())
            .with("pattern", printable(pattern, 300));
      }
      const std::size_t* range = pcre2_get_ovector_pointer(data_.get());
      const std::size_t begin = range[0], end = range[1];
      if (end <= begin) {  // an empty match cuts nothing
        from = std::max(from, begin);
        if (from < text.size()) from += utf8::step_at(text, from);
        continue;
      }
      if (begin > done) out.push_back(text.substr(done, begin - done));
      out.push_back(text.substr(begin, end - begin));
      done = from = end;
    }
    if (done < text.size()) out.push_back(text.substr(done));
  }

 private:
  Pcre2Handle<pcre2_match_context> context_;
  Pcre2Handle<pcre2_match_data> data_;
  Pcre2Handle<pcre2_jit_stack> stack_;
  double started_ = thread_seconds(), limit_seconds_;
  std::uint64_t n_matches_ = 0;
};

// Runs of valid UTF-8, and invalid bytes one by one.
std::vector<std::string_view> valid_runs(std::string_view text) {
  std::vector<std::string_view> runs;
  std::size_t begin = 0, pos = 0;
  while (pos < text.size()) {
    const std::size_t n = utf8::length_at(text, pos);
    if (n > 0) {
      pos += n;
      continue;
    }
    if (pos > begin) runs.push_back(text.substr(begin, pos - begin));
    runs.push_back(text.substr(pos, 1));
    begin = ++pos;
  }
  if (pos > begin) runs.push_back(text.substr(begin));
  return runs;
}

bool is_invalid_byte(std::string_view piece) {
  return piece.size() == 1 && static_cast<unsigned char>(piece[0]) >= 0x80;
}

}  // namespace

std::vector<std::string_view> Pretokenizer::split(std::string_view text) const {
  std::vector<std::string_view> pieces = valid_runs(text), next;
  Matcher matcher(text.size());
  for (const Impl::Step& step : impl_->steps) {
    next.clear();
    for (const std::string_view piece : pieces) {
      if (is_invalid_byte(piece)) {
        next.push_back(piece);
      } else {
        matcher.split(step.code.get(), step.pattern, piece, next);
      }
    }
    pieces.swap(next);
  }
  return pieces;
}

}  // namespace dodeca::runtime
