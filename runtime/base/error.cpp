#include "runtime/base/error.hpp"

#include "runtime/base/printable.hpp"

namespace dodeca::runtime {

namespace {

constexpr std::size_t kMaxValueBytes = 1024;

std::string_view kind_text(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kBadFile:
      return "bad file";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kDoesNotFit:
      return "does not fit";
    case ErrorKind::kIo:
      return "i/o error";
    case ErrorKind::kBadRequest:
      return "bad request";
  }
  return "error";
}

}  // namespace

Error::Error(ErrorKind kind, const std::string& sentence)
    : kind_(kind), sentence_(printable(sentence, std::string_view::npos, "\n\t")) {
  text_ = fmt::format("{}: {}", kind_text(kind_), sentence_);
}

void Error::add(std::string_view key, const std::string& value) {
  if (!context_.empty()) context_ += ' ';
  context_ += fmt::format("{}={}", key, printable(value, kMaxValueBytes));
  text_ = fmt::format("{}: {} [{}]", kind_text(kind_), sentence_, context_);
}

}  // namespace dodeca::runtime
