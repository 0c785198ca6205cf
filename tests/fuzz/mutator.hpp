// Mutations of seeds, the same for the same number on every machine: bytes and bits changed, integers replaced by the
// values at which checks go wrong, pieces cut, repeated and spliced with other seeds; lengths changed together with
// what they count; and words, numbers and bracketed pieces of text exchanged.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace dodeca::tests {

class Mutator {
 public:
  // Inputs have at most max_bytes, or twice the longest seed's where that is more.
  Mutator(std::vector<std::string> seeds, std::size_t max_bytes);
  // The input of this number; the first ones are the seeds themselves.
  std::string input(std::uint64_t number);
  std::string mutated(std::string bytes, std::uint64_t number);

 private:
  std::size_t below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random_() % n); }
  void change_bytes(std::string& bytes);
  void change_length(std::string& bytes);
  void move_pieces(std::string& bytes);
  void change_words(std::string& bytes);

  std::vector<std::string> seeds_, words_;
  std::size_t max_bytes_;
  std::mt19937_64 random_;
};

}  // namespace dodeca::tests
