// A made-up /proc and /sys, for what reads them below another root.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temp_dir.hpp"

namespace dodeca::tests {

class FakeRoot {
 public:
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = dir_.path() / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string path() const { return dir_.path().string(); }

 private:
  TempDir dir_;
};

}  // namespace dodeca::tests
