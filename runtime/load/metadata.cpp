// Metadata: lookup that is lenient about integer width, and --override-kv.
#include <cmath>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "runtime/base/printable.hpp"
#include "runtime/load/gguf.hpp"

namespace dodeca::runtime {

namespace {

template <class T>
struct ArrayElement {
  using type = void;
};
template <class T>
struct ArrayElement<MetaArray<T>> {
  using type = T;
};

template <class T>
constexpr bool kIsInteger = std::is_integral_v<T> && !std::is_same_v<T, bool>;

[[noreturn]] void wrong_type(std::string_view key, const char* wanted, const MetaValue& found) {
  throw Error(ErrorKind::kBadFile, fmt::format("metadata key {} should be {} and is {}", printable(key, 128), wanted,
                                               meta_type_name(found)));
}

// The value as `convert` makes it of a scalar or of an array's only element.
template <class T, class Convert>
T convert_one(std::string_view key, const char* wanted, const MetaValue& value, Convert&& convert) {
  return std::visit(
      [&](const auto& v) -> T {
        if constexpr (requires { v.values; }) {
          if (v.values.size() == 1)
            if (const std::optional<T> one =
                    convert(static_cast<typename ArrayElement<std::decay_t<decltype(v)>>::type>(v.values.front())))
              return *one;
        } else {
          if (const std::optional<T> one = convert(v)) return *one;
        }
        wrong_type(key, wanted, value);
      },
      value);
}

template <class T>
std::int64_t to_int64(std::string_view key, T value) {
  if constexpr (std::is_same_v<T, std::uint64_t>) {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      throw Error(ErrorKind::kBadFile, fmt::format("metadata key {} is {}, more than a signed 64-bit integer holds",
                                                   printable(key, 128), value));
    }
  }
  return static_cast<std::int64_t>(value);
}

template <class T>
T parse_number(std::string_view text, T (*convert)(const std::string&, std::size_t*)) {
  std::size_t used = 0;
  try {
    const T value = convert(std::string(text), &used);
    if (used == text.size()) return value;
  } catch (const std::logic_error&) {
    // std::invalid_argument or std::out_of_range: told below
  }
  throw Error(ErrorKind::kBadRequest, fmt::format("'{}' is not a number that fits", text));
}

}  // namespace

std::string_view meta_type_name(const MetaValue& value) {
  static constexpr std::string_view kNames[] = {"u8",
                                                "i8",
                                                "u16",
                                                "i16",
                                                "u32",
                                                "i32",
                                                "f32",
                                                "bool",
                                                "string",
                                                "u64",
                                                "i64",
                                                "f64",
                                                "array of u8",
                                                "array of i8",
                                                "array of u16",
                                                "array of i16",
                                                "array of u32",
                                                "array of i32",
                                                "array of f32",
                                                "array of bool",
                                                "array of string",
                                                "array of u64",
                                                "array of i64",
                                                "array of f64"};
  static_assert(std::size(kNames) == std::variant_size_v<MetaValue>);
  return kNames[value.index()];
}

bool is_array(const MetaValue& value) {
  return std::visit(
      [](const auto& v) {
        return requires { v.values; };
      },
      value);
}

const MetaValue* Metadata::find(std::string_view key) const {
  const auto it = index_.find(key);
  return it == index_.end() ? nullptr : &entries_[it->second].second;
}

bool Metadata::add(std::string key, MetaValue value) {
  if (!index_.emplace(key, entries_.size()).second) return false;
  entries_.emplace_back(std::move(key), std::move(value));
  return true;
}

void Metadata::set(std::string key, MetaValue value) {
  const auto it = index_.find(key);
  if (it != index_.end()) {
    entries_[it->second].second = std::move(value);
  } else {
    add(std::move(key), std::move(value));
  }
}

void Metadata::erase(std::string_view key) {
  const auto it = index_.find(key);
  if (it == index_.end()) return;
  const std::size_t gone = it->second;
  index_.erase(it);
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(gone));
  for (auto& [name, position] : index_) {
    if (position > gone) --position;
  }
}

std::optional<std::int64_t> Metadata::integer(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  return convert_one<std::int64_t>(key, "an integer", *value, [&](const auto& v) -> std::optional<std::int64_t> {
    if constexpr (kIsInteger<std::decay_t<decltype(v)>>) return to_int64(key, v);
    return std::nullopt;
  });
}

