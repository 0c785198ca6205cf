#include "runtime/load/json.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "runtime/base/file.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/base/text_encoding.hpp"

namespace dodeca::runtime {

namespace {

using Object = std::vector<std::pair<const std::string, Json>>;  // what ordered_json's objects derive from

Object& object_of(Json& json) { return json.get_ref<Json::object_t&>(); }

constexpr std::size_t kMaxDepth = 100;

// Builds the document without ordered_json's search for every key that it inserts, which makes large objects quadratic.
class Builder {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  Builder(std::string_view text, std::string_view what, std::size_t max_values)
      : text_(text), what_(what), max_values_(max_values) {}
  Json take() { return std::move(root_); }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(number_integer_t value) { return put(value); }
  bool number_unsigned(number_unsigned_t value) { return put(value); }
  bool number_float(number_float_t value, const string_t& text) {
    // The parser makes a rounded number of an integer that is too large.
    if (text.find_first_of(".eE") == string_t::npos) {
      throw Error(ErrorKind::kBadFile,
                  fmt::format("{} has the integer {}, which needs more than 64 bits", what_, printable(text, 80)));
    }
    return put(value);
  }
  bool string(string_t& value) { return put(std::move(value)); }
  bool binary(binary_t&) { return false; }  // no such thing in text
  bool start_object(std::size_t) { return open(Json::object()); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool key(string_t& name) {
    key_ = std::move(name);
    return true;
  }
  bool end_object() {
    check_duplicates(*open_.back());
    open_.pop_back();
    return true;
  }
  bool end_array() {
    open_.pop_back();
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) {
    if (const std::size_t bad = utf8_length(text_); bad < std::min(position, text_.size()))
      throw Error(ErrorKind::kBadFile,
                  fmt::format("{} is not valid JSON: byte 0x{:02X} begins no UTF-8 character; save it as UTF-8", what_,
                              static_cast<unsigned char>(text_[bad])))
          .with("byte", bad);
    std::string_view message = error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    if (const auto end = message.find("] "); end != std::string_view::npos) message.remove_prefix(end + 2);
    throw Error(ErrorKind::kBadFile, fmt::format("{} is not valid JSON: {}", what_, printable(message, 400)))
        .with("byte", position);
  }

 private:
  Json* insert(Json value) {
    if (++n_values_ > max_values_) {
      throw Error(
          ErrorKind::kBadFile,
          fmt::format("{} has more than {} JSON values, which is all that is read of such a file", what_, max_values_));
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      auto& array = open_.back()->get_ref<Json::array_t&>();
      return &array.emplace_back(std::move(value));
    }
    return &append_key(*open_.back(), std::move(key_), std::move(value));
  }

  bool put(Json value) {
    insert(std::move(value));
    return true;
  }

  bool open(Json value) {
    if (open_.size() == kMaxDepth) {
      throw Error(ErrorKind::kBadFile, fmt::format("{} nests JSON deeper than {} levels", what_, kMaxDepth));
    }
    open_.push_back(insert(std::move(value)));
    return true;
  }

  void check_duplicates(Json& json) const {
    const Object& object = object_of(json);
    std::vector<std::string_view> keys;
    keys.reserve(object.size());
    for (const auto& [name, value] : object) keys.push_back(name);
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice != keys.end()) {
      throw Error(ErrorKind::kBadFile,
                  fmt::format("the key {} appears twice in one object of {}", printable(*twice, 128), what_));
    }
  }

  std::string_view text_, what_;
  std::size_t max_values_;
  Json root_;
  std::vector<Json*> open_;  // containers being filled; only the innermost grows, so the others stay where they are
  std::string key_;
  std::size_t n_values_ = 0;
};

}  // namespace

Json& append_key(Json& object, std::string key, Json value) {
  return object_of(object).emplace_back(std::move(key), std::move(value)).second;
}

Json parse_json(std::string_view text, std::string_view what, std::size_t max_values) {
  require_utf8(text, what);
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {  // the parser would take it for the end
    throw Error(ErrorKind::kBadFile, fmt::format("{} is not valid JSON: a NUL byte", what)).with("byte", nul);
  }
  Builder builder(text, what, max_values);
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    throw Error(ErrorKind::kBadFile, fmt::format("{} is not valid JSON", what));
  }
  return builder.take();
}

Json read_json(const std::filesystem::path& path, std::uint64_t max_bytes, std::size_t max_values) {
  const InputFile file(path);
  if (file.size() > max_bytes) {
    throw Error(ErrorKind::kBadFile,
                fmt::format("{} has {} bytes; at most {} are read", path.string(), file.size(), max_bytes));
  }
  std::string text(file.size(), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return parse_json(text, path.string(), max_values);
}

void write_json(const Json& json, const std::filesystem::path& path) {
  const std::string text = json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  OutputFile out(path);
  out.append(std::as_bytes(std::span(text)));
  out.finish();
}

}  // namespace dodeca::runtime
