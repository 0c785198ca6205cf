// The one exception type of runtime/: a kind, a sentence with the numbers, and context added on the way up.
//
//   throw Error(ErrorKind::kBadFile, "tensor data ends past end of file").with("tensor", name).with("ends_at", end);
//
// what() reads: "bad file: tensor data ends past end of file [tensor=... ends_at=...]". Nothing prints below
// runtime/cli.
#pragma once

#include <fmt/core.h>

#include <exception>
#include <string>
#include <string_view>

namespace dodeca::runtime {

enum class ErrorKind {
  kBadFile,      // malformed, truncated or hostile file
  kUnsupported,  // well-formed, but not something this program runs
  kDoesNotFit,   // memory, context or disk: need and have are in the message
  kIo,           // the operating system refused
  kBadRequest,   // arguments of a call or a request line
};

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string sentence);
  // Appends key=value; on an rvalue so that `throw Error(...).with(...)` works, on an lvalue for catch-add-rethrow.
  template <class T>
  Error&& with(std::string_view key, const T& value) && {
    add(key, fmt::format("{}", value));
    return std::move(*this);
  }
  template <class T>
  Error& with(std::string_view key, const T& value) & {
    add(key, fmt::format("{}", value));
    return *this;
  }

  ErrorKind kind() const { return kind_; }
  const std::string& sentence() const { return sentence_; }  // without kind and context
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  void add(std::string_view key, std::string value);
  ErrorKind kind_;
  std::string sentence_, context_, text_;
};

}  // namespace dodeca::runtime