std::optional<double> Metadata::number(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  return convert_one<double>(key, "a number", *value, [](const auto& v) -> std::optional<double> {
    using T = std::decay_t<decltype(v)>;
    if constexpr (kIsInteger<T> || std::is_floating_point_v<T>) return static_cast<double>(v);
    return std::nullopt;
  });
}

std::optional<bool> Metadata::boolean(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  return convert_one<bool>(key, "a bool", *value, [](const auto& v) -> std::optional<bool> {
    using T = std::decay_t<decltype(v)>;
    if constexpr (std::is_same_v<T, bool>) return v;
    if constexpr (kIsInteger<T>)
      if (v == 0 || v == 1) return v == 1;
    return std::nullopt;
  });
}

std::optional<std::string> Metadata::string(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  return convert_one<std::string>(key, "a string", *value, [](const auto& v) -> std::optional<std::string> {
    if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>) return v;
    return std::nullopt;
  });
}

std::optional<std::vector<std::int64_t>> Metadata::integers(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  return std::visit(
      [&](const auto& v) -> std::vector<std::int64_t> {
        using E = typename ArrayElement<std::decay_t<decltype(v)>>::type;
        if constexpr (kIsInteger<E>) {
          std::vector<std::int64_t> out;
          out.reserve(v.values.size());
          for (const E element : v.values) out.push_back(to_int64(key, element));
          return out;
        } else {
          wrong_type(key, "an array of integers", *value);
        }
      },
      *value);
}

std::optional<std::vector<double>> Metadata::numbers(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  return std::visit(
      [&](const auto& v) -> std::vector<double> {
        using E = typename ArrayElement<std::decay_t<decltype(v)>>::type;
        if constexpr (kIsInteger<E> || std::is_floating_point_v<E>) {
          return std::vector<double>(v.values.begin(), v.values.end());
        } else {
          wrong_type(key, "an array of numbers", *value);
        }
      },
      *value);
}

const std::vector<std::string>* Metadata::strings(std::string_view key) const {
  const MetaValue* value = find(key);
  if (value == nullptr) return nullptr;
  if (const auto* v = std::get_if<MetaArray<std::string>>(value)) return &v->values;
  wrong_type(key, "an array of strings", *value);
}

namespace {

// The fields between commas, as llama.cpp reads them: a field that begins with a double quote goes to the next single one.
std::vector<std::string> split_assignments(std::string_view text) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string& field = fields.back();
    if (text[i] == '"' && quoted && i + 1 < text.size() && text[i + 1] == '"') {
      field += text[++i];
    } else if (text[i] == '"' && (quoted || field.empty())) {
      quoted = !quoted;
    } else if (text[i] == ',' && !quoted) {
      fields.emplace_back();
    } else {
      field += text[i];
    }
  }
  if (quoted) throw Error(ErrorKind::kBadRequest, fmt::format("a double quote of '{}' is not closed", text));
  return fields;
}

void assign(Metadata& metadata, std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  const std::size_t colon = equals == std::string_view::npos ? equals : assignment.find(':', equals);
  if (equals == 0 || colon == std::string_view::npos) {
    throw Error(
        ErrorKind::kBadRequest,
        fmt::format("a key is set by KEY=TYPE:VALUE,... (\"KEY=str:VALUE\" in double quotes where the value has "
                    "commas), not by '{}'",
                    assignment));
  }
  std::string key(assignment.substr(0, equals));
  const std::string_view type = assignment.substr(equals + 1, colon - equals - 1);
  const std::string_view text = assignment.substr(colon + 1);
  if (type == "int") {
    metadata.set(std::move(key), parse_number<std::int64_t>(text, [](const std::string& s, std::size_t* used) {
                   return static_cast<std::int64_t>(std::stoll(s, used));
                 }));
  } else if (type == "float") {
    metadata.set(std::move(key), parse_number<double>(
                                     text, [](const std::string& s, std::size_t* used) { return std::stod(s, used); }));
  } else if (type == "bool") {
    if (text != "true" && text != "false") {
      throw Error(ErrorKind::kBadRequest, fmt::format("{} is set to a bool, true or false, not to '{}'", key, text));
    }
    metadata.set(std::move(key), text == "true");
  } else if (type == "str") {
    metadata.set(std::move(key), std::string(text));
  } else {
    throw Error(ErrorKind::kBadRequest,
                fmt::format("a key is set to an int, float, bool or str, not to '{}' as in '{}'", type, assignment));
  }
}

}  // namespace

void override_kv(Metadata& metadata, std::string_view assignments) {
  for (const std::string& assignment : split_assignments(assignments)) assign(metadata, assignment);
}

}  // namespace dodeca::runtime
