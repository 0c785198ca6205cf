#include "runtime/text/regex.hpp"

#include <atomic>

#include "runtime/base/error.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/text/pcre2_handle.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::uint32_t kMaxRegexSteps = 100'000;  // a millisecond or two; three ".*" in a long name take a tenth of it
constexpr std::uint32_t kMaxRegexHeapKib = 64 * 1024;
constexpr std::size_t kMaxRegexBytes = 64 * 1024;
constexpr std::int64_t kMaxRegexNanoseconds = 5'000'000'000;  // of all searches together: 100,000 names take 0.1 s

PCRE2_SPTR units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

}  // namespace

struct Regex::Impl {
  std::string pattern;
  Pcre2Handle<pcre2_code> code;
  mutable std::atomic<std::int64_t> nanoseconds = 0;

  Impl(std::string_view p, Pcre2Handle<pcre2_code> c) : pattern(p), code(std::move(c)) {}
};

Regex::Regex(std::string_view pattern) {
  const Pcre2Handle<pcre2_compile_context> context(pcre2_compile_context_create(nullptr));
  pcre2_set_max_pattern_length(context.get(), kMaxRegexBytes);
  int error = 0;
  std::size_t offset = 0;
  Pcre2Handle<pcre2_code> code(
      pcre2_compile(units(pattern), pattern.size(), PCRE2_NEVER_UTF | PCRE2_NEVER_UCP, &error, &offset, context.get()));
  if (!code)
    throw Error(ErrorKind::kBadRequest, fmt::format("'{}' is no regular expression: {} at {}", printable(pattern, 80),
                                                    pcre2_message(error), offset));
  impl_ = std::make_shared<const Impl>(pattern, std::move(code));
}

const std::string& Regex::pattern() const { return impl_->pattern; }

bool Regex::found_in(std::string_view text) const {
  const Pcre2Handle<pcre2_match_context> context(pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(context.get(), kMaxRegexSteps);
  pcre2_set_heap_limit(context.get(), kMaxRegexHeapKib);
  const Pcre2Handle<pcre2_match_data> data(pcre2_match_data_create(1, nullptr));
  const double started = thread_seconds();
  const int found = pcre2_match(impl_->code.get(), units(text), text.size(), 0, 0, data.get(), context.get());
  impl_->nanoseconds += static_cast<std::int64_t>(1e9 * (thread_seconds() - started));
  const bool late = impl_->nanoseconds > kMaxRegexNanoseconds;
  if (late || (found < 0 && found != PCRE2_ERROR_NOMATCH))
    throw Error(
        ErrorKind::kBadRequest,
        fmt::format("the regular expression '{}' takes too much to be searched in {}: {}",
                    printable(impl_->pattern, 80), printable(text, 80), late ? "5 s in all" : pcre2_message(found)));
  return found >= 0;
}

}  // namespace dodeca::runtime
