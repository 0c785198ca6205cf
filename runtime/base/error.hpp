// The one exception type of runtime/: a kind, a sentence with the numbers, and context added on the way up.
//
//   throw Error(ErrorKind::kBadFile, "tensor data ends past end of file").with("tensor", name).with("ends_at", end);
//
// what() reads: "bad file: tensor data ends past end of file [tensor=... ends_at=...]". Nothing prints below
// runtime/cli, whose remedies.hpp adds the flag that helps.
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

// What would help, for the program to say in its own words: a library knows no flags.
enum class Remedy {
  kNone,
  kSmallerModel,  // or kSmallerCache
  kSmallerCache,  // fewer positions, a smaller cache type, a smaller micro-batch
  kFewerThreads,
  kLowerIsa,       // than the level of the kernel that failed
  kSetKey,         // of the file's metadata, by hand
  kOtherTemplate,  // for chats
  kBeginAnew,      // and discard what an earlier run left
  kRemoveResults,  // of a batch that several processes answer: one of them cannot begin anew for all
  kJoinShards,     // of such a batch
  kMeasure,        // on a text, what is not known
  kLessOnDevice,   // fewer layers or experts, a smaller cache
  kOtherNodes,     // other memory nodes, or all of them interleaved
  kAllowRemote,    // memory that lies on other nodes than it should
  kCount
};

class Error : public std::exception {
 public:
  Error(ErrorKind kind, const std::string& sentence);
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

  Error&& with(Remedy remedy) && {
    remedy_ = remedy;
    return std::move(*this);
  }

  ErrorKind kind() const { return kind_; }
  Remedy remedy() const { return remedy_; }
  const std::string& sentence() const { return sentence_; }  // without kind and context
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  void add(std::string_view key, const std::string& value);
  ErrorKind kind_;
  Remedy remedy_ = Remedy::kNone;
  std::string sentence_, context_, text_;
};

}  // namespace dodeca::runtime
