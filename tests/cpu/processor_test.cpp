#include "cpu/processor.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <map>

TEST_CASE("a processor has the numbers that the kernel shows") {
  std::ifstream file("/proc/cpuinfo");
  std::map<std::string, std::string> first;  // of every key
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':'), end = line.find_last_not_of(" \t", colon - 1);
    if (colon != std::string::npos && colon + 2 <= line.size())
      first.emplace(line.substr(0, end + 1), line.substr(colon + 2));
  }
  REQUIRE(first.contains("vendor_id"));
  CHECK(dodeca::cpu::processor_id() == first["vendor_id"] + ' ' + first["cpu family"] + '/' + first["model"]);
}
