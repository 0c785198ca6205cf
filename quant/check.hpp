// DODECA_CHECK(condition, values...): what a caller must keep to, said in code. Where checks are on, a false condition
// ends the program with the file, the line, the condition and the named values; where they are off, nothing is evaluated
// and nothing remains. CMake's option DODECA_CHECKS turns them on: in the presets debug, asan and tsan, never in release.
//
//   DODECA_CHECK(args.tile_end <= n_tiles, args.tile_end, n_tiles);
//
// For mistakes of our own code. What comes from a file or a user is an Error, in every build.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <type_traits>

namespace dodeca {

#ifdef DODECA_CHECKS
inline constexpr bool kChecks = true;
#else
inline constexpr bool kChecks = false;
#endif

class CheckedValue;
// Writes one line to standard error and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* names,
                               std::initializer_list<CheckedValue> values);

// A value for the message. The functions are not inline: kernel files of every ISA level may check, and must not leave
// copies of shared code behind.
class CheckedValue {
 public:
  template <class T>
  requires std::is_integral_v<T> || std::is_enum_v<T>
  [[gnu::always_inline]] CheckedValue(T value) : CheckedValue(static_cast<long long>(value), 0.0, kInteger) {}
  [[gnu::always_inline]] CheckedValue(double value) : CheckedValue(0, value, kReal) {}
  [[gnu::always_inline]] CheckedValue(const void* value)
      : CheckedValue(static_cast<long long>(reinterpret_cast<std::size_t>(value)), 0.0, kAddress) {}

 private:
  enum Kind { kInteger, kReal, kAddress };
  CheckedValue(long long integer, double real, Kind kind);
  friend void check_failed(const char*, int, const char*, const char*, std::initializer_list<CheckedValue>);
  long long integer_;
  double real_;
  Kind kind_;
};

}  // namespace dodeca

#ifdef DODECA_CHECKS
#define DODECA_CHECK(condition, ...)     \
  (static_cast<bool>(condition) ? void() \
                                : ::dodeca::check_failed(__FILE__, __LINE__, #condition, #__VA_ARGS__, {__VA_ARGS__}))
#else
#define DODECA_CHECK(condition, ...) static_cast<void>(0)
#endif
