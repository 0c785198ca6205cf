#include "gpu/kernels/read_words.hpp"

#include <doctest/doctest.h>

#include <numeric>

#include "tests/gpu/on_device.hpp"

namespace dodeca::gpu {

TEST_CASE("read_words adds every word once, whatever the grid") {
  for_each_emulation([](Device& device) {
    for (const int n : {4, 1020, 4096, 40'004}) {
      std::vector<std::uint32_t> words(n);
      for (int i = 0; i < n; ++i) words[i] = 2654435761u * static_cast<std::uint32_t>(i + 1);
      const OnDevice<std::uint32_t> in(device, words);
      for (const int multiprocessors : {1, 30}) {
        CAPTURE(n);
        CAPTURE(multiprocessors);
        const OnDevice<std::uint32_t> sum(device, std::vector<std::uint32_t>{5});
        const ReadWordsArgs args{.in = in.data(), .sum = sum.data(), .n = n};
        device.launch<KernelId::read_words>(sum.stream(), read_words_grid(args, multiprocessors), args);
        CHECK(sum.values()[0] == std::accumulate(words.begin(), words.end(), std::uint32_t{5}));
        CHECK(read_words_bytes(args) == words.size() * 4);
      }
    }
  });
}

}  // namespace dodeca::gpu
